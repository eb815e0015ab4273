"""Rows that were read, for those who read them again: a candidate is judged, tuned and judged once more on the same
examples, and decoding a picture costs as much as a small network.

Promises the row that reading gives, for as long as it is among the last ``BYTES`` that were asked for in this process.
Rows are read-only to all who get them. Knows nothing of files.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock

from core.preprocess import Row

BYTES = 1 << 28  # 20,000 pictures of 64 by 64; of 224 by 224 only 1,700, but there decoding is a small part of the work


class Held:
    """The rows that were asked for last, by what reads them and what they are of."""

    def __init__(self, most: int = BYTES) -> None:
        self._most, self._bytes = most, 0
        self._rows: OrderedDict[tuple[str, str], Row] = OrderedDict()
        self._lock = Lock()

    def get(self, key: str, digest: str, read: Callable[[], Row]) -> Row:
        """The row of a preprocessor's key and an example's digest; ``read`` where it is not held."""
        with self._lock:
            held = self._rows.get((key, digest))
            if held is not None:
                self._rows.move_to_end((key, digest))
                return held
        row = read()
        with self._lock:
            if (key, digest) not in self._rows:
                self._rows[key, digest] = row
                self._bytes += _size(row)
            while self._bytes > self._most:
                self._bytes -= _size(self._rows.popitem(last=False)[1])
        return row

    def __len__(self) -> int:
        return len(self._rows)


def _size(row: Row) -> int:
    return sum(array.nbytes for array in row.arrays.values())
