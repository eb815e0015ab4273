"""SQLite in its own way: one file, for the processes of one host.

Promises that a write transaction is alone from its first statement on, and on disk when it ends. Knows nothing of
tables.

SQLite older than 3.51.3 (3.50.7, 3.44.6) can corrupt a WAL file when it is reset, so there the rollback journal is
used, with ``synchronous=FULL``; newer libraries use WAL.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError, OperationalError, SQLAlchemyError

from core.errors import BadConfiguration, LeptonError, Unavailable

BUSY_SECONDS = 30.0
PASSING = ("full", "locked", "readonly", "disk I/O")  # in the message of an error that is no fault of ours


def wal_is_safe(version: tuple[int, ...]) -> bool:
    """Whether this SQLite library is free of the WAL-reset bug."""
    return version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)


class SQLite:
    """One file.

    Raises:
        BadConfiguration: its folder cannot be made.
    """

    shared = False  # with other hosts
    mark = "?"  # where a parameter stands in a statement of the driver
    reading: ClassVar[dict[str, Any]] = {}
    writing: ClassVar[dict[str, Any]] = {"lepton_write": True}

    def __init__(self, path: Path):
        self.path = path
        self.name = path.name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadConfiguration(
                f"{path.parent} cannot be made: {error.strerror}", "set LEPTON_HOME to a folder that you can write"
            ) from error
        address = sa.URL.create("sqlite", database=str(path))  # a path may hold "?" and other signs that a URL reads
        self.engine = sa.create_engine(address, connect_args={"timeout": BUSY_SECONDS}, hide_parameters=True)
        sa.event.listen(self.engine, "connect", _prepare)
        sa.event.listen(self.engine, "begin", _begin)

    def enter(self, connection: sa.Connection) -> None:
        """Nothing: a transaction that writes began with the lock."""

    def leave(self, connection: sa.Connection) -> None:
        """Nothing: whoever watches sees the file change."""

    def make_way(self, connection: sa.Connection) -> None:
        """Nothing: a transaction that writes is alone, migrations too."""

    def check(self, connection: sa.Connection) -> None:
        """Nothing: a file that cannot be written is found when it is."""

    def alone(self, connection: sa.Connection) -> bool:
        """Whether nobody else does the same just now: nobody else writes at all."""
        return True

    def now(self, connection: sa.Connection) -> float:
        """Seconds since the epoch, by the clock of the one host."""
        return time.time()

    def used_bytes(self, connection: sa.Connection, most: int) -> int:
        """Bytes of the pages that hold something."""
        size, pages, free = (
            int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())
            for name in ("page_size", "page_count", "freelist_count")
        )
        return size * (pages - free)

    def trouble(self, error: SQLAlchemyError, step: Literal["read", "write", "commit"]) -> LeptonError | None:
        """What to tell of an error that passes by itself or by an operator's hand; None where it is a fault of ours."""
        reason = str(error.orig) if isinstance(error, OperationalError) else ""
        if step == "read" or not any(word in reason for word in PASSING):
            return None
        return Unavailable(
            f"the database {self.name} could not be written: {reason}",
            "free the disk or check its permissions, then send the request again: nothing of it was kept",
        )

    def unopened(self, error: BaseException) -> BadConfiguration:
        """What to tell where the file could not be opened or brought up to date."""
        reason = error.orig if isinstance(error, DatabaseError) else str(error)
        return BadConfiguration(
            f"the database {self.path} cannot be opened: {reason}",
            "check that LEPTON_HOME is on a disk with space and that you may write there",
        )

    def scrub(self, tables: Sequence[str]) -> None:
        """Leave nothing of deleted rows in the write-ahead log, where there is one; ``secure_delete`` sees to the rest.

        Raises:
            Unavailable: somebody reads so long that it cannot be done now.
        """
        connection = self.engine.raw_connection()  # a checkpoint runs outside transactions
        try:
            busy = connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        finally:
            connection.close()
        if busy:
            raise Unavailable(
                f"old pages of {self.name} could not be removed: the database is being read", "send it again"
            )

    def watch(self) -> Watch:
        """Watch the file."""
        return Watch(self.path)


class Watch:
    """Tells whether anybody has committed to a SQLite file since the last look, at the cost of one pragma."""

    def __init__(self, path: Path):
        self._connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        self._seen = -1

    def changed(self) -> bool:
        """True at the first call, and then whenever another connection has committed."""
        version = int(self._connection.execute("PRAGMA data_version").fetchone()[0])
        moved, self._seen = version != self._seen, version
        return moved

    def close(self) -> None:
        """Close the watching connection."""
        self._connection.close()


def _prepare(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy begins transactions, not the driver
    wal = wal_is_safe(sqlite3.sqlite_version_info)
    for pragma in (
        f"journal_mode={'WAL' if wal else 'DELETE'}",
        "synchronous=FULL",
        "secure_delete=ON",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("lepton_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
