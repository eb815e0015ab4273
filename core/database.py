"""Tables of the two databases, the ledger with the registry and the prediction log, and how they are read and written.

Two SQLite files under LEPTON_HOME, or two schemas of one PostgreSQL database. Promises that a write transaction is
atomic and durable when it returns, that nobody writes the ledger meanwhile, and that opening brings an older schema up
to date. Knows nothing of what the rows mean; what each database does in its own way is in ``core/sqlite.py`` and
``core/postgres.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from core.config import DatabaseSettings
from core.errors import LeptonError, Unavailable
from core.postgres import PostgreSQL
from core.sqlite import SQLite

Kind = Literal["ledger", "predictions"]

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
    sa.Column("task_name", sa.String, nullable=False, server_default=""),  # of the first of several tasks
    sa.Column("further", sa.JSON),  # the tasks beside the first; NULL where there are none
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
    sa.Column("task", sa.String, nullable=False, server_default=""),  # its name; empty where the scene has one
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
    sa.Column("further", sa.LargeBinary),  # heads of the tasks beside the first, as safetensors; NULL once pruned
    sa.Column("upto", sa.Integer),  # where later labels are held: the last label event that may be in it
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
    sa.Column("further", sa.String),  # what was said for the tasks beside the first, as JSON
    sa.Index("predictions_by_scene", "scene", "created_at"),
)
instances = sa.Table(
    "instances",
    prediction_tables,
    sa.Column("example", sa.String, primary_key=True),
    sa.Column("bytes", sa.LargeBinary, nullable=False),
    sa.Column("seen_at", sa.Float, nullable=False, index=True),
)
offers = sa.Table(
    "offers",
    prediction_tables,
    sa.Column("scene", sa.String, primary_key=True),
    sa.Column("task", sa.String, primary_key=True),
    sa.Column("example", sa.String, primary_key=True, index=True),
    sa.Column("propensity", sa.Float, nullable=False),  # chance with which the queue chose it
    sa.Column("at", sa.Float, nullable=False),
)
queue_turns = sa.Table(
    "queue_turns",
    prediction_tables,
    sa.Column("scene", sa.String, primary_key=True),
    sa.Column("task", sa.String, primary_key=True),
    sa.Column("until", sa.Float, nullable=False),  # predictions up to here have had their lot
)
latencies = sa.Table(
    "latencies",
    prediction_tables,
    sa.Column("scene", sa.String, primary_key=True),
    sa.Column("minute", sa.Integer, primary_key=True, autoincrement=False),  # since the epoch
    sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),  # of the bound that it took no longer than
    sa.Column("requests", sa.Integer, nullable=False),
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


TABLES: dict[Kind, sa.MetaData] = {"ledger": ledger_tables, "predictions": prediction_tables}


def unknown(example: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    """Whether no label event, standing or not, is about an example: nothing was ever said of it, or it was erased."""
    said = sa.select(label_events.c.example).where(label_events.c.example.is_not(None))
    return example.not_in(said)


class Watch(Protocol):
    """Tells whether anybody has committed to the ledger since the last look."""

    def changed(self) -> bool:
        """True at the first call, and then whenever somebody has committed."""

    def close(self) -> None:
        """Stop watching."""


class Database:
    """The ledger or the prediction log: ``read()`` and ``write()`` give a connection inside a transaction.

    ``fence``, where it is set, is called first in every write transaction, and refuses it by raising.

    Args:
        dialect: where it is, and what is done there in a way of its own.
        kind: which of the two.

    Raises:
        BadConfiguration: it cannot be opened, or a newer Lepton wrote it.
    """

    def __init__(self, dialect: SQLite | PostgreSQL, kind: Kind):
        self.dialect = dialect
        self.kind = kind
        self.engine = dialect.engine
        self.name = dialect.name
        self.shared = dialect.shared
        self.fence: Callable[[sa.Connection], None] | None = None
        self._migrate()

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        """A connection that sees one consistent state.

        Raises:
            Unavailable: the server is away.
        """
        try:
            with self._connected(self.dialect.reading) as connection, connection.begin():
                yield connection
        except SQLAlchemyError as error:
            told = self.dialect.trouble(error, "read")
            if told is None:
                raise
            raise told from error

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        """A connection that may write, the ledger alone; committed on leaving, rolled back on an exception.

        Raises:
            Unavailable: the turn to write did not come, the disk is full or the server away; nothing was written,
                unless it says otherwise.
        """
        step: Literal["write", "commit"] = "write"
        try:
            with self._connected(self.dialect.writing) as connection, connection.begin():
                self.dialect.enter(connection)
                if self.fence is not None:
                    self.fence(connection)
                yield connection
                self.dialect.leave(connection)
                step = "commit"
        except SQLAlchemyError as error:
            told = self.dialect.trouble(error, step)
            if told is None:
                raise
            raise told from error

    def now(self, connection: sa.Connection) -> float:
        """Seconds since the epoch, by the one clock that all who share this database have."""
        return self.dialect.now(connection)

    def watch(self) -> Watch:
        """Watch for commits."""
        return self.dialect.watch()

    def scrub(self) -> None:
        """Remove what deleted rows have left behind.

        Raises:
            Unavailable: it cannot be done now.
        """
        self.dialect.scrub(sorted(TABLES[self.kind].tables))

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def _connected(self, options: dict[str, Any]) -> sa.Connection:
        return self.engine.connect().execution_options(**options)

    def _migrate(self) -> None:
        from core.migrations.run import upgrade

        try:
            upgrade(self, self.kind)
        except (SQLAlchemyError, Unavailable) as error:
            self.close()
            cause = error.__cause__ if isinstance(error, Unavailable) else error
            raise self.dialect.unopened(cause or error) from error
        except LeptonError:
            self.close()
            raise


def open_ledger(home: Path, settings: DatabaseSettings | None = None) -> Database:
    """The database of scenes, versions, label events and revisions: the one of ``settings``, else under ``home``."""
    return _open(home / "lepton.db", "ledger", settings)


def open_predictions(home: Path, settings: DatabaseSettings | None = None) -> Database:
    """The prediction log: the one of ``settings``, else under ``home``."""
    return _open(home / "predictions.db", "predictions", settings)


def insert(connection: sa.Connection, table: sa.Table) -> sqlite.Insert | postgresql.Insert:
    """An insert that can say what happens where the key is known, which standard SQL cannot."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)


def _open(file: Path, kind: Kind, settings: DatabaseSettings | None) -> Database:
    if settings is not None and settings.url:
        return Database(PostgreSQL(settings.url, kind, settings.connections), kind)
    return Database(SQLite(file), kind)
