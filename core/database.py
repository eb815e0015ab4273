"""Engines, tables and migrations of the two databases: the ledger with the registry, and the prediction log.

Promises that a write transaction is atomic and durable when it returns, and that opening brings an older file up to
date. Knows nothing of what the rows mean.

SQLite older than 3.51.3 (3.50.7, 3.44.6) can corrupt a WAL file when it is reset, so there the rollback journal is
used, with ``synchronous=FULL``; newer libraries use WAL.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError, OperationalError

from core.errors import BadConfiguration, Unavailable

BUSY_SECONDS = 30.0

ledger_tables = sa.MetaData()
prediction_tables = sa.MetaData()

scenes = sa.Table(
    "scenes",
    ledger_tables,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("task", sa.String, nullable=False),
    sa.Column("modality", sa.String, nullable=False),
    sa.Column("labels", sa.JSON, nullable=False),
    sa.Column("new_labels", sa.String, nullable=False),
    sa.Column("hash_key", sa.LargeBinary, nullable=False),
    sa.Column("target_offset", sa.Float, nullable=False),
    sa.Column("target_scale", sa.Float, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
)
counters = sa.Table(
    "counters",
    ledger_tables,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("value", sa.Integer, nullable=False),
)
label_events = sa.Table(
    "label_events",
    ledger_tables,
    sa.Column("sequence", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("event_id", sa.String, nullable=False, unique=True),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("scene", sa.String, nullable=False),
    sa.Column("target", sa.String, index=True),
    sa.Column("example", sa.String, index=True),
    sa.Column("prediction_id", sa.String),
    sa.Column("label", sa.String),
    sa.Column("value", sa.Float),
    sa.Column("annotator", sa.String, nullable=False, server_default=""),
    sa.Column("source", sa.String, nullable=False, server_default="feedback"),
    sa.Column("confidence", sa.Float, nullable=False, server_default="1"),
    sa.Column("observed_at", sa.String),
    sa.Column("subject", sa.String, index=True),
    sa.Column("body_digest", sa.String),
    sa.Column("received_at", sa.Float, nullable=False),
    sa.Index("label_events_by_scene", "scene", "sequence"),
)
waiting = sa.Table(
    "waiting",
    ledger_tables,
    sa.Column("event_id", sa.String, primary_key=True),
    sa.Column("scene", sa.String, nullable=False),
    sa.Column("prediction_id", sa.String, nullable=False),
    sa.Column("received_at", sa.Float, nullable=False),
    sa.Column("orphaned", sa.Boolean, nullable=False, server_default=sa.false()),
)
tombstones = sa.Table(
    "tombstones",
    ledger_tables,
    sa.Column("digest", sa.String, primary_key=True),  # SHA-256 of an erased event id
    sa.Column("sequence", sa.Integer, nullable=False, index=True),  # of the erase event
)
features = sa.Table(
    "features",
    ledger_tables,
    sa.Column("extractor", sa.String, primary_key=True),
    sa.Column("example", sa.String, primary_key=True),
    sa.Column("values", sa.LargeBinary, nullable=False),
)
inputs = sa.Table(
    "inputs",
    ledger_tables,
    sa.Column("example", sa.String, primary_key=True),
    sa.Column("media", sa.String, nullable=False),
    sa.Column("path", sa.String),  # in place, by path and digest; NULL: a blob among the artifacts
    sa.Column("created_at", sa.Float, nullable=False),
)
versions = sa.Table(
    "versions",
    ledger_tables,
    sa.Column("scene", sa.String, primary_key=True),
    sa.Column("version", sa.String, primary_key=True),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("manifest", sa.JSON, nullable=False),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("reason", sa.String, nullable=False, server_default=""),
    sa.Column("created_at", sa.Float, nullable=False),
    sa.Column("origin", sa.String, nullable=False, server_default="own"),  # or "foreign": not made by this home
    sa.Column("job", sa.String, index=True),  # that made it, where one did
    sa.UniqueConstraint("scene", "number"),
)
aliases = sa.Table(
    "aliases",
    ledger_tables,
    sa.Column("scene", sa.String, primary_key=True),
    sa.Column("alias", sa.String, primary_key=True),
    sa.Column("version", sa.String, nullable=False),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("updated_at", sa.Float, nullable=False),
)
challenges = sa.Table(
    "challenges",
    ledger_tables,
    sa.Column("scene", sa.String, primary_key=True),
    sa.Column("version", sa.String),  # NULL once it has ended; the row stays, so that the generation goes on
    sa.Column("mode", sa.String),
    sa.Column("share", sa.Float),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("began_at", sa.Float, nullable=False),
    sa.Column("judge", sa.String, nullable=False, server_default="people"),  # or "evidence"
    sa.Column("probation", sa.Boolean, nullable=False, server_default=sa.false()),
)
audit = sa.Table(
    "audit",
    ledger_tables,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("scene", sa.String, nullable=False, index=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("action", sa.String, nullable=False),
    sa.Column("version", sa.String),
    sa.Column("previous", sa.String),
    sa.Column("generation", sa.Integer),
    sa.Column("detail", sa.JSON, nullable=False),
)
revisions = sa.Table(
    "revisions",
    ledger_tables,
    sa.Column("scene", sa.String, primary_key=True),
    sa.Column("version", sa.String, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("sequence", sa.Integer, nullable=False),
    sa.Column("labels", sa.JSON, nullable=False),
    sa.Column("weight", sa.LargeBinary),  # float32, row-major (features, classes); NULL once pruned
    sa.Column("bias", sa.LargeBinary),
    sa.Column("lam", sa.Float, nullable=False),
    sa.Column("temperature", sa.Float, nullable=False),
    sa.Column("sample_digest", sa.String, nullable=False),
    sa.Column("examples", sa.Integer, nullable=False),
    sa.Column("fallback", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
)
leases = sa.Table(
    "leases",
    ledger_tables,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("owner", sa.String, nullable=False),
    sa.Column("token", sa.Integer, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),
)
drift_readings = sa.Table(
    "drift_readings",
    ledger_tables,
    sa.Column("scene", sa.String, primary_key=True),
    sa.Column("version", sa.String, primary_key=True),
    sa.Column("detector", sa.String, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),  # of the window, from 1
    sa.Column("value", sa.Float, nullable=False),  # above 1 is drift
    sa.Column("words", sa.String, nullable=False),
    sa.Column("until", sa.Float, nullable=False),  # when the window's last prediction, or label, came
    sa.Column("at", sa.Float, nullable=False),  # when it was looked at
)
predictions = sa.Table(
    "predictions",
    prediction_tables,
    sa.Column("prediction_id", sa.String, primary_key=True),
    sa.Column("scene", sa.String, nullable=False),
    sa.Column("version", sa.String, nullable=False),
    sa.Column("extractor", sa.String, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("example", sa.String, nullable=False, index=True),
    sa.Column("features", sa.LargeBinary, nullable=False),
    sa.Column("label", sa.String),
    sa.Column("value", sa.Float),
    sa.Column("confidence", sa.Float, nullable=False),
    sa.Column("margin", sa.Float, nullable=False),
    sa.Column("media", sa.String, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False, index=True),
    sa.Column("role", sa.String, nullable=False, server_default="champion"),  # of the version that answered
    sa.Column("parent", sa.String),  # of a shadow: the prediction that was answered
    sa.Index("predictions_by_scene", "scene", "created_at"),
)
instances = sa.Table(
    "instances",
    prediction_tables,
    sa.Column("example", sa.String, primary_key=True),
    sa.Column("bytes", sa.LargeBinary, nullable=False),
    sa.Column("seen_at", sa.Float, nullable=False, index=True),
)
workers = sa.Table(
    "workers",
    prediction_tables,
    sa.Column("host", sa.String, primary_key=True),
    sa.Column("pid", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("worker", sa.String, nullable=False),  # its index on the host
    sa.Column("serving", sa.JSON, nullable=False),  # scene → version, revision and since when
    sa.Column("seen_at", sa.Float, nullable=False),
)


def wal_is_safe(version: tuple[int, ...]) -> bool:
    """Whether this SQLite library is free of the WAL-reset bug."""
    return version >= (3, 51, 3) or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45)


class Database:
    """One SQLite file: ``read()`` and ``write()`` give a connection inside a transaction.

    ``fence``, where it is set, is called first in every write transaction, and refuses it by raising.
    """

    def __init__(self, path: Path, kind: Literal["ledger", "predictions"]):
        self.path = path
        self.fence: Callable[[sa.Connection], None] | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise BadConfiguration(
                f"{path.parent} cannot be made: {error.strerror}", "set LEPTON_HOME to a folder that you can write"
            ) from error
        address = sa.URL.create("sqlite", database=str(path))  # a path may hold "?" and other signs that a URL reads
        self.engine = sa.create_engine(address, connect_args={"timeout": BUSY_SECONDS})
        sa.event.listen(self.engine, "connect", _prepare)
        sa.event.listen(self.engine, "begin", _begin)
        self._migrate(kind)

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection that sees one consistent state."""
        with self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A connection that holds the write lock; committed on leaving, rolled back on an exception.

        Raises:
            Unavailable: the database stayed locked, or the disk is full; nothing was written.
        """
        try:
            with self.engine.connect().execution_options(lepton_write=True) as connection, connection.begin():
                if self.fence is not None:
                    self.fence(connection)
                yield connection
        except OperationalError as error:
            reason = str(error.orig)
            if "full" in reason or "locked" in reason or "readonly" in reason or "disk I/O" in reason:
                raise Unavailable(
                    f"the database {self.path.name} could not be written: {reason}",
                    "free the disk or check its permissions, then send the request again: nothing of it was kept",
                ) from error
            raise

    def scrub(self) -> None:
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
                f"old pages of {self.path.name} could not be removed: the database is being read", "send it again"
            )

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def _migrate(self, kind: str) -> None:
        from core.migrations.run import upgrade

        try:
            upgrade(self, kind)
        except (DatabaseError, Unavailable) as error:
            reason = error.orig if isinstance(error, DatabaseError) else error.message
            raise BadConfiguration(
                f"the database {self.path} cannot be opened: {reason}",
                "check that LEPTON_HOME is on a disk with space and that you may write there",
            ) from error


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


def open_ledger(home: Path) -> Database:
    """The database of scenes, versions, label events and revisions under ``home``."""
    return Database(home / "lepton.db", "ledger")


def open_predictions(home: Path) -> Database:
    """The prediction log under ``home``."""
    return Database(home / "predictions.db", "predictions")


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
