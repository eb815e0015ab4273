"""The guard before a revision: what it holds, whom it names, and what releases it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from core.annotators import remove
from core.config import Settings
from core.errors import NotFound
from core.events import Feedback
from core.evidence import Evidence
from core.guard import Anchors, Change
from core.home import Home, open_home
from core.label_settings import GuardSettings
from core.types import GridRows, Head, Scene
from learner.loop import Learner
from learner.metrics import Metrics
from tests.revised import VERSION, newest, same, scratch, step

WIDTH = 24
MANIFEST: dict[str, object] = {"extractor": "x", "features": WIDTH, "lineage": {"sequence": 0}}
MANY, BATCH = 60, 50
LABELS = ("a", "b")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = open_home(Settings(home=tmp_path))
    made.registry.declare(Scene(name="s", task="classification", modality="image", labels=LABELS, hash_key=b"key"))
    head = Head(weight=np.ones((WIDTH, 2), np.float32), bias=np.zeros(2, np.float32), labels=LABELS)
    made.registry.register("s", VERSION, MANIFEST, head)
    yield made
    made.close()


def features(number: int) -> GridRows:
    """Of class a for even numbers, of class b for odd ones; a little apart."""
    noise = np.random.default_rng(number).integers(-6000, 6000, WIDTH)
    noise[: WIDTH // 4] += 2500 if number % 2 == 0 else -2500
    return noise.astype(np.int16)


def say(home: Home, number: int, annotator: str, *, wrong: bool = False) -> str:
    evidence = Evidence(example=f"e{number}", features={"x": features(number)})
    label = LABELS[(number + wrong) % 2]
    told = Feedback(scene="s", label=label, example=evidence.example, annotator=annotator)
    return home.ledger.add(told, evidence).event_id


def learner(home: Home) -> Learner:
    return Learner(home, "one", Metrics(), lambda: 1000.0)


def taught(home: Home) -> Learner:
    """A learner that has published a head of honest labels, step by step."""
    teacher = learner(home)
    for number in range(MANY):
        say(home, number, "ann")
        if number % 6 == 5:
            step(teacher)
    assert home.holds.of("s") is None, "honest early learning is never held"
    return teacher


def poisoned(home: Home) -> tuple[Learner, list[str]]:
    teacher = taught(home)
    events = [say(home, 1000 + number, "bob", wrong=True) for number in range(BATCH)]
    say(home, 2000, "cy")
    step(teacher)
    return teacher, events


def test_a_batch_that_turns_answers_over_is_held_and_its_annotator_named(home: Home) -> None:
    teacher, events = poisoned(home)
    number, head = newest(home)
    assert (number, head.sequence) == (MANY // 6, MANY), "the last good head serves"
    hold = home.holds.of("s")
    assert hold is not None and (hold.annotator, hold.since, hold.version) == ("bob", MANY, VERSION)
    assert hold.base <= hold.since < hold.sequence
    assert set(hold.events) <= set(events) and len(hold.events) > BATCH // 2
    assert "annotator 'bob'" in hold.words and "rows labelled by feedback" in hold.words
    assert teacher._metrics.head_held.labels("s")._value.get() == 1
    assert teacher._metrics.held.labels("s", "guard")._value.get() == BATCH + 1
    assert home.registry.history("s")[0]["action"] == "hold"
    waits = home.holds.about(events[0], home.ledger.status(events[0]).sequence)
    assert waits is not None and waits.reason == "guard"
    step(teacher)
    assert newest(home)[0] == number, "nothing new, nothing said"


def test_removing_the_annotator_restores_the_head_of_those_who_are_left_and_lifts_the_hold(home: Home) -> None:
    teacher, _ = poisoned(home)
    removal = remove(home, "s", "bob")
    assert removal.events == BATCH
    step(teacher)
    assert home.holds.of("s") is None
    number, head = newest(home)
    assert head.sequence == removal.sequence and head.upto is None and head.examples == MANY + 1
    assert same(head, scratch(home)) and number == MANY // 6 + 1
    assert same(head, scratch(home, leaving="bob"))
    assert teacher._metrics.head_held.labels("s")._value.get() == 0
    with pytest.raises(NotFound, match="no label of annotator 'bob'"):
        remove(home, "s", "bob")


def test_an_operator_may_accept_what_is_held(home: Home) -> None:
    teacher, _ = poisoned(home)
    home.holds.accept("s")
    step(teacher)
    assert home.holds.of("s") is None and newest(home)[1].examples == MANY + BATCH + 1
    assert same(newest(home)[1], scratch(home))
    assert [row["action"] for row in home.registry.history("s")[:3]] == ["lift", "accept", "hold"]
    say(home, 3000, "ann")
    step(teacher)
    assert home.holds.of("s") is None, "what was accepted is the new standard"
    with pytest.raises(NotFound, match="no head of scene 's' is held"):
        home.holds.accept("s")


def test_what_is_withdrawn_while_a_head_is_held_is_forgotten_at_once(home: Home) -> None:
    teacher, events = poisoned(home)
    (first, *_), number = [e.event_id for e in home.ledger.events("s", 0)], newest(home)[0]
    gone = home.ledger.withdraw(first)
    step(teacher)
    after, head = newest(home)
    assert (after, head.sequence, head.upto, head.examples) == (number + 1, gone.sequence, MANY, MANY - 1)
    assert same(head, scratch(home, upto=MANY)) and home.holds.of("s") is not None
    assert home.registry.served_since("s", home.ledger.status(events[0]).sequence) is None, "it is not in that head"
    assert home.registry.served_since("s", gone.sequence, taken_back=True) == (VERSION, after)


def test_a_restarted_learner_holds_what_was_held(home: Home) -> None:
    _, events = poisoned(home)
    number, _ = newest(home)
    again = learner(home)
    step(again)
    assert newest(home)[0] == number and home.holds.of("s") is not None
    home.ledger.withdraw(next(e.event_id for e in home.ledger.events("s", 0)))
    step(again)
    third = learner(home)
    step(third)
    assert newest(home)[0] == number + 1 and newest(home)[1].upto == MANY
    for event in events:
        home.ledger.withdraw(event)
    step(third)
    assert home.holds.of("s") is None and same(newest(home)[1], scratch(home))


def test_damage_that_comes_label_by_label_adds_up(home: Home) -> None:
    teacher, number = taught(home), 1000
    while home.holds.of("s") is None and number < 1100:
        say(home, number, "bob", wrong=True)
        step(teacher)
        number += 1
    hold = home.holds.of("s")
    assert hold is not None and hold.annotator == "bob" and hold.base < hold.since < hold.sequence
    step(learner(home))
    assert home.holds.of("s") is not None, "also after a restart"


def test_a_challenger_learns_no_label_that_is_held(home: Home) -> None:
    blank = Head(weight=np.ones((WIDTH, 2), np.float32), bias=np.zeros(2, np.float32), labels=LABELS)
    home.registry.register("s", "c" * 64, MANIFEST, blank)
    home.challenges.begin("s", "c" * 64, mode="shadow", share=1.0, expected_generation=0, head=lambda: None)
    teacher, _ = poisoned(home)
    revision = home.registry.latest_revision("s", "c" * 64)
    assert revision is not None and same(revision.head, newest(home)[1])
    home.holds.accept("s")
    step(teacher)
    revision = home.registry.latest_revision("s", "c" * 64)
    assert revision is not None and same(revision.head, scratch(home))


def test_who_withdraws_honest_labels_is_not_held(home: Home) -> None:
    teacher = taught(home)
    for event in home.ledger.events("s", 0)[: MANY - 10]:
        home.ledger.withdraw(event.event_id)
    say(home, 4000, "ann")
    step(teacher)
    assert home.holds.of("s") is None and same(newest(home)[1], scratch(home))


def test_the_guard_can_be_turned_off(tmp_path: Path, home: Home) -> None:
    loose = open_home(Settings(home=tmp_path, guard=GuardSettings(on=False)))
    teacher, _ = poisoned(loose)
    assert loose.holds.of("s") is None and newest(loose)[1].examples == MANY + BATCH + 1
    assert teacher._metrics.head_held.labels("s")._value.get() == 0
    loose.close()


def test_few_anchors_tell_nothing_and_churn_alone_holds_nothing() -> None:
    settings = GuardSettings()

    def words(rows: int, lost: int, won: int, moved: int) -> str:
        anchors = Anchors(rows=rows, lost=lost, won=won)
        return Change(feedback=anchors, sample=Anchors(), answers=100, moved=moved).words(settings)

    assert not words(0, 0, 0, 100)
    assert not words(5, 5, 0, 10)
    assert words(10, 7, 0, 100) and not words(10, 7, 0, 0), "churn makes the test stricter"
    assert words(100, 20, 2, 0)
    assert not words(1000, 20, 2, 0), "two in a hundred may be lost"
