"""Challengers under the engine: beside the champion, up to date, and gone without a trace when they fail."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.config import Settings
from core.errors import BrokenBundle
from core.home import Home, open_home
from core.lease import acquire
from service.engine.faults import FAILURES
from tests import pico
from tests.engines import Ears, Start, challenge, engines, foreign, move, routed, serves
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


def test_a_split_answers_its_share_and_a_key_stays(home: Home, start: Start) -> None:
    made = pico.register(home)
    engine = start()
    newer = pico.another(home, made.scene, seed=1)
    assert routed(engine, "ann").role == "champion"
    challenge(home, newer, "split", 0.5)
    until(lambda: any(routed(engine, f"key {n}").role == "challenger" for n in range(20)))
    roles = {f"key {n}": routed(engine, f"key {n}").role for n in range(200)}
    assert 60 < sum(role == "challenger" for role in roles.values()) < 140
    assert all(routed(engine, key).role == role for key, role in roles.items())
    challenge(home, newer, "split", 0.75)
    until(lambda: sum(routed(engine, key).role == "challenger" for key in roles) > 120)
    assert all(routed(engine, key).role == "challenger" for key, role in roles.items() if role == "challenger")
    one = next(routed(engine, key) for key, role in roles.items() if role == "challenger")
    assert one.snapshot.version == newer.version and one.shadow is None
    assert one.instead is not None and one.instead.version == made.version.version
    assert serves(engine, made.version), "the champion stays what it is"
    home.challenges.end("shapes")
    until(lambda: all(routed(engine, key).role == "champion" for key in roles))
    until(lambda: engine.besides("shapes") == [])


def test_a_shadow_is_beside_the_champion_and_the_example_decides_where_there_is_no_key(
    home: Home, start: Start
) -> None:
    made = pico.register(home)
    engine = start()
    newer = pico.another(home, made.scene, seed=1)
    asked: list[str] = []
    engine.route("shapes", None, lambda: asked.append("asked") or "x")  # type: ignore[func-returns-value]
    assert asked == [], "nobody computes a digest while nothing challenges"
    challenge(home, newer, "shadow")
    until(lambda: routed(engine).shadow)
    way = routed(engine)
    assert way.shadow is not None and way.shadow.version == newer.version
    assert (way.role, way.snapshot.version, way.instead) == ("champion", made.version.version, None)
    challenge(home, newer, "shadow", 0.0)
    until(lambda: routed(engine).shadow is None)


def test_a_challenger_gets_new_heads_and_so_does_the_champion(home: Home, start: Start) -> None:
    made = pico.register(home)
    engine = start()
    newer = pico.another(home, made.scene, seed=1)
    challenge(home, newer, "split")
    until(lambda: routed(engine).role == "challenger")
    before = routed(engine).snapshot
    lease = acquire(home.ledger.database, "learner", "test", 60)
    newest = home.registry.latest_revision("shapes", newer.version)
    assert lease is not None and newest is not None
    made_head = replace(newest.head, sequence=newest.head.sequence + 1)
    home.registry.publish("shapes", newer.version, made_head, lease=lease, keep=10)
    until(lambda: routed(engine).snapshot.revision == newest.number + 1)
    assert routed(engine).snapshot.session is before.session
    assert serves(engine, made.version)


def test_a_challenger_that_cannot_be_made_ready_is_quarantined_and_the_champion_never_notices(
    home: Home, start: Start
) -> None:
    made = pico.register(home)
    ears = Ears()
    engine = start(ears=ears)
    newer = pico.another(home, made.scene, seed=1)
    foreign(home, newer)
    challenge(home, newer, "split")
    until(lambda: home.registry.version("shapes", newer.version).state == "quarantined")
    until(lambda: home.challenges.of("shapes") is None)
    assert routed(engine).role == "champion" and ears.swaps == [made.version.version]
    assert engine.settled() and engine.ready()


def test_a_challenger_that_is_long_in_its_trial_holds_no_champion_up(home: Home, start: Start) -> None:
    made = pico.register(home)
    begun, over = threading.Event(), threading.Event()

    def trial(version: str) -> None:
        begun.set()
        assert over.wait(60)

    engine = start(trial=trial)
    slow, quick = (pico.another(home, made.scene, seed) for seed in (1, 2))
    foreign(home, slow)
    challenge(home, slow, "shadow")
    try:
        until(begun.is_set)
        move(home, quick)
        until(lambda: serves(engine, quick))
    finally:
        over.set()


def test_a_challenger_that_fails_again_and_again_is_quarantined_and_one_that_fails_now_and_then_is_not(
    home: Home, start: Start
) -> None:
    made = pico.register(home)
    engine = start()
    newer = pico.another(home, made.scene, seed=1)
    challenge(home, newer, "split")
    until(lambda: routed(engine).role == "challenger")
    challenger, broken = routed(engine).snapshot, BrokenBundle("no answer", "none")
    for _ in range(FAILURES - 1):
        engine.judge(challenger, broken)
    engine.judge(challenger, None)
    for _ in range(FAILURES - 1):
        engine.judge(challenger, broken)
    assert home.challenges.of("shapes") is not None
    engine.judge(challenger, broken)
    until(lambda: home.challenges.of("shapes") is None)
    assert "failed on live traffic: no answer" in home.registry.version("shapes", newer.version).reason
    until(lambda: routed(engine).role == "champion")
    assert serves(engine, made.version)


def test_a_promoted_challenger_serves_by_the_session_that_challenged(home: Home, start: Start) -> None:
    made = pico.register(home)
    engine = start()
    newer = pico.another(home, made.scene, seed=1)
    challenge(home, newer, "split")
    until(lambda: routed(engine).role == "challenger")
    session = routed(engine).snapshot.session
    move(home, newer)
    until(lambda: serves(engine, newer))
    assert engine.snapshot("shapes").session is session
    until(lambda: routed(engine).role == "champion")
    assert engine.besides("shapes") == [made.version.version]
