"""Opening, migrating and writing the two database files."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from core.database import (
    Database,
    counters,
    ledger_tables,
    open_ledger,
    open_predictions,
    prediction_tables,
)
from core.errors import BadConfiguration, Unavailable
from core.job_tables import jobs
from core.migrations.run import NEWEST
from core.sqlite import wal_is_safe

OPENERS = {"ledger": (open_ledger, ledger_tables), "predictions": (open_predictions, prediction_tables)}


@pytest.fixture(params=sorted(OPENERS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def schema_of(database: Database) -> str | None:
    with database.read() as connection:
        return connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()


def count_up(database: Database, by: int = 1) -> None:
    with database.write() as connection:
        connection.execute(sa.insert(counters), {"name": f"counter {by}", "value": by})


def test_the_migrated_schema_is_the_one_in_the_code(tmp_path: Path, kind: str) -> None:
    opener, tables = OPENERS[kind]
    assert jobs.metadata is ledger_tables
    database = opener(tmp_path)
    made = sa.create_engine("sqlite://")
    tables.create_all(made)
    with database.read() as connection, made.connect() as fresh:
        assert compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), tables) == []
        for table in tables.tables:  # defaults, too, which Alembic misreads where they are empty
            columns = f"SELECT name, type, \"notnull\", dflt_value, pk FROM pragma_table_info('{table}') ORDER BY name"
            assert connection.exec_driver_sql(columns).all() == fresh.exec_driver_sql(columns).all()
    made.dispose()
    assert schema_of(database) == NEWEST[kind]
    database.close()


def test_an_empty_file_is_brought_up_to_date_and_opening_again_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "lepton.db").touch()
    database = open_ledger(tmp_path)
    count_up(database)
    database.close()
    before = (tmp_path / "lepton.db").read_bytes()
    database = open_ledger(tmp_path)
    assert schema_of(database) == NEWEST["ledger"]
    database.close()
    assert (tmp_path / "lepton.db").read_bytes() == before


def test_a_file_whose_migrations_were_cut_off_before_the_first_is_brought_up_to_date(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "lepton.db") as old:
        old.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    old.close()
    database = open_ledger(tmp_path)
    count_up(database)
    assert schema_of(database) == NEWEST["ledger"]
    database.close()


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "lepton.db") as old:
        old.execute("CREATE TABLE versions (mine TEXT)")  # in the way of the first migration, half of it done by then
    old.close()
    with pytest.raises(BadConfiguration, match=r"lepton.db cannot be opened: table versions already exists"):
        open_ledger(tmp_path)
    with sqlite3.connect(tmp_path / "lepton.db") as left:
        tables = [name for (name,) in left.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    left.close()
    assert tables == ["versions"]


def test_four_processes_may_open_a_new_home_at_once(tmp_path: Path) -> None:
    script = "import sys, pathlib; from core.database import *; p = pathlib.Path(sys.argv[1]); open_ledger(p).close(); "
    command = [sys.executable, "-c", script + "open_predictions(p).close()", str(tmp_path / "home")]
    openers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert [opener.communicate()[1] for opener in openers] == [""] * 4
    assert [opener.returncode for opener in openers] == [0] * 4
    database = open_ledger(tmp_path / "home")
    assert schema_of(database) == NEWEST["ledger"]
    database.close()


def test_a_newer_schema_is_refused_by_number(tmp_path: Path, kind: str) -> None:
    opener, _ = OPENERS[kind]
    database = opener(tmp_path)
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    with pytest.raises(BadConfiguration, match=r"has schema '9999', newest known here is"):
        opener(tmp_path)


def test_a_file_that_is_no_database_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "lepton.db").write_bytes(b"these are my notes, not a database. " * 200)
    with pytest.raises(BadConfiguration, match=r"lepton.db cannot be opened: file is not a database"):
        open_ledger(tmp_path)


@pytest.mark.parametrize("home", ["file/home", "file"])
def test_a_home_that_cannot_be_made_is_refused_by_name(tmp_path: Path, home: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BadConfiguration, match=r"file.* cannot be made"):
        open_ledger(tmp_path / home)


def test_a_home_that_cannot_be_written_is_refused_by_name() -> None:
    with pytest.raises(BadConfiguration, match=r"/proc/self/fd/lepton.db cannot be opened: unable to open"):
        open_ledger(Path("/proc/self/fd"))  # a folder that even root cannot write


@pytest.mark.parametrize("name", ["what? #1", "50% off", "a b/c:d", "ä"])
def test_a_home_may_have_any_name(tmp_path: Path, name: str) -> None:
    database = open_ledger(tmp_path / name)
    assert (tmp_path / name / "lepton.db").stat().st_size > 0
    database.close()


@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 45, 0), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((4, 0, 0), True),
    ],
)
def test_a_write_ahead_log_is_used_only_where_the_library_is_sound(version: tuple[int, int, int], safe: bool) -> None:
    assert wal_is_safe(version) is safe


def test_connections_are_set_up_to_be_durable_and_to_wipe_what_is_deleted(tmp_path: Path) -> None:
    database = open_ledger(tmp_path)
    expected = "wal" if wal_is_safe(sqlite3.sqlite_version_info) else "delete"
    with database.read() as connection:
        pragmas = ("journal_mode", "synchronous", "secure_delete", "foreign_keys")
        found = [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in pragmas]
    assert found == [expected, 2, 1, 1]
    database.close()


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    database = open_ledger(tmp_path)
    with pytest.raises(ZeroDivisionError), database.write() as connection:
        connection.execute(sa.insert(counters), {"name": "lost", "value": 1})
        raise ZeroDivisionError
    with database.read() as connection:
        assert connection.execute(sa.select(counters)).all() == []
    database.close()


def test_a_full_disk_answers_unavailable_and_keeps_what_was_there(tmp_path: Path) -> None:
    database = open_ledger(tmp_path)
    count_up(database)
    with database.write() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(Unavailable, match="full"), database.write() as connection:
        many = [{"name": f"{n:04} " + "x" * 400, "value": n} for n in range(500)]
        connection.execute(sa.insert(counters), many)
    with database.read() as connection:
        assert connection.execute(sa.select(counters.c.value)).scalars().all() == [1]
    database.close()


def test_watching_sees_what_others_commit_and_nothing_else(tmp_path: Path) -> None:
    database, other = open_ledger(tmp_path), open_ledger(tmp_path)
    watch = database.watch()
    assert watch.changed()
    assert not watch.changed()
    with other.read() as connection:
        connection.execute(sa.select(counters)).all()
    assert not watch.changed()
    count_up(database, 1)
    count_up(other, 2)
    assert watch.changed()
    assert not watch.changed()
    with pytest.raises(ZeroDivisionError), other.write() as connection:
        connection.execute(sa.insert(counters), {"name": "rolled back", "value": 0})
        raise ZeroDivisionError
    assert not watch.changed()
    watch.close()
    database.close()
    other.close()


def test_scrubbing_leaves_nothing_of_deleted_rows_in_a_write_ahead_log(tmp_path: Path) -> None:
    database = open_ledger(tmp_path)
    with sqlite3.connect(tmp_path / "lepton.db", isolation_level=None) as other:
        other.execute("PRAGMA journal_mode=WAL")
        other.execute("PRAGMA secure_delete=ON")
        other.execute("INSERT INTO counters VALUES ('a secret name', 1)")
        other.execute("DELETE FROM counters")
        log = tmp_path / "lepton.db-wal"
        assert b"a secret name" in log.read_bytes()
        schema_of(database)  # where WAL is in use from the start, the connection knows it
        database.scrub()
        assert b"a secret name" not in log.read_bytes() + (tmp_path / "lepton.db").read_bytes()
    other.close()
    database.close()
