"""PostgreSQL: its turns, snapshots and signals, what happens when it is away, and what is said where it is no use."""

from __future__ import annotations

import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from core.address import address_of
from core.config import DatabaseSettings, Settings
from core.database import TABLES, Database, Kind, counters, open_ledger, open_predictions
from core.errors import BadConfiguration, Conflict, InvalidInput, Unavailable
from core.home import Home
from core.lease import acquire
from core.postgres import PostgreSQL
from core.predictions import PredictionLog
from tests.cluster import Cluster
from tests.databases import Databases
from tests.homes import SCENE, declare, evidence_of, feedback_of, head_of, home_at, manifest_of
from tests.processes import free_port
from tests.waiting import until

SECRET = "hunter2-is-secret"


def settings_of(url: str, **options: str) -> DatabaseSettings:
    told = " ".join(f"-c {name}={value}" for name, value in options.items())
    return DatabaseSettings(url=f"{url}?options={told}" if told else url)


@pytest.fixture
def settings(databases: Databases) -> DatabaseSettings:
    return DatabaseSettings(url=databases.empty())


@pytest.fixture
def ledger(settings: DatabaseSettings) -> Iterator[Database]:
    with closing(open_ledger(Path(), settings)) as made:
        yield made


@pytest.fixture
def home(tmp_path: Path, settings: DatabaseSettings) -> Iterator[Home]:
    with closing(home_at(tmp_path, settings.url)) as made:
        declare(made)
        yield made


def count_up(database: Database, name: str = "it") -> None:
    with database.write() as connection:
        connection.execute(sa.insert(counters), {"name": name, "value": 1})


def counted(connection: sa.Connection) -> list[str]:
    return sorted(connection.execute(sa.select(counters.c.name)).scalars())


def refused(settings: DatabaseSettings) -> BadConfiguration:
    """What is said on opening; one line, without the password."""
    with pytest.raises(BadConfiguration) as caught:
        open_ledger(Path(), settings)
    text = str(caught.value)
    assert "\n" not in text and SECRET not in text
    assert caught.value.remedy
    return caught.value


