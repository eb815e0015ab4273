"""Versions under the engine: kept for a rollback, and planted faults at every step of getting ready."""

from __future__ import annotations

import errno
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core import bundle
from core.config import Settings
from core.errors import BrokenBundle, DeviceLost, Unavailable
from core.home import Home, open_home
from core.lease import acquire
from core.types import Head, Version
from service.engine.faults import FAILURES, TRIES, Faults
from tests import pico
from tests.engines import Clock, Ears, Start, engines, foreign, move, serves
from tests.waiting import until


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    opened = open_home(Settings(home=tmp_path))
    yield opened
    opened.close()


@pytest.fixture
def start(home: Home) -> Iterator[Start]:
    with engines(home) as starting:
        yield starting


def test_a_rollback_swaps_to_the_session_that_was_kept_with_the_head_of_today(home: Home, start: Start) -> None:
    made = pico.register(home)
    engine = start()
    old = engine.snapshot("shapes")
    newer = pico.another(home, made.scene, seed=1)
    move(home, newer)
    until(lambda: serves(engine, newer))
    move(home, made.version, "rollback")
    until(lambda: serves(engine, made.version))
    now = engine.snapshot("shapes")
    newest = home.registry.latest_revision("shapes", made.version.version)
    assert newest is not None and newest.number == now.revision > old.revision
    assert now.session is old.session, "it was kept, not loaded again"
    assert engine.besides("shapes") == [newer.version]


def test_a_scene_whose_rows_cannot_be_read_holds_up_no_other_and_is_served_once_they_can(
    home: Home, start: Start
) -> None:
    pico.register(home, "aground")
    pico.register(home)
    assert next(scene.name for scene in home.registry.scenes()) == "aground"
    text = "UPDATE versions SET manifest = {} || manifest WHERE scene = 'aground'"
    with home.ledger.database.write() as connection:
        connection.exec_driver_sql(text.format("'{'"))
    engine = start()
    assert engine.settled()
    assert engine.snapshot("shapes").revision == 0
    with pytest.raises(Unavailable, match="its rows cannot be read"):
        engine.snapshot("aground")
    pico.learn(home)
    until(lambda: engine.snapshot("shapes").revision == 1)
    with home.ledger.database.write() as connection:
        connection.exec_driver_sql("UPDATE versions SET manifest = substr(manifest, 2) WHERE scene = 'aground'")
    until(lambda: "aground" in [snapshot.scene.name for snapshot in engine.snapshots()])


def test_a_kept_version_is_loaded_anew_where_an_erasure_took_its_head(home: Home, start: Start) -> None:
    made = pico.register(home)
    pico.learn(home)
    engine = start()
    until(lambda: engine.snapshot("shapes").revision == 1)
    old = engine.snapshot("shapes")
    newer = pico.another(home, made.scene, seed=1)
    move(home, newer)
    until(lambda: serves(engine, newer))
    with home.ledger.database.write() as connection:
        connection.exec_driver_sql("UPDATE revisions SET weight = NULL WHERE version = ?", (made.version.version,))
    home.registry.promote("shapes", made.version.version, expected_generation=2, head=lambda: None)
    until(lambda: serves(engine, made.version))
    now = engine.snapshot("shapes")
    assert now.head is None and now.fallback and now.session is not old.session


def test_a_rollback_to_a_kept_version_whose_head_does_not_fit_is_undone(home: Home, start: Start) -> None:
    made = pico.register(home)
    engine = start()
    newer = pico.another(home, made.scene, seed=1)
    move(home, newer)
    until(lambda: serves(engine, newer))
    head(home, made.version)
    home.registry.promote("shapes", made.version.version, expected_generation=2, head=lambda: None)
    until(lambda: home.registry.version("shapes", made.version.version).state == "quarantined")
    assert "does not fit" in home.registry.version("shapes", made.version.version).reason
    assert serves(engine, newer)


def test_nothing_is_kept_where_that_is_not_wanted(home: Home, start: Start) -> None:
    made = pico.register(home)
    engine = start(keep=False)
    old = weakref.ref(engine.snapshot("shapes").session)
    newer = pico.another(home, made.scene, seed=1)
    move(home, newer)
    until(lambda: serves(engine, newer))
    until(lambda: old() is None)
    assert engine.besides("shapes") == []


def digest(home: Home, version: Version) -> None:
    place = home.artifacts.bundle(version.version) / bundle.MODEL
    place.write_bytes(place.read_bytes()[:-1] + b"?")


def missing(home: Home, version: Version) -> None:
    (home.artifacts.bundle(version.version) / bundle.MODEL).unlink()


def golden(home: Home, version: Version) -> None:
    place = home.artifacts.bundle(version.version) / bundle.GOLDEN
    place.write_bytes(place.read_bytes()[::-1])


def head(home: Home, version: Version) -> None:
    lease = acquire(home.ledger.database, "learner", "test", 60)
    assert lease is not None
    odd = Head(weight=np.zeros((5, 2), np.float32), bias=np.zeros(2, np.float32), labels=("a", "b"))
    home.registry.publish("shapes", version.version, odd, lease=lease, keep=10)


