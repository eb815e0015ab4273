"""PostgreSQL in its own way: one database for the processes of many hosts.

Promises that writers of the ledger take turns (an advisory lock to the end of the transaction), so that a write sees
all that was committed before it and events become visible in the order of their sequence; that a reader sees one
snapshot; that whoever watches hears of a commit at once and misses none, a restart of the server included; and that the
password is in no name, message or repr. Writers of the prediction log do not wait for each other. Knows nothing of
tables.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import sqlalchemy as sa
from sqlalchemy.exc import DataError, DBAPIError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnection

from core.errors import BadConfiguration, InvalidInput, LeptonError, Unavailable

if TYPE_CHECKING:
    import psycopg

logger = logging.getLogger(__name__)

LEAST = 13  # major version of the server
SETTING = "[database] url (LEPTON_DATABASE_URL)"
FORM = "postgresql://user:password@host:5432/name"
WAIT_SECONDS = 30  # for the turn to write, or for a connection of the pool
STATEMENT_SECONDS = 60
SILENT_SECONDS = 60  # in the middle of a transaction: then the server ends it, so that a stopped process holds nobody up
CONNECT_SECONDS = 5
IDLE = 4  # connections that are kept open where nothing is to be done
RETRY_SECONDS = 0.5  # between two tries to hear of commits again
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
    reading: dict[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    writing: dict[str, Any] = {"isolation_level": "READ COMMITTED"}

    def __init__(self, url: str, kind: str, connections: int):
        address = address_of(url)
        self.schema = f"lepton_{kind}"
        self.name = f"PostgreSQL database {_place(address)}"
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
                f"connect as the role that owns it, or: GRANT ALL ON SCHEMA {self.schema} TO the role, and on its tables",
            )

    def check(self, connection: sa.Connection) -> None:
        """Whether this server, and this role on it, will do.

        Raises:
            BadConfiguration: too old, a standby, or tables that the role may not write.
        """
        version = int(connection.exec_driver_sql("SHOW server_version_num").scalar_one()) // 10_000
        if version < LEAST:
            raise BadConfiguration(f"the {self.name} is of version {version}", f"use PostgreSQL {LEAST} or newer")
        standby = "SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean"
        if connection.exec_driver_sql(standby).scalar_one():
            raise BadConfiguration(
                f"the {self.name} can only be read: it is a standby, or its role is read-only",
                f"name the primary server, and a role that may write, in {SETTING}",
            )
        closed = "SELECT min(tablename) FROM pg_tables WHERE schemaname = current_schema() AND NOT ("
        closed += " AND ".join(
            f"has_table_privilege(format('%I.%I', schemaname, tablename), '{right}')"
            for right in ("SELECT", "INSERT", "UPDATE", "DELETE")
        )
        table = connection.execute(sa.text(closed + ")")).scalar()
        if table is not None:
            raise BadConfiguration(
                f"the {self.name} has a table {self.schema}.{table} that this role may not write",
                f"connect as the role that owns it, or: GRANT ALL ON ALL TABLES IN SCHEMA {self.schema} TO the role",
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

    def unopened(self, error: SQLAlchemyError | Unavailable) -> BadConfiguration:
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
            with _apart(self.engine) as connection:
                connection.execute("SET statement_timeout = 0")
                connection.execute(f"VACUUM {', '.join(tables)}".encode())
        except Exception as error:
            raise Unavailable(f"deleted rows could not be removed from the {self.name}: {_line(error)}", "VACUUM it") from error

    def watch(self) -> Watch:
        """Watch the schema."""
        return Watch(self.engine, self.schema)


class Watch:
    """Hears of commits to the ledger (LISTEN, NOTIFY) on a connection of its own; a look asks the server nothing."""

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
                logger.warning("commits cannot be heard of until the database is back: %s", _line(error))
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


def address_of(url: str) -> sa.URL:
    """The address, with the driver that we use.

    Raises:
        BadConfiguration: it cannot be read; the message repeats nothing of it, since a password may be in it.
    """
    scheme, found, _ = url.partition("://")
    if not found or not scheme.replace("+", "").isalnum():
        raise BadConfiguration(f"{SETTING} is no address of a database", f"give one such as {FORM}")
    if scheme not in {"postgresql", "postgres", "postgresql+psycopg"}:
        raise BadConfiguration(
            f"{SETTING} begins with {scheme[:40]!r}", f"give one such as {FORM}; without any, SQLite is used"
        )
    try:
        address = sa.make_url(url).set(drivername="postgresql+psycopg")
    except (SQLAlchemyError, ValueError):
        raise BadConfiguration(f"{SETTING} cannot be read", f"give one such as {FORM}, with a number as port") from None
    if "@" in (address.host or ""):
        raise BadConfiguration(f"{SETTING} has more than one @", "write an @ of the password as %40, a / as %2F")
    return address


def _place(address: sa.URL) -> str:
    """Database and host as people know them; nothing of the user."""
    hosts = address.query.get("host", address.host or "")
    told = hosts if isinstance(hosts, str) else ", ".join(hosts)
    port = f":{address.port}" if address.port else ""
    return f"{address.database or ''!r} on {told or 'this host'}{port}"


def _passes(error: DBAPIError) -> bool:
    lost = error.connection_invalidated or (isinstance(error, OperationalError) and not _state(error))
    return lost or _state(error).startswith(PASSING)


def _state(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")


def _reason(error: DBAPIError) -> str:
    return _line(error.orig or error)


def _line(error: BaseException) -> str:
    """The first line that a server or driver said."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _apart(engine: sa.Engine) -> psycopg.Connection[Any]:
    """A connection outside the pool and outside transactions."""
    taken = engine.raw_connection()
    made: psycopg.Connection[Any] = taken.driver_connection  # type: ignore[assignment]
    taken.detach()
    made.autocommit = True
    return made