@pytest.mark.parametrize(
    ("url", "why"),
    [
        (SECRET, "is no address of a database"),
        (f"host=db password={SECRET}", "is no address of a database"),
        (f"mysql://u:{SECRET}@db/x", "begins with 'mysql'"),
        ("sqlite:///x.db", "without any, SQLite is used"),
        (f"postgresql://u:{SECRET}@db:port/x", "cannot be read"),
        (f"postgresql://u:a@{SECRET}@db/x", "more than one @"),
        (f"postgresql://u:{SECRET}@127.0.0.1/x?sslmod=off", 'invalid connection option "sslmod"'),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_repeating_it(url: str, why: str) -> None:
    assert why in str(refused(DatabaseSettings(url=url)))


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_signs_of_a_password_are_read(scheme: str) -> None:
    assert address_of(f"{scheme}://u:a%40b%2Fc@[::1]:5433/x").password == "a@b/c"


def test_the_password_is_in_no_text(databases: Databases, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    settings, secret = Settings(database=DatabaseSettings(url=databases.empty())), databases.server.password
    with closing(open_ledger(Path(), settings.database)) as database:
        told = repr(settings) + str(settings.database) + database.name + repr(database.dialect.engine) + caplog.text
    assert secret in settings.database.url and secret not in told


def test_without_its_driver_the_remedy_is_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    told = refused(DatabaseSettings(url=f"postgresql://u:{SECRET}@127.0.0.1/x"))
    assert "is not installed" in told.message and "'.[postgres]'" in told.remedy


def test_a_server_that_is_not_there_a_wrong_password_and_a_missing_database_are_told_apart(server: Cluster) -> None:
    nowhere = refused(DatabaseSettings(url=f"postgresql://u:{SECRET}@127.0.0.1:{free_port()}/x"))
    assert "Connection refused" in nowhere.message and "server runs" in nowhere.remedy
    wrong = refused(DatabaseSettings(url=server.url("postgres", password=SECRET)))
    assert "password authentication failed" in wrong.message and "password" in wrong.remedy
    missing = refused(DatabaseSettings(url=server.url("nobody_made_it")))
    assert 'database "nobody_made_it" does not exist' in missing.message and "createdb" in missing.remedy


def test_roles_that_may_only_read_are_refused_before_the_first_label(databases: Databases) -> None:
    server, name = databases.server, databases.another().rpartition("/")[2]
    server.run(f"CREATE ROLE reader LOGIN PASSWORD '{SECRET}'")
    bare = refused(DatabaseSettings(url=server.url(server.fresh().rpartition("/")[2], "reader", SECRET)))
    assert "permission denied" in bare.message and "own the database" in bare.remedy
    shut = refused(DatabaseSettings(url=server.url(name, "reader", SECRET)))
    assert "may not use" in shut.message and "GRANT ALL ON SCHEMA" in shut.remedy
    server.run("GRANT USAGE ON SCHEMA lepton_ledger TO reader", name)
    server.run("GRANT SELECT ON ALL TABLES IN SCHEMA lepton_ledger TO reader", name)
    reads = refused(DatabaseSettings(url=server.url(name, "reader", SECRET)))
    assert "may not write" in reads.message and "GRANT ALL" in reads.remedy
    server.run(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    standby = refused(DatabaseSettings(url=server.url(name)))
    assert "can only be read" in standby.message and "primary" in standby.remedy


def test_a_database_that_cannot_keep_every_label_is_refused(server: Cluster) -> None:
    server.run("CREATE DATABASE latin ENCODING LATIN1 LOCALE 'C' TEMPLATE template0")
    told = refused(DatabaseSettings(url=server.url("latin")))
    assert "encoding LATIN1" in told.message and "UTF8" in told.remedy


def test_a_role_that_owns_nothing_but_may_write_will_do(databases: Databases) -> None:
    server, name = databases.server, databases.another().rpartition("/")[2]
    server.run(f"CREATE ROLE writer LOGIN PASSWORD '{SECRET}'")
    server.run("GRANT USAGE ON SCHEMA lepton_ledger TO writer", name)
    server.run("GRANT ALL ON ALL TABLES IN SCHEMA lepton_ledger TO writer", name)
    told = refused(DatabaseSettings(url=server.url(name, "writer", SECRET)))
    assert "lepton_ledger.audit_id_seq" in told.message and "SEQUENCES" in told.remedy
    server.run("GRANT ALL ON ALL SEQUENCES IN SCHEMA lepton_ledger TO writer", name)
    with closing(open_ledger(Path(), DatabaseSettings(url=server.url(name, "writer", SECRET)))) as database:
        count_up(database)


@pytest.mark.parametrize(("kind", "opener"), [("ledger", open_ledger), ("predictions", open_predictions)])
def test_the_migrated_schema_is_the_one_in_the_code_and_a_newer_one_is_refused(
    databases: Databases, kind: Kind, opener: Callable[[Path, DatabaseSettings], Database]
) -> None:
    settings = DatabaseSettings(url=databases.server.fresh())
    with closing(opener(Path(), settings)) as database:
        told = {"compare_type": True, "compare_server_default": True}
        with database.read() as connection:
            assert compare_metadata(MigrationContext.configure(connection, opts=told), TABLES[kind]) == []
        with database.write() as connection:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(BadConfiguration, match=r"database 'test_\d+' on .* has schema '9999', newest known here is"):
        opener(Path(), settings)


def test_processes_may_open_an_empty_database_at_once(databases: Databases) -> None:
    url = databases.server.fresh()
    script = "import pathlib, sys; from core.config import *; from core.database import *; at = pathlib.Path(); "
    script += "to = DatabaseSettings(url=sys.argv[1]); open_ledger(at, to).close(); open_predictions(at, to).close()"
    command = [sys.executable, "-c", script, url]
    openers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    assert [opener.communicate()[1] for opener in openers] == [""] * 2
    assert [opener.returncode for opener in openers] == [0] * 2


def test_a_writer_waits_for_its_turn_and_no_longer_than_it_is_told(
    ledger: Database, settings: DatabaseSettings
) -> None:
    with (
        closing(open_ledger(Path(), settings_of(settings.url, lock_timeout="50ms"))) as hasty,
        ledger.write(),
        pytest.raises(Unavailable, match="lock timeout") as caught,
    ):
        count_up(hasty)
    assert "nothing of it was kept" in caught.value.remedy
    with ledger.read() as connection:
        assert counted(connection) == []


def test_who_is_stopped_in_the_middle_of_a_write_holds_nobody_up(ledger: Database, settings: DatabaseSettings) -> None:
    stuck = open_ledger(Path(), settings_of(settings.url, idle_in_transaction_session_timeout="50ms"))
    with closing(stuck), pytest.raises(Unavailable), stuck.write() as connection:
        connection.execute(sa.insert(counters), {"name": "lost", "value": 1})
        count_up(ledger, "kept")
    with ledger.read() as connection:
        assert counted(connection) == ["kept"]


def test_writers_of_the_prediction_log_do_not_wait_for_each_other(settings: DatabaseSettings) -> None:
    with closing(open_predictions(Path(), settings)) as one, closing(open_predictions(Path(), settings)) as other:
        log = PredictionLog(other)
        with one.write() as connection:
            assert one.dialect.alone(connection)
            log.append([])
            assert log.retain(days=1, megabytes=1) == 0, "somebody else is at it"


def test_a_reader_sees_one_state_to_its_end(ledger: Database) -> None:
    with ledger.read() as connection:
        assert counted(connection) == []
        count_up(ledger)
        assert counted(connection) == []
    with ledger.read() as connection:
        assert counted(connection) == ["it"]


def test_a_text_that_cannot_be_kept_is_refused(home: Home) -> None:
    with pytest.raises(InvalidInput, match=r"U\+0000"):
        home.registry.scene("a\0b")
    with pytest.raises(InvalidInput, match=r"U\+0000"):
        home.ledger.status("a\0b")


def test_watching_hears_of_commits_that_wrote_and_of_nothing_else(ledger: Database, settings: DatabaseSettings) -> None:
    watch = ledger.watch()
    assert watch.changed() and not watch.changed()
    with ledger.read() as connection:
        counted(connection)
    with ledger.write() as connection:
        counted(connection)
    with pytest.raises(ZeroDivisionError), ledger.write() as connection:
        connection.execute(sa.insert(counters), {"name": "rolled back", "value": 0})
        raise ZeroDivisionError
    with closing(open_predictions(Path(), settings)) as log, log.write() as connection:
        connection.exec_driver_sql("INSERT INTO instances VALUES ('x', '', 0)")
    count_up(ledger)
    until(watch.changed)
    assert not watch.changed(), "one commit, one signal: the others sent none"
    watch.close()


def test_after_a_crash_of_the_server_all_that_was_told_stands_and_everything_goes_on(
    home: Home, server: Cluster
) -> None:
    home.ledger.add(feedback_of("a", "cat", event_id="a"), evidence_of("a"))
    watch = home.ledger.database.watch()
    assert watch.changed()
    server.stop(signal.SIGQUIT)
    try:
        for attempt in (home.registry.scenes, lambda: home.ledger.add(feedback_of("b", "cat"), None)):
            with pytest.raises(Unavailable, match="cannot be used just now"):
                attempt()
        assert not watch.changed(), "nothing was heard, and nobody is woken in vain"
    finally:
        server.start()
    assert home.ledger.add(feedback_of("b", "cat", event_id="b"), evidence_of("b")).sequence == 2
    until(watch.changed)
    watch.close()
    assert [event.event_id for event in home.ledger.events(SCENE, 0)] == ["a", "b"]


def test_where_the_commit_itself_is_cut_off_its_fate_is_not_made_up(databases: Databases) -> None:
    url = databases.another()
    with closing(open_ledger(Path(), DatabaseSettings(url=url))) as database:
        for statement in (
            "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS "
            "'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NULL; END'",
            "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON lepton_ledger.counters DEFERRABLE INITIALLY DEFERRED "
            "FOR EACH ROW EXECUTE FUNCTION die()",
        ):
            databases.server.run(statement, url.rpartition("/")[2])
        databases.server.run("ALTER FUNCTION die() SET search_path = public", url.rpartition("/")[2])
        with pytest.raises(Unavailable) as caught:
            count_up(database)
    assert "same event_id" in caught.value.remedy and "not known" in caught.value.remedy


def test_of_several_promotions_at_once_one_wins(home: Home, settings: DatabaseSettings, tmp_path: Path) -> None:
    versions = [letter * 64 for letter in "abcd"]
    for version in versions:
        home.registry.register(SCENE, version, manifest_of(), head_of(0.0))
    homes, start = [home_at(tmp_path / version[0], settings.url) for version in versions], threading.Barrier(4)

    def promote(place: Home, version: str) -> str | None:
        start.wait()
        try:
            place.registry.promote(SCENE, version, expected_generation=1, head=lambda: head_of(1.0))
        except Conflict:
            return None
        return version

    with ThreadPoolExecutor(4) as pool:
        won = [version for version in pool.map(promote, homes, versions) if version]
    held = home.registry.champion(SCENE)
    assert held is not None and [held.version] == won and held.generation == 2
    assert [row["version"] for row in home.registry.history(SCENE) if row["action"] == "promote"][:-1] == won
    for place in homes:
        place.close()


def test_the_lead_runs_out_by_the_clock_of_the_server(ledger: Database) -> None:
    first = acquire(ledger, "learner", "ann", 0.1)
    assert first is not None
    second = until(lambda: acquire(ledger, "learner", "bob", 60.0))
    assert second is not None and second.token == first.token + 1
    assert acquire(ledger, "learner", "ann", 0.1) is None


def test_deleted_rows_are_vacuumed_away(ledger: Database) -> None:
    with ledger.write() as connection:
        connection.execute(sa.insert(counters), [{"name": f"{number}", "value": 0} for number in range(2000)])
    with ledger.write() as connection:
        connection.execute(sa.delete(counters))

    def size() -> int:
        with ledger.read() as connection:
            return int(connection.exec_driver_sql("SELECT pg_relation_size('counters')").scalar_one())

    def empty() -> bool:  # the server's own vacuum may be at the table just then
        ledger.scrub()
        return size() == 0

    assert size() > 0
    until(empty)


def test_a_version_whose_folder_is_not_on_this_host_is_no_broken_one(home: Home) -> None:
    with pytest.raises(Unavailable, match=r"is not in .*artifacts") as caught:
        home.bundle("a" * 64)
    assert "mount one folder" in caught.value.remedy


def test_a_wide_pool_is_not_opened_before_it_is_needed(settings: DatabaseSettings, server: Cluster) -> None:
    with closing(open_ledger(Path(), settings)) as database:
        count_up(database)
        assert isinstance(database.dialect, PostgreSQL)
        mine = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lepton' AND datname = "
        name = settings.url.rpartition("/")[2]
        until(lambda: server.run(f"{mine}'{name}'")[0][0] == 1)  # those of the test before are ending
