"""The engine swaps heads and versions whole, and never gives up what serves for what cannot."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core import bundle
from core.bundle import Bundle
from core.config import Settings
from core.errors import BrokenBundle, NotFound, Unavailable
from core.events import Feedback
from core.evidence import Evidence
from core.home import Home, open_home
from core.lease import acquire
from core.session import Session
from core.types import Head, Scene, Version
from service.engine.engine import Engine, EngineSettings
from service.engine.prepare import check_golden
from service.engine.snapshot import Snapshot
from tests import pico
from tests.waiting import until


class Ears:
    def __init__(self) -> None:
        self.swaps: list[tuple[str, int]] = []

    def swapped(self, before: Snapshot | None, now: Snapshot) -> None:
        self.swaps.append((now.version, now.revision))


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    opened = open_home(Settings(home=tmp_path))
    yield opened
    opened.close()


@pytest.fixture
def engine(home: Home) -> Iterator[Engine]:
    made = Engine(home, EngineSettings(threads=1, device="cpu", max_batch=4, poll_seconds=0.01), Ears())
    yield made
    made.stop()


def say(home: Home, label: str, number: int, extractor_of: Snapshot) -> None:
    """A label for a fresh picture, with its features."""
    data = pico.picture(label, number)
    reader = extractor_of.preprocessor
    (features,) = extractor_of.session.features(reader.batch([reader.read(data)]))
    example = home.artifacts.put(data)
    evidence = Evidence(example=example, features={extractor_of.extractor: features}, media="image/png")
    home.ledger.add(Feedback(scene="shapes", label=label, example=example), evidence)


def promote(home: Home, version: Version) -> None:
    """Make it champion without the checks of promotion."""
    held = home.registry.champion("shapes")
    assert held is not None
    home.registry.promote("shapes", version.version, expected_generation=held.generation, head=lambda: None)


def damaged(home: Home, version: Version) -> None:
    place = home.artifacts.bundle(version.version) / bundle.MODEL
    place.write_bytes(place.read_bytes()[:-1] + b"?")


def test_the_champion_serves_with_its_newest_head(home: Home, engine: Engine) -> None:
    made = pico.register(home)
    pico.learn(home)
    engine.start()
    until(engine.ready)
    now = engine.snapshot("shapes")
    assert (now.version, now.revision, now.labels) == (made.version.version, 1, pico.LABELS)
    assert not now.fallback


def test_an_unknown_scene_is_named_with_those_there_are(home: Home, engine: Engine) -> None:
    pico.register(home)
    engine.start()
    until(engine.ready)
    with pytest.raises(NotFound, match="no scene 'nothing'; there is: shapes"):
        engine.snapshot("nothing")


def test_a_scene_without_a_version_is_unavailable_and_does_not_hold_the_service_up(home: Home, engine: Engine) -> None:
    home.registry.declare(Scene(name="empty", task="classification", modality="image", labels=("a", "b")))
    engine.start()
    until(engine.ready)
    with pytest.raises(Unavailable, match="being prepared"):
        engine.snapshot("empty")


def test_a_new_revision_swaps_the_head_alone_and_a_held_snapshot_stays_as_it_was(home: Home, engine: Engine) -> None:
    pico.register(home)
    engine.start()
    until(engine.ready)
    before = engine.snapshot("shapes")
    picture = [before.preprocessor.read(pico.picture("circle", 50))]
    told = before.run(picture).outputs.copy()
    for number in range(100, 104):
        say(home, "square", number, before)
    revision = pico.learn(home)
    until(lambda: engine.snapshot("shapes").revision == 1)
    after = engine.snapshot("shapes")
    assert after.session is before.session
    assert after.sequence == revision.head.sequence > before.sequence
    assert np.array_equal(before.run(picture).outputs, told)
    assert not np.array_equal(after.run(picture).outputs, told)


def test_a_new_scene_appears_without_a_restart(home: Home, engine: Engine) -> None:
    pico.register(home)
    engine.start()
    until(engine.ready)
    pico.register(home, "other", ("up", "down"))
    until(lambda: len(engine.snapshots()) == 2)
    assert engine.ready()
    assert engine.snapshot("other").labels == ("up", "down")


def test_a_new_champion_is_prepared_beside_and_of_the_old_ones_the_last_is_kept(home: Home, engine: Engine) -> None:
    made = pico.register(home)
    engine.start()
    until(engine.ready)
    oldest = weakref.ref(engine.snapshot("shapes").session)
    newer, newest = (pico.another(home, made.scene, seed) for seed in (1, 2))
    promote(home, newer)
    until(lambda: engine.snapshot("shapes").version == newer.version)
    until(lambda: engine.besides("shapes") == [made.version.version])
    assert oldest() is not None
    promote(home, newest)
    until(lambda: engine.snapshot("shapes").version == newest.version)
    until(lambda: oldest() is None)
    assert engine.besides("shapes") == [newer.version]


def test_a_broken_version_is_quarantined_with_its_reason_and_the_old_one_goes_on(home: Home, engine: Engine) -> None:
    made = pico.register(home)
    engine.start()
    until(engine.ready)
    newer = pico.another(home, made.scene, seed=1)
    damaged(home, newer)
    promote(home, newer)
    until(lambda: home.registry.version("shapes", newer.version).state == "quarantined")
    assert "has digest" in home.registry.version("shapes", newer.version).reason
    assert engine.snapshot("shapes").version == made.version.version
    pico_head = home.registry.first_head("shapes", made.version.version)
    assert pico_head is not None
    lease = acquire(home.ledger.database, "learner", "test", 60)
    assert lease is not None
    home.registry.publish("shapes", made.version.version, pico_head, lease=lease, keep=10)
    until(lambda: engine.snapshot("shapes").revision == 1)  # the version that serves keeps learning


def test_where_the_champion_is_broken_at_the_start_the_one_before_serves(home: Home, engine: Engine) -> None:
    made = pico.register(home)
    newer = pico.another(home, made.scene, seed=1)
    promote(home, newer)
    damaged(home, newer)
    engine.start()
    until(engine.snapshots)
    assert engine.snapshot("shapes").version == made.version.version


def test_where_nothing_can_be_served_the_reason_is_told(home: Home, engine: Engine) -> None:
    made = pico.register(home)
    damaged(home, made.version)
    engine.start()
    until(lambda: home.registry.version("shapes", made.version.version).state == "quarantined")
    with pytest.raises(Unavailable, match="has digest"):
        engine.snapshot("shapes")
    assert not engine.ready()


def test_a_revision_that_does_not_fit_is_passed_over(home: Home, engine: Engine) -> None:
    made = pico.register(home)
    engine.start()
    until(engine.ready)
    lease = acquire(home.ledger.database, "learner", "pico", 60)
    assert lease is not None
    odd = Head(weight=np.zeros((5, 2), np.float32), bias=np.zeros(2, np.float32), labels=("a", "b"))
    home.registry.publish("shapes", made.version.version, odd, lease=lease, keep=10)
    pico.learn(home)
    until(lambda: engine.snapshot("shapes").revision == 2)


def test_where_an_erasure_took_every_head_the_stored_one_serves_flagged(home: Home, engine: Engine) -> None:
    made = pico.register(home)
    with home.ledger.database.write() as connection:
        connection.exec_driver_sql("UPDATE revisions SET weight = NULL, bias = NULL")
    engine.start()
    until(engine.ready)
    now = engine.snapshot("shapes")
    assert (now.revision, now.fallback, now.head) == (0, True, None)
    assert now.sequence == made.version.manifest["lineage"]["sequence"]  # type: ignore[index]


@pytest.mark.parametrize("part", ["features", "outputs"])
def test_golden_rows_that_are_answered_differently_are_refused(home: Home, part: str) -> None:
    made = home.bundle(pico.register(home).version.version)
    session = Session(made.model)
    check_golden(made, session, 2)
    golden = made.golden
    wrong = {
        "features": replace(golden, features=(golden.features + 3).astype(np.int16)),
        "outputs": replace(golden, outputs=golden.outputs + np.float32(0.01)),
    }[part]
    with pytest.raises(BrokenBundle, match="answers its golden rows differently"):
        check_golden(Bundle(made.version, made.manifest, made.model, wrong, {}), session, 2)


def test_a_second_version_has_features_for_all_that_stands(home: Home) -> None:
    made = pico.register(home)
    newer = pico.another(home, made.scene, seed=1)
    follower = home.follower(made.scene, newer)
    follower.catch_up()
    assert not follower.missing
