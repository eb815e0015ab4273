"""Decisions of the gate as a ledger: what a hold-out has spent, and certificates of erasures beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.certificates import told
from core.decisions import Uses
from core.erasure import erase
from core.errors import Conflict, NotFound
from core.holdouts import drawn, known
from core.home import Home
from tests.homes import SCENE, declare, evidence_of, example_of, feedback_of, head_of, home_at, manifest_of

names = st.text(min_size=1, max_size=12)


@pytest.fixture
def home(tmp_path: Path, url: str) -> Iterator[Home]:
    opened = home_at(tmp_path, url)
    declare(opened)
    yield opened
    opened.close()


def decide(home: Home, champion: str = "a" * 64, anchor: int = 1, accepted: bool = False) -> str:
    uses = home.decisions.uses(SCENE, champion, anchor)
    record = {"reasons": ["better on no hold-out"], "checks": [{"name": "better", "bound": None}]}
    return home.decisions.write(SCENE, champion, anchor, uses, accepted, record).id


def test_every_decision_spends_of_its_anchor_set_and_of_what_is_fresh_to_its_champion(home: Home) -> None:
    decide(home)
    decide(home)
    decide(home, champion="b" * 64)
    decide(home, champion="b" * 64, anchor=2)
    assert home.decisions.uses(SCENE, "a" * 64, 1) == Uses(anchor=3, fresh=2)
    assert home.decisions.uses(SCENE, "b" * 64, 2) == Uses(anchor=1, fresh=2)
    assert home.decisions.uses(SCENE, "c" * 64, 3) == Uses(anchor=0, fresh=0)
    assert home.decisions.uses("other", "a" * 64, 1) == Uses(anchor=0, fresh=0)


def test_two_decisions_at_the_same_time_do_not_spend_the_same_share(home: Home) -> None:
    uses = home.decisions.uses(SCENE, "a" * 64, 1)
    decide(home)
    with pytest.raises(Conflict, match="meanwhile"):
        home.decisions.write(SCENE, "a" * 64, 1, uses, True, {})
    assert len(home.decisions.of(SCENE)) == 1


def test_a_decision_is_read_as_it_was_written_and_with_what_it_became(home: Home) -> None:
    home.decisions.job = "job"
    first, second = decide(home), decide(home, accepted=True)
    home.decisions.became(second, "v" * 64)
    newest, oldest = home.decisions.of(SCENE)
    assert (newest.id, newest.accepted, newest.version, newest.job) == (second, True, "v" * 64, "job")
    assert (oldest.id, oldest.version) == (first, None)
    assert home.decisions.find(first) == oldest and oldest.record["checks"][0]["bound"] is None
    with pytest.raises(NotFound, match="no decision"):
        home.decisions.find("none")


def test_an_anchor_set_stays_as_it_was_drawn_but_for_who_is_erased(home: Home) -> None:
    home.ledger.add(feedback_of("a", "cat", subject="jane"), evidence_of("a"))
    home.ledger.add(feedback_of("b", "cat"), evidence_of("b"))
    home.holdouts.keep(SCENE, 1, {example_of("a"), example_of("b")})
    home.holdouts.keep(SCENE, 1, {example_of("c")})
    home.holdouts.keep(SCENE, 2, {example_of("a")})
    assert home.holdouts.sets(SCENE) == {1: {example_of("a"), example_of("b")}, 2: {example_of("a")}}
    erase(home, "jane")
    assert home.holdouts.sets(SCENE) == {1: {example_of("b")}}
    assert home.holdouts.sets("other") == {}


def test_what_was_known_at_a_moment_counts_joins_when_they_came(home: Home) -> None:
    home.ledger.add(feedback_of("a", "cat"), evidence_of("a"))
    home.ledger.add(feedback_of("b", "cat", example=None, prediction_id=f"{SCENE}:{'0' * 32}", event_id="b"), None)
    home.ledger.join("b", evidence_of("b"))
    assert known(home.ledger.database, SCENE, 0) == set()
    assert known(home.ledger.database, SCENE, 2) == {example_of("a")}
    assert known(home.ledger.database, SCENE, 3) == {example_of("a"), example_of("b")}


@given(st.sets(names, max_size=30), names, st.floats(0, 1))
def test_who_judges_hangs_on_nobody_else(others: set[str], one: str, share: float) -> None:
    def judging(examples: set[str]) -> set[str]:
        return {example for example in examples if drawn(b"key", "fresh", example, share)}

    assert judging(others | {one}) - {one} == judging(others - {one})
    assert judging(others) <= {example for example in others if drawn(b"key", "fresh", example, min(1.0, share + 0.1))}


def test_a_certificate_names_nobody_and_says_what_came_of_it(home: Home) -> None:
    for name in ("a", "b"):
        home.ledger.add(feedback_of(name, "cat", subject="jane", event_id=f"event {name}"), evidence_of(name))
    plain, tuned = "a" * 64, "b" * 64
    home.registry.register(SCENE, plain, manifest_of(0), head_of(0.0))
    home.registry.register(SCENE, tuned, manifest_of(9, tuned=True), head_of(0.0, 9))
    home.registry.promote(SCENE, tuned, expected_generation=1, head=lambda: None)
    done = erase(home, "jane")
    (certificate,) = home.certificates.of("jane")
    assert certificate.id == done.certificate and home.certificates.of("john") == []
    assert home.certificates.tainted(SCENE) == {tuned} and home.certificates.tainted("other") == set()
    said = told(home.registry, certificate)
    tombs = sorted(hashlib.sha256(f"event {name}".encode()).hexdigest() for name in ("a", "b"))
    held = said["scenes"][SCENE]
    assert held["labels"] == hashlib.sha256("".join(tombs).encode()).hexdigest()
    assert (held["sequence"], held["resolved"], held["replaced_by"]) == (3, None, None)
    assert "jane" not in str(said) and (said["examples"], said["events"], said["predictions"]) == (2, 2, 0)
    home.registry.promote(SCENE, plain, expected_generation=2, head=lambda: head_of(0.0, 3))
    later = told(home.registry, certificate)["scenes"][SCENE]
    assert later["resolved"] == {"version": plain, "revision": 1} and later["replaced_by"] == plain
