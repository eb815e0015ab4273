"""What ``doctor`` finds of the database: which one, whether it keeps what it says, and whether this host fits to it.

Promises that no password is in a finding. Knows nothing of what the tables hold.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing

import sqlalchemy as sa

from core.config import Settings
from core.database import Database
from core.errors import LeptonError
from core.home import Home, open_home
from core.sqlite import wal_is_safe
from lepton.gpu import Finding

LARGEST_SKEW = 2.0  # seconds between the clocks of this host and of the server
FULL = 0.8  # share of the server's connections
DURABLE = ("fsync", "full_page_writes", "synchronous_commit")


def findings(settings: Settings) -> list[Finding]:
    """What there is, each with its remedy where something is wrong."""
    of_sqlite = [] if settings.database.url else [_sqlite()]
    try:
        home = open_home(settings)
    except LeptonError as error:
        what = "postgresql" if settings.database.url else "home"
        return [*of_sqlite, Finding(what, "wrong", error.message, error.remedy)]
    with closing(home):
        of_server = _postgresql(home) if settings.database.url else []
        return [*of_sqlite, *of_server, Finding("home", "ok", f"{settings.home}, {len(home.registry.scenes())} scenes")]


def _sqlite() -> Finding:
    wal = wal_is_safe(sqlite3.sqlite_version_info)
    mode = "WAL" if wal else "rollback journal, since this library's WAL can be corrupted when it is reset"
    return Finding("sqlite", "ok" if wal else "note", f"{sqlite3.sqlite_version}: {mode}")


def _postgresql(home: Home) -> list[Finding]:
    database = home.ledger.database
    with database.read() as connection:
        version, role = connection.exec_driver_sql("SELECT current_setting('server_version'), current_user").one()
        lossy = [name for name in DURABLE if connection.exec_driver_sql(f"SHOW {name}").scalar_one() == "off"]
        taken, most = connection.exec_driver_sql(
            "SELECT (SELECT count(*) FROM pg_stat_activity), current_setting('max_connections')::int"
        ).one()
        plain = connection.exec_driver_sql(
            "SELECT NOT ssl AND NOT coalesce(inet_server_addr() << '127.0.0.0/8' OR inet_server_addr() = '::1', true) "
            "FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
        ).scalar()
    found = [Finding("postgresql", "ok", f"{version}, {database.name.partition(' ')[2]}, role {role}")]
    if lossy:
        told = f"{', '.join(lossy)} off: a crash can lose labels that were acknowledged"
        found.append(Finding("durability", "wrong", told, "turn it on in postgresql.conf, then reload the server"))
    if plain:
        found.append(
            Finding("encryption", "note", "the connection is not encrypted", "add ?sslmode=require to the url")
        )
    crowded = taken > FULL * most
    remedy = "raise max_connections of the server, or run fewer workers" if crowded else ""
    found.append(Finding("connections", "note" if crowded else "ok", f"{taken} of {most} taken", remedy))
    return [*found, _clock(database), _artifacts(home)]


def _clock(database: Database) -> Finding:
    with database.read() as connection:
        connection.execute(sa.select(1))
        before = time.time()
        there = database.now(connection)
        apart = there - (before + time.time()) / 2
    told = f"{abs(apart):.2f} s {'behind' if apart > 0 else 'ahead of'} the server's"
    if abs(apart) > LARGEST_SKEW:
        return Finding("clock", "wrong", told, "let NTP keep the clocks of all hosts")
    return Finding("clock", "ok", told)


def _artifacts(home: Home) -> Finding:
    champions = {scene.name: home.registry.champion(scene.name) for scene in home.registry.scenes()}
    absent = [name for name, held in champions.items() if held and not home.artifacts.bundle(held.version).is_dir()]
    if absent:
        told = f"{home.artifacts.root} lacks the champion of {', '.join(absent)}"
        return Finding("artifacts", "wrong", told, "mount there the folder that all hosts share")
    return Finding("artifacts", "ok", f"{home.artifacts.root} has the champion of every scene")
