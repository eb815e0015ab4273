"""Hearing of commits to the ledger on PostgreSQL: LISTEN on a connection of its own.

Promises that a look asks the server nothing, and that no commit is missed: after the connection was lost and found
there is news. Knows nothing of what was committed.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    import psycopg

logger = logging.getLogger(__name__)

RETRY_SECONDS = 0.5  # between two tries to hear of commits again


class Watch:
    """Listens to a channel.

    Args:
        engine: gives the connection, which is not of its pool then.
        channel: where writers notify.
    """

    def __init__(self, engine: sa.Engine, channel: str):
        self._engine = engine
        self._channel = channel
        self._connection: psycopg.Connection[Any] | None = None
        self._try_at = 0.0
        self._lock = threading.Lock()

    def changed(self) -> bool:
        """True at the first call, whenever somebody has committed, and after the connection was lost and found."""
        with self._lock:
            if self._connection is None:
                return self._listen()
            try:
                return bool(list(self._connection.notifies(timeout=0)))
            except Exception as error:
                logger.warning("commits cannot be heard of until the database is back: %s", first_line(error))
                self._drop()
                return False

    def close(self) -> None:
        """Close the watching connection."""
        with self._lock:
            self._drop()

    def _listen(self) -> bool:
        if time.monotonic() < self._try_at:
            return False
        self._try_at = time.monotonic() + RETRY_SECONDS
        try:
            self._connection = _apart(self._engine)
            self._connection.execute(f"LISTEN {self._channel}".encode())
        except Exception:  # told when it was lost
            self._drop()
            return False
        return True

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def first_line(error: BaseException) -> str:
    """The first line that a server or driver said."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _apart(engine: sa.Engine) -> psycopg.Connection[Any]:
    """A connection outside the pool and outside transactions."""
    taken = engine.raw_connection()
    made: psycopg.Connection[Any] = taken.driver_connection  # type: ignore[assignment]
    taken.detach()
    made.autocommit = True
    return made
