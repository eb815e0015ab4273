"""A cap on what may wait: whoever comes when it is full is told so at once, and when to come again.

Promises that the count never exceeds the cap and always returns to zero. Knows nothing of what waits.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from core.errors import Unavailable


class Admission:
    """Counts what is inside.

    Args:
        limit: most at a time.
        what: name of what is counted, for the error.
    """

    def __init__(self, limit: int, what: str) -> None:
        self._limit = limit
        self._what = what
        self._inside = 0
        self._lock = threading.Lock()

    @contextmanager
    def of(self, count: int = 1) -> Iterator[None]:
        """Let ``count`` in, as long as the block runs; one request larger than the cap may enter an empty room.

        Raises:
            Unavailable: there is no room.
        """
        with self._lock:
            if self._inside and self._inside + count > self._limit:
                raise Unavailable(
                    f"{self._inside} {self._what} wait already, of {self._limit} at most",
                    "send the request again in a second, or serve with more workers",
                )
            self._inside += count
        try:
            yield
        finally:
            with self._lock:
                self._inside -= count
