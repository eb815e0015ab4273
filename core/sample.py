"""The sample: of all rows the 512 with the smallest keyed hashes.

Promises a function of the rows, whatever the order in which they came and went. Knows nothing of what is read off it.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import islice
from typing import Protocol

SAMPLE = 512  # rows that tell λ, and as many that tell the temperature


class Drawn(Protocol):
    """A row that can be drawn."""

    @property
    def example(self) -> str:
        """Which one it is."""

    @property
    def weight(self) -> int:
        """What it weighs."""

    def digest(self, key: bytes) -> bytes:
        """Keyed hash of what it says."""


class Sample:
    """Rows by their keyed hash, kept as they come and go."""

    def __init__(self, key: bytes):
        self._key = key
        self._order: list[tuple[bytes, int, str]] = []  # (digest, weight, example), sorted

    def add(self, rows: Sequence[Drawn]) -> None:
        """Take in rows of examples that are not here yet."""
        if len(rows) > SAMPLE:
            self._order = sorted(self._order + [self._rank(row) for row in rows])
        else:
            for row in rows:
                insort(self._order, self._rank(row))

    def remove(self, rows: Iterable[Drawn]) -> None:
        """Forget rows that are here."""
        for row in rows:
            del self._order[bisect_left(self._order, self._rank(row))]

    def examples(self) -> list[str]:
        """Those that are drawn, in the order of their hashes."""
        return [example for _, _, example in self._order[:SAMPLE]]

    def first(self, wanted: Callable[[str], bool]) -> list[str]:
        """As many as are drawn, of those that are wanted alone, in the order of their hashes."""
        return list(islice((example for _, _, example in self._order if wanted(example)), SAMPLE))

    def among(self, wanted: Collection[str], most: int) -> list[str]:
        """The first of these in the order of the hashes."""
        return list(islice((example for _, _, example in self._order if example in wanted), most))

    def digest(self, columns: Sequence[str]) -> str:
        """SHA-256 of what is drawn and of the columns that it is read for."""
        told = hashlib.sha256("\0".join(columns).encode())
        for digest, weight, _ in self._order[:SAMPLE]:
            told.update(digest + weight.to_bytes(8, "big"))
        return told.hexdigest()

    def _rank(self, row: Drawn) -> tuple[bytes, int, str]:
        return row.digest(self._key), row.weight, row.example
