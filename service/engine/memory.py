"""Memory of retired models back to the system: the C library would keep it (700 MB after 30 swaps of 128 MB).

Promises that a session is never ended while somebody holds it.
"""

from __future__ import annotations

import ctypes
import weakref

from core.session import Session


class Retired:
    """Sessions that nobody is to take any more; requests that took one before may hold it still."""

    def __init__(self) -> None:
        self._left: list[weakref.ref[Session]] = []

    def watch(self, session: Session) -> None:
        """Look after a session until the last request has let go of it."""
        self._left.append(weakref.ref(session))

    def sweep(self) -> None:
        """Give memory back where a session has gone since the last look."""
        left = [session for session in self._left if session() is not None]
        if len(left) < len(self._left):
            give_back()
        self._left = left


def give_back() -> None:
    """Return freed pages of the heap, where the C library is glibc; elsewhere nothing."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):
        return
