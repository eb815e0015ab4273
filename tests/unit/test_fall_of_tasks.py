"""Bounds of live accuracy task by task: any may fall, alpha is shared, and a value is right where it comes near."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.fall import LEAST, SOONEST, WATCHED, evidence_below
from core.offers import Lot
from learner.metrics import Metrics
from lepton.main import run
from tests.homes import SCENE, declare, home_at
from tests.ward import WARD, Ward


@pytest.fixture
def ward(tmp_path: Path) -> Iterator[Ward]:
    with closing(home_at(tmp_path)) as home:
        yield Ward(home)


def test_every_task_is_asked_and_alpha_is_shared_among_those_that_are(ward: Ward) -> None:
    ward.answer(LEAST, pet=1.0, age=1.0)
    ward.answer(LEAST - 1, mood=1.0)
    ward.promote()
    ward.answer(30, pet=1.0, age=1.0, mood=0.0)
    asked = ward.bounds()
    assert list(asked) == ["pet", "age"], "too little was known of moods before"
    assert {bound.convinces for bound in asked.values()} == {2 / 0.05}
    assert not any(bound.fallen for bound in asked.values())


@pytest.mark.parametrize("wrong", ["age", "mood"])
def test_a_further_task_falls_while_the_first_stays_well(ward: Ward, wrong: str) -> None:
    well = {"pet": 1.0, "age": 1.0, "mood": 1.0}
    ward.answer(LEAST, **well)
    ward.promote()
    ward.answer(30, **well | {wrong: 4.0 if wrong == "age" else 0.2})
    asked = ward.bounds()
    assert {task for task, bound in asked.items() if bound.fallen} == {wrong}
    assert asked[wrong].convinces == 60 and f"task {wrong}: " in asked[wrong].words
    metrics = Metrics()
    metrics.guarded(SCENE, list(asked.values()))
    shown = metrics.registry.get_sample_value("lepton_accuracy_fallen", {"scene": SCENE, "bound": "fall"})
    assert shown == asked[wrong].evidence / 60 > 1, "of several tasks the nearest to its bound"


def test_near_is_twice_the_miss_that_was_usual_before_and_what_is_judged_does_not_move_it(ward: Ward) -> None:
    ward.answer(56, age=1.0)  # misses from 1/4 to 2, the usual one 9/8
    ward.promote()
    before = ward.bounds()["age"]
    assert (before.within, before.count, before.evidence) == (2.25, 0, 1.0)
    ward.answer(40, age=2.0)  # of every eight misses four are 2 or less
    after = ward.bounds()["age"]
    assert (after.within, after.least) == (before.within, before.least)
    assert (after.right, after.count) == (20, 40)
    assert after.evidence == evidence_below(np.array([(1 + n % 8) / 2 <= 2.25 for n in range(57, 97)]), after.least)
    assert (
        "20 of 40 labelled answers since the promotion are right (within 2.25, twice the usual miss before it), of 83"
        in (after.words)
    )


def test_values_that_were_as_hard_before_are_no_fall(ward: Ward) -> None:
    ward.answer(LEAST, age=4.0)
    ward.promote()
    ward.answer(100, age=4.0)
    assert not ward.bounds()["age"].fallen


def test_what_a_queue_chose_for_one_task_counts_for_the_others(ward: Ward) -> None:
    ward.answer(LEAST, age=1.0, mood=1.0)
    ward.promote()
    chosen = ward.answer(30, age=8.0, mood=0.0)
    ward.home.offers.draw(SCENE, "age", lambda since: Lot(dict.fromkeys(chosen, 1.0), None))
    asked = ward.bounds()
    assert (asked["age"].count, asked["mood"].count) == (0, 30)


def test_least_accuracy_is_asked_of_every_classification_and_of_no_regression(ward: Ward) -> None:
    ward.promote()
    ward.home.policies.change(SCENE, {"least_accuracy": 0.8})
    ward.answer(SOONEST + 10, pet=1.0, age=9.0, mood=0.3)
    asked = ward.bounds()
    assert list(asked) == ["pet", "mood"] and asked["mood"].convinces == 40
    assert [bound.fallen for bound in asked.values()] == [False, True]


def test_least_accuracy_is_refused_where_there_is_no_class(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEPTON_HOME", str(tmp_path))
    with closing(home_at(tmp_path)) as home:
        declare(home, task="regression")
        home.registry.declare(replace(WARD, name="both"))
    assert run(["policy", SCENE, "--set", "least_accuracy=0.7"]) == 1
    told = " ".join(capsys.readouterr().err.split())
    assert "retrain.least_accuracy is 0.7, but scene 'ward' has values alone" in told and "leave it at 0; fall" in told
    assert run(["policy", SCENE, "--set", "least_accuracy=0", "--set", "fall=0.2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["own"] == {"least_accuracy": 0, "fall": 0.2}
    assert run(["policy", "both", "--set", "least_accuracy=0.7"]) == 0


def test_fall_is_asked_of_the_first_answers_however_many_follow(ward: Ward) -> None:
    ward.answer(LEAST, pet=1.0)
    ward.promote()
    first = ward.answer(WATCHED, pet=1.0)
    later = ward.answer(WATCHED + 50, pet=0.0)
    asked = ward.bounds()["pet"]
    assert (asked.right, asked.count, asked.fallen) == (WATCHED, WATCHED, False)
    chosen = [*first, *later[:60]]
    ward.home.offers.draw(SCENE, "pet", lambda since: Lot(dict.fromkeys(chosen, 1.0), None))
    asked = ward.bounds()["pet"]
    assert (asked.right, asked.count, asked.fallen) == (0, WATCHED - 10, True)
