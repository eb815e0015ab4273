"""PostgreSQL in its own way: one database for the processes of many hosts.

Promises that writers of the ledger take turns (an advisory lock to the end of the transaction), so that a write sees
all that was committed before it and events become visible in the order of their sequence; that a reader sees one
snapshot; that whoever watches hears of a commit at once and misses none, a restart of the server included; and that the
password is in no name, message or repr. Writers of the prediction log do not wait for each other. Knows nothing of
tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import sqlalchemy as sa
from sqlalchemy.exc import DataError, DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnection

from core.address import SETTING, address_of, place
from core.errors import BadConfiguration, InvalidInput, LeptonError, Unavailable
from core.listen import Watch, first_line

LEAST = 13  # major version of the server
WAIT_SECONDS = 30  # for the turn to write, or for a connection of the pool
STATEMENT_SECONDS = 60
SILENT_SECONDS = 60  # in the middle of a transaction; then the server ends it: a stopped process holds nobody up
CONNECT_SECONDS = 5
IDLE = 4  # connections that are kept open where nothing is to be done
LOCK = 0x4C455054  # class of our advisory locks
TURN, RETENTION = 1, 2
ROW_BYTES = 512  # of a logged prediction or input, beside what is counted exactly: other columns, indexes

SESSION = {
    "lock_timeout": f"{WAIT_SECONDS}s",
    "statement_timeout": f"{STATEMENT_SECONDS}s",
    "idle_in_transaction_session_timeout": f"{SILENT_SECONDS}s",
}
CONNECT: dict[str, Any] = {  # a server that is cut off is noticed within half a minute
    "connect_timeout": CONNECT_SECONDS,
    "application_name": "lepton",
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 25_000,
}
CLOSED = """
SELECT min(relname) FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND (
    relkind = 'r' AND NOT (has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')
                           AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE'))
    OR relkind = 'S' AND NOT has_sequence_privilege(oid, 'USAGE'))
"""  # what of our schema the role may not write
# By SQLSTATE, its first letters: connections, resources, an operator's doing, locks, deadlocks, time, rights.
PASSING = ("08", "53", "57", "55P03", "40", "25006", "25P03", "25P04", "42501", "58")


class PostgreSQL:
    """One schema of a database.

    Args:
        url: where the database is, and who asks.
        kind: ``ledger`` or ``predictions``; names the schema.
        connections: open at most.

    Raises:
        BadConfiguration: the address cannot be read, or the driver is not installed.
    """

    shared = True  # with other hosts
    mark = "%s"  # where a parameter stands in a statement of the driver
    reading: ClassVar[dict[str, Any]] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    writing: ClassVar[dict[str, Any]] = {"isolation_level": "READ COMMITTED"}

    def __init__(self, url: str, kind: str, connections: int):
        address = address_of(url)
        self.schema = f"lepton_{kind}"
        self.name = f"PostgreSQL database {place(address)}"
        self._turns = kind == "ledger"
        told = {name: value for name, value in CONNECT.items() if name not in address.query}
        session = " ".join(f"-c {name}={value}" for name, value in SESSION.items())
        told["options"] = f"{session} {address.query.get('options', '')} -c search_path={self.schema}"
        try:
            self.engine = sa.create_engine(
                address,
                connect_args=told,
                pool_size=min(IDLE, connections),
                max_overflow=max(0, connections - IDLE),
                pool_timeout=WAIT_SECONDS,
                pool_pre_ping=True,  # a connection that a restart of the server has cut costs no request
                hide_parameters=True,
                use_native_hstore=False,
            )
        except ImportError as error:
            raise BadConfiguration(
                f"{SETTING} asks for PostgreSQL, whose driver is not installed: {error}",
                "pip install -c constraints.txt '.[postgres]'",
            ) from None

    def enter(self, connection: sa.Connection) -> None:
        """Wait for the turn to write the ledger; it lasts as long as the transaction."""
        if self._turns:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK}, {TURN})")

    def leave(self, connection: sa.Connection) -> None:
        """Let those who watch hear of the commit, where anything was written."""
        if self._turns:
            connection.exec_driver_sql(
                f"SELECT pg_notify('{self.schema}', '') WHERE pg_current_xact_id_if_assigned() IS NOT NULL"
            )

    def make_way(self, connection: sa.Connection) -> None:
        """Before migrations: one process at a time, as long as they take, in a schema that is there.

        Raises:
            BadConfiguration: the role may not use it.
        """
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK}, hashtext('{self.schema}'))")
        usable = f"SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = '{self.schema}'"
        may = connection.exec_driver_sql(usable).scalar()
        if may is None:
            connection.exec_driver_sql(f"CREATE SCHEMA {self.schema}")
        elif not may:
            raise BadConfiguration(
                f"the {self.name} has a schema {self.schema} that this role may not use",
                f"connect as the role that owns it, or: GRANT ALL ON SCHEMA {self.schema}, and on its tables, TO it",
            )

    def check(self, connection: sa.Connection) -> None:
        """Whether this server, and this role on it, will do.

        Raises:
            BadConfiguration: too old, a standby, or tables that the role may not write.
        """
        version = int(connection.exec_driver_sql("SHOW server_version_num").scalar_one()) // 10_000
        if version < LEAST:
            raise BadConfiguration(f"the {self.name} is of version {version}", f"use PostgreSQL {LEAST} or newer")
        encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
        if encoding != "UTF8":
            raise BadConfiguration(
                f"the {self.name} has the encoding {encoding}",
                "make one with: createdb --encoding UTF8 --template template0",
            )
        standby = "SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean"
        if connection.exec_driver_sql(standby).scalar_one():
            raise BadConfiguration(
                f"the {self.name} can only be read: it is a standby, or its role is read-only",
                f"name the primary server, and a role that may write, in {SETTING}",
            )
        closed = connection.exec_driver_sql(CLOSED).scalar()
        if closed is not None:
            grants = (f"GRANT ALL ON ALL {what} IN SCHEMA {self.schema} TO it" for what in ("TABLES", "SEQUENCES"))
            raise BadConfiguration(
                f"the {self.name} has {self.schema}.{closed}, which this role may not write",
                f"connect as the role that owns it, or: {'; '.join(grants)}",
            )

    def alone(self, connection: sa.Connection) -> bool:
        """Whether nobody else does the same just now; holds to the end of the transaction."""
        return bool(connection.exec_driver_sql(f"SELECT pg_try_advisory_xact_lock({LOCK}, {RETENTION})").scalar_one())

    def now(self, connection: sa.Connection) -> float:
        """Seconds since the epoch, by the server's clock: hosts need not agree on the time."""
        return float(connection.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())::float8").scalar_one())

    def used_bytes(self, connection: sa.Connection, most: int) -> int:
        """Bytes of the prediction log that hold something: counted only where its files have outgrown ``most``.

        Files keep the space of deleted rows for new ones, so they are no measure.
        """
        files = "SELECT pg_total_relation_size('predictions') + pg_total_relation_size('instances')"
        taken = int(connection.exec_driver_sql(files).scalar_one())
        if taken <= most:
            return taken
        counted = " + ".join(
            f"(SELECT coalesce(sum(octet_length({column}) + {ROW_BYTES}), 0) FROM {table})"
            for table, column in (("predictions", "features"), ("instances", "bytes"))
        )
        return int(connection.exec_driver_sql(f"SELECT {counted}").scalar_one())

    def trouble(self, error: SQLAlchemyError, step: Literal["read", "write", "commit"]) -> LeptonError | None:
        """What to tell of an error that passes by itself or by an operator's hand; None where it is a fault of ours."""
        if isinstance(error, DataError) and "NUL (0x00)" in str(error.orig):
            return InvalidInput("a text holds the sign U+0000, which cannot be kept", "leave it out")
        if isinstance(error, NoConnection):
            reason = f"all connections of this process are taken for {WAIT_SECONDS} s"
        elif isinstance(error, DBAPIError) and _passes(error):
            reason = _reason(error)
        else:
            return None
        kept = {
            "read": "send the request again in a second",
            "write": "send the request again in a second: nothing of it was kept",
            "commit": "send the request again with the same event_id: whether it was kept is not known",
        }
        return Unavailable(f"the {self.name} cannot be used just now: {reason}", kept[step])

    def unopened(self, error: BaseException) -> BadConfiguration:
        """What to tell where the database could not be opened or brought up to date."""
        reason, remedy = str(error), f"look into the server's log; correct {SETTING}"
        if isinstance(error, DBAPIError):
            reason = _reason(error)
            if _state(error).startswith("42501"):
                remedy = "let the role own the database (ALTER DATABASE … OWNER TO …), or connect as one that may"
            elif isinstance(error, OperationalError) and not _state(error):
                remedy = "check that the server runs and listens there, that the database exists (createdb), and user "
                remedy += f"and password in {SETTING} or ~/.pgpass"
        return BadConfiguration(f"the {self.name} cannot be opened: {reason}", remedy)

    def scrub(self, tables: Sequence[str]) -> None:
        """Remove deleted rows from the tables' pages, and free their space for new ones.

        Their bytes are overwritten when that space is used again; ``VACUUM FULL`` is left to operators.

        Raises:
            Unavailable: the server is away.
        """
        try:
            with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                connection.detach()  # its time has no limit, and it is closed
                connection.exec_driver_sql("SET statement_timeout = 0")
                connection.exec_driver_sql(f"VACUUM {', '.join(tables)}")
        except SQLAlchemyError as error:
            reason = _reason(error) if isinstance(error, DBAPIError) else str(error)
            raise Unavailable(
                f"deleted rows could not be removed from the {self.name}: {reason}", "run VACUUM there"
            ) from error

    def watch(self) -> Watch:
        """Watch the schema."""
        return Watch(self.engine, self.schema)


def _passes(error: DBAPIError) -> bool:
    lost = error.connection_invalidated or (isinstance(error, OperationalError) and not _state(error))
    return lost or _state(error).startswith(PASSING)


def _state(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")


def _reason(error: DBAPIError) -> str:
    return first_line(error.orig or error)
