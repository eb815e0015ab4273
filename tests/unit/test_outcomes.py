"""Champion and challenger on labelled traffic: what counts, what is paired, and what an interval says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.challenges import Challenge, Mode
from core.events import TRAINING
from core.home import Home
from core.outcomes import compare, measure, outcomes
from core.types import Role
from tests.homes import SCENE, declare, evidence_of, feedback_of, head_of, home_at, manifest_of, prediction_of

A, B = "a" * 64, "b" * 64


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


class Traffic:
    """A home with a champion A, a challenger B, and a clock that goes on by one at every look."""

    def __init__(self, home: Home, mode: Mode = "shadow") -> None:
        self.home, self.clock, self.count = home, Clock(), 0
        home.ledger._clock = home.registry._clock = self.clock
        declare(home)
        home.registry.register(SCENE, A, manifest_of(), head_of(0.0))
        home.registry.register(SCENE, B, manifest_of(), head_of(0.0))
        self.challenge = Challenge(scene=SCENE, version=B, mode=mode, share=1.0, generation=1, began_at=self.clock())

    def answer(
        self, name: str, label: str, version: str = A, role: Role = "champion", parent: str | None = None
    ) -> str:
        self.count += 1
        made = f"{SCENE}:{self.count:032x}"
        told = replace(prediction_of(name, made, at=self.clock()), version=version, label=label, role=role)
        self.home.predictions.append([replace(told, parent=parent)])
        return made

    def both(self, name: str, champion: str, challenger: str) -> None:
        parent = self.answer(name, champion)
        self.answer(name, challenger, B, "shadow", parent)

    def label(self, name: str, label: str, **more: object) -> None:
        self.home.ledger.add(feedback_of(name, label, **more), evidence_of(name))

    def pairs(self) -> dict[str, tuple[object, ...]]:
        return {
            row.example[:6]: (row.champion, row.challenger, row.truth) for row in outcomes(self.home, self.challenge, A)
        }


@pytest.fixture
def home(tmp_path: Path, url: str) -> Iterator[Home]:
    opened = home_at(tmp_path, url)
    yield opened
    opened.close()


def test_a_label_counts_for_the_answer_and_for_its_shadow(home: Home) -> None:
    traffic = Traffic(home)
    traffic.both("x", "cat", "dog")
    traffic.both("y", "cat", "cat")
    traffic.both("never labelled", "cat", "dog")
    traffic.label("x", "dog")
    traffic.label("y", "cat")
    assert sorted(traffic.pairs().values()) == [("cat", "cat", "cat"), ("cat", "dog", "dog")]
    told = compare(home, traffic.challenge, A)
    assert (told.metric, told.paired) == ("accuracy", 2)
    assert (told.champion.value, told.challenger.value) == (0.5, 1.0)
    assert told.agreement == pytest.approx(1 / 3)


def test_examples_on_which_one_alone_was_right_are_evidence_for_it(home: Home) -> None:
    traffic = Traffic(home)
    for number in range(11):
        traffic.both(f"n{number}", "cat", "dog" if number else "cat")
        traffic.label(f"n{number}", "dog")
    told = compare(home, traffic.challenge, A)
    assert (told.wins, told.losses) == (10, 0)
    assert told.evidence["challenger"] > 20
    assert told.evidence["champion"] < 1


def test_what_was_known_before_it_was_asked_does_not_count(home: Home) -> None:
    traffic = Traffic(home)
    traffic.label("known", "cat")
    traffic.both("known", "cat", "cat")
    traffic.label("taught", "cat", source=TRAINING, annotator=TRAINING)
    traffic.both("taught", "cat", "cat")
    traffic.label("taught", "cat")
    traffic.both("asked twice", "dog", "dog")
    traffic.label("asked twice", "cat")
    traffic.both("asked twice", "cat", "cat")
    assert list(traffic.pairs().values()) == [("dog", "dog", "cat")]


def test_what_was_before_the_challenge_does_not_count(home: Home) -> None:
    traffic = Traffic(home)
    traffic.both("early", "cat", "dog")
    traffic.challenge = replace(traffic.challenge, began_at=traffic.clock())
    traffic.label("early", "cat")
    assert traffic.pairs() == {}


def test_a_withdrawn_label_and_a_tie_do_not_count_and_a_correction_does(home: Home) -> None:
    traffic = Traffic(home)
    for name in ("x", "y", "z"):
        traffic.both(name, "cat", "dog")
    event = home.ledger.add(feedback_of("x", "cat"), evidence_of("x")).event_id
    home.ledger.withdraw(event)
    traffic.label("y", "cat", annotator="ann")
    traffic.label("y", "dog", annotator="bob")
    event = home.ledger.add(feedback_of("z", "cat"), evidence_of("z")).event_id
    home.ledger.correct(event, label="dog", value=None)
    assert list(traffic.pairs().values()) == [("cat", "dog", "dog")]


def test_a_split_is_measured_on_each_ones_own_share(home: Home) -> None:
    traffic = Traffic(home, "split")
    traffic.answer("x", "cat")
    traffic.answer("y", "dog", B, "challenger")
    for name in ("x", "y"):
        traffic.label(name, "cat")
    assert sorted(traffic.pairs().values(), key=str) == [("cat", None, "cat"), (None, "dog", "cat")]
    told = compare(home, traffic.challenge, A)
    assert (told.paired, told.agreement) == (0, None)
    assert (told.champion.count, told.champion.value) == (1, 1.0)
    assert (told.challenger.count, told.challenger.value) == (1, 0.0)


def test_without_labels_nothing_is_measured(home: Home) -> None:
    traffic = Traffic(home)
    traffic.both("x", "cat", "cat")
    told = compare(home, traffic.challenge, A)
    assert (told.champion.count, told.champion.value, told.challenger.low) == (0, None, None)
    assert told.agreement == 1.0


@given(st.integers(1, 400), st.data())
def test_the_interval_of_a_share_holds_it_and_stays_a_share(count: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, count))
    told = measure("classification", [("a", "a" if n < right else "b") for n in range(count)])
    assert told.value is not None and told.low is not None and told.high is not None
    assert 0 <= told.low <= told.value + 1e-12 and told.value - 1e-12 <= told.high <= 1
    assert told.value == right / count


@given(st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=1, max_size=30))
def test_a_regression_is_measured_by_its_squared_error(answers: list[tuple[float, float]]) -> None:
    told = measure("regression", answers)
    assert told.value == pytest.approx(sum((a - b) ** 2 for a, b in answers) / len(answers))
    assert told.value is not None and told.low is not None and told.high is not None
    assert 0 <= told.low <= told.value + 1e-9 and told.value <= told.high + 1e-9
