"""The guard before a revision of a regression: what it holds, whom it names, what it lets pass, and what it leaves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.annotators import annotators, remove, without
from core.config import Settings
from core.events import Feedback
from core.evidence import Evidence
from core.follow import Followed
from core.guard import Anchors, Change, anchored, moved
from core.home import Home, open_home
from core.label_settings import GuardSettings
from core.statistics import from_grid
from core.types import GridRows, Head, Scene
from learner.guard import Guard
from learner.loop import Learner
from learner.metrics import Metrics
from tests.revised import VERSION, followed, newest, same, scratch, step

WIDTH = 12
MANIFEST: dict[str, object] = {"extractor": "x", "features": WIDTH, "lineage": {"sequence": 0}}
MANY, BATCH = 80, 50
AGE = Scene(name="s", task="regression", modality="image", hash_key=b"key", task_name="age", offset=50.0, scale=64.0)
KIND = replace(AGE, task="classification", labels=("a", "b"), task_name="kind", offset=0.0, scale=1.0)
BLANK = Head(weight=np.zeros((WIDTH, 1), np.float32), bias=np.zeros(1, np.float32), labels=("value",))


def opened(folder: Path, scene: Scene = AGE, guard: GuardSettings | None = None) -> Home:
    made = open_home(Settings(home=folder, guard=guard or GuardSettings()))
    made.registry.declare(scene)
    two = Head(weight=np.zeros((WIDTH, 2), np.float32), bias=np.zeros(2, np.float32), labels=("a", "b"))
    first = BLANK if scene.task == "regression" else replace(two, further={"age": BLANK})
    made.registry.register("s", VERSION, MANIFEST, first)
    return made


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = opened(tmp_path)
    yield made
    made.close()


def features(number: int) -> GridRows:
    return np.random.default_rng(number).integers(-9000, 9000, WIDTH).astype(np.int16)


def value(number: int) -> float:
    """What a careful annotator says: mostly of the features, give or take two."""
    noise = float(np.random.default_rng(10**6 + number).normal(0, 2))
    return 50.0 + 40.0 * float(from_grid(features(number))[:4].sum()) + noise


def say(home: Home, number: int, annotator: str, off: float = 0.0, task: str = "age") -> str:
    evidence = Evidence(example=f"e{number}", features={"x": features(number)})
    told = Feedback(scene="s", value=value(number) + off, example=evidence.example, annotator=annotator, task=task)
    return home.ledger.add(told, evidence).event_id


def taught(home: Home) -> Learner:
    """A learner that has published a head of honest values, step by step."""
    teacher = Learner(home, "one", Metrics(), lambda: 1000.0)
    for number in range(MANY):
        say(home, number, "ann")
        if number % 8 == 7:
            step(teacher)
    assert home.holds.of("s") is None, "honest early learning is never held"
    return teacher


def poisoned(home: Home) -> tuple[Learner, list[str]]:
    teacher = taught(home)
    events = [say(home, 1000 + number, "bob", 20.0) for number in range(BATCH)]
    say(home, 2000, "cy")
    step(teacher)
    return teacher, events


def test_a_batch_of_biased_values_is_held_and_its_annotator_named(home: Home) -> None:
    teacher, events = poisoned(home)
    number, head = newest(home)
    assert (number, head.sequence) == (MANY // 8, MANY), "the last good head serves"
    hold = home.holds.of("s")
    assert hold is not None and (hold.annotator, hold.since, hold.version) == ("bob", MANY, VERSION)
    assert set(hold.events) <= set(events) and len(hold.events) == BATCH
    assert "annotator 'bob'" in hold.words and "would be missed by" in hold.words
    assert teacher._metrics.head_held.labels("s")._value.get() == 1
    assert teacher._metrics.held.labels("s", "guard")._value.get() == BATCH + 1
    waits = home.holds.about(events[0], home.ledger.status(events[0]).sequence)
    assert waits is not None and waits.reason == "guard"


def test_the_worst_values_are_named_first(home: Home) -> None:
    teacher = taught(home)
    events = [say(home, 1000 + number, "bob", 10.0 + number / 2) for number in range(BATCH)]
    step(teacher)
    hold = home.holds.of("s")
    assert hold is not None
    place = [events.index(event) for event in hold.events]
    assert np.corrcoef(place, range(len(place)))[0, 1] < -0.8


def test_removing_the_annotator_restores_the_head_that_never_saw_them(home: Home) -> None:
    teacher, _ = poisoned(home)
    remove(home, "s", "bob")
    step(teacher)
    head = newest(home)[1]
    assert home.holds.of("s") is None and head.examples == MANY + 1
    assert same(head, scratch(home)) and same(head, scratch(home, leaving="bob"))


def test_an_operator_may_accept_what_is_held_and_a_restarted_learner_holds_it_until_then(home: Home) -> None:
    poisoned(home)
    again = Learner(home, "one", Metrics(), lambda: 1000.0)
    step(again)
    assert home.holds.of("s") is not None and newest(home)[1].sequence == MANY
    home.holds.accept("s")
    step(again)
    assert home.holds.of("s") is None and same(newest(home)[1], scratch(home))
    say(home, 3000, "ann")
    step(again)
    assert home.holds.of("s") is None, "what was accepted is the new standard"


def test_signs_that_are_flipped_one_by_one_add_up(home: Home) -> None:
    teacher, number = taught(home), 1000
    while home.holds.of("s") is None and number < 1100:
        say(home, number, "bob", 2 * (50.0 - value(number)))
        step(teacher)
        number += 1
    hold = home.holds.of("s")
    assert hold is not None and hold.annotator == "bob" and hold.base < hold.since < hold.sequence


def test_values_of_a_further_task_are_guarded_and_no_other_task_moves(tmp_path: Path) -> None:
    home = opened(tmp_path / "several", replace(KIND, further=(AGE,)))
    _, events = poisoned(home)
    hold = home.holds.of("s")
    assert hold is not None and hold.annotator == "bob" and set(hold.events) <= set(events)
    assert newest(home)[1].of("age").examples == MANY
    home.close()


def test_the_first_values_that_differ_from_all_before_are_not_held(home: Home) -> None:
    teacher = Learner(home, "one", Metrics(), lambda: 1000.0)
    for number in range(72):
        told = 55.0 if number >= 32 and number % 8 == 0 else 50.0
        say(home, number, "ann", told - value(number))
        step(teacher)
        assert home.holds.of("s") is None
    assert newest(home)[1].examples == 72


def test_looking_for_the_cause_leaves_the_sums_as_they_were(home: Home) -> None:
    taught(home)
    guard, follower = Guard(home, home.registry.scene("s"), "x"), followed(home)
    head = follower.head()
    assert head is not None
    guard.trust(follower, head)
    for number in range(BATCH):
        say(home, 1000 + number, "bob", 20.0)
        say(home, 5000 + number, "cy" if number % 2 else "dee")
    follower.catch_up()
    before, head = _sums(follower.tasks[0]), follower.head()
    assert head is not None
    doubt = guard.question(follower, head)
    assert doubt is not None and doubt.annotator == "bob"
    again = follower.head()
    assert again is not None and _sums(follower.tasks[0]) == before and same(head, again)


def _sums(each: Followed) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in each.state.statistics.arrays().items()}


def test_annotators_of_values_agree_within_the_usual_miss_and_what_would_be_without_one_is_told(home: Home) -> None:
    taught(home)
    for number in range(30):
        say(home, number, "bea", 0.5 if number < 20 else 30.0)
    for number in range(1000, 1010):
        say(home, number, "bea", 20.0)
    told = {each.name: each for each in annotators(home, "s")}
    assert set(told) == {"ann", "bea"}
    assert told["bea"].shared == 30 and told["bea"].agreement == pytest.approx(2 / 3)
    assert told["bea"].checked == 10 and told["bea"].confirmed < 3
    assert told["ann"].confirmed > 0.8 * told["ann"].checked > 0
    who, found = without(home, "s", "bea")
    assert who == told["bea"] and found.answers == found.moved == 0, "nothing was asked yet"
    assert found.accuracy is not None and found.accuracy_without is not None and found.anchors == 50
    assert found.accuracy_without >= found.accuracy


def test_a_value_counts_as_lost_where_it_is_missed_by_a_good_part_of_the_usual_miss_more() -> None:
    before = {"a": 0.0, "b": 3.0, "c": 1.0, "d": 1.0}
    after = {"a": 0.9, "b": 2.1, "c": 1.7, "d": 9.0}
    assert anchored(before, after, {"a", "b", "c"}, 2.0) == Anchors(rows=3, lost=1, won=1)
    up = replace(BLANK, bias=np.full(1, 0.25, np.float32))
    rows_BD = np.stack([features(1), features(2)])
    assert moved(BLANK, up, rows_BD, 0.2) == 2 and moved(BLANK, up, rows_BD, 0.3) == 0
    change = Change(feedback=Anchors(rows=100, lost=20, won=2), sample=Anchors(), answers=9, moved=4, usual=6.0)
    assert change.words(GuardSettings()) == (
        "20 of 100 rows labelled by feedback would be missed by 2.4 more, 2 the other way round; "
        "4 of the last 9 answers would be others, by more than 6"
    )