@pytest.mark.parametrize("fault", [digest, missing, golden, head, foreign])
def test_a_fault_at_any_step_leaves_the_old_one_serving_and_the_reason_on_record(
    home: Home, start: Start, fault: Callable[[Home, Version], None]
) -> None:
    made = pico.register(home)
    engine = start()
    before = engine.snapshot("shapes")
    newer = pico.another(home, made.scene, seed=1)
    fault(home, newer)
    home.registry.promote("shapes", newer.version, expected_generation=1, head=lambda: None)
    until(lambda: home.registry.version("shapes", newer.version).state == "quarantined")
    assert home.registry.version("shapes", newer.version).reason
    assert engine.snapshot("shapes").session is before.session
    champion = home.registry.champion("shapes")
    assert champion is not None and champion.version == made.version.version
    until(lambda: engine.besides("shapes") == [])


@pytest.mark.parametrize("fault", ["no model at all", "other golden rows"])
def test_a_bundle_that_is_whole_and_wrong_is_quarantined(home: Home, start: Start, fault: str, tmp_path: Path) -> None:
    made = pico.register(home)
    engine = start()
    good = home.bundle(pico.another(home, made.scene, seed=1).version)
    model, rows = good.model, good.golden
    if fault == "no model at all":
        model = b"these bytes are no graph"
    else:
        rows = replace(rows, features=np.roll(rows.features, 1, axis=1))
    files = {bundle.MODEL: model, bundle.GOLDEN: bundle.golden_bytes(rows)}
    version = bundle.write(tmp_path / "made", good.manifest, files)
    home.artifacts.adopt(tmp_path / "made", version)
    first = home.registry.first_head("shapes", good.version)
    assert first is not None
    home.registry.register("shapes", version, home.bundle(version).manifest.model_dump(mode="json"), first)
    home.registry.promote("shapes", version, expected_generation=1, head=lambda: first)
    until(lambda: home.registry.version("shapes", version).state == "quarantined")
    reason = home.registry.version("shapes", version).reason
    assert ("cannot be loaded" if fault == "no model at all" else "golden rows differently") in reason
    assert serves(engine, made.version)


def test_a_listener_that_fails_undoes_no_swap(home: Home, start: Start) -> None:
    made = pico.register(home)
    engine = start(ears=Ears(deaf=True))
    newer = pico.another(home, made.scene, seed=1)
    move(home, newer)
    until(lambda: serves(engine, newer))
    assert home.registry.version("shapes", newer.version).state == "ready"


def test_what_fails_for_any_reason_is_given_up_after_some_tries(home: Home, start: Start) -> None:
    made = pico.register(home)
    tried: list[str] = []

    def out_of_memory(version: str) -> None:
        tried.append(version)
        raise MemoryError("no room for the model")

    engine = start(trial=out_of_memory)
    newer = pico.another(home, made.scene, seed=1)
    foreign(home, newer)
    move(home, newer)
    until(lambda: home.registry.version("shapes", newer.version).state == "quarantined")
    assert tried == [newer.version] * TRIES
    assert serves(engine, made.version)


def test_a_version_of_this_home_needs_no_trial_and_a_foreign_one_passes_it_first(home: Home, start: Start) -> None:
    made = pico.register(home)
    tried: list[str] = []
    engine = start(trial=tried.append)
    own, strange = (pico.another(home, made.scene, seed) for seed in (1, 2))
    foreign(home, strange)
    move(home, own)
    until(lambda: serves(engine, own))
    assert tried == []
    move(home, strange)
    until(lambda: serves(engine, strange))
    assert tried == [strange.version]


def test_a_released_version_is_tried_again(home: Home, start: Start) -> None:
    made = pico.register(home)
    engine = start()
    newer = pico.another(home, made.scene, seed=1)
    place = home.artifacts.bundle(newer.version) / bundle.MODEL
    whole = place.read_bytes()
    digest(home, newer)
    home.registry.promote("shapes", newer.version, expected_generation=1, head=lambda: None)
    until(lambda: home.registry.version("shapes", newer.version).state == "quarantined")
    place.write_bytes(whole)
    home.registry.release("shapes", newer.version)
    move(home, newer)
    until(lambda: serves(engine, newer))


def test_a_locked_database_is_nobodys_fault() -> None:
    faults = Faults(Clock())
    locked = Unavailable("the database is locked", "wait")
    assert [faults.failed("s", "v", locked) for _ in range(3 * TRIES)] == [False] * 3 * TRIES
    assert faults.failed("s", "v", BrokenBundle("a digest", "fetch it again"))
    assert "a digest" in faults.reason("s")


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOSPC])
def test_a_machine_that_is_short_of_something_for_now_is_no_versions_fault(number: int) -> None:
    faults = Faults(Clock())
    assert not any(faults.failed("s", "v", OSError(number, "short")) for _ in range(3 * TRIES))
    assert [faults.failed("s", "v", OSError(errno.ENOEXEC, "odd")) for _ in range(TRIES)] == [False, False, True]


def test_a_challenger_on_a_lost_gpu_or_under_load_is_not_to_blame() -> None:
    faults = Faults(Clock())
    for passing in (DeviceLost("gone", "start again"), Unavailable("full", "later")):
        assert not any(faults.answered("s", "v", passing) for _ in range(3 * FAILURES))
    broken = BrokenBundle("no answer", "none")
    assert [faults.answered("s", "v", broken) for _ in range(FAILURES)] == [False] * (FAILURES - 1) + [True]
