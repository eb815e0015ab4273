"""Several tasks of one scene in the ledger and the registry: named, kept apart, published together, erased together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.challenges import Challenge
from core.erasure import erase
from core.errors import Conflict, InvalidInput
from core.events import TRAINING
from core.follow import Follower
from core.home import Home
from core.lease import acquire
from core.outcomes import compare, compare_all
from core.predictions import PredictionLog
from core.tally import labelled, tally
from core.tasks import MOST, check_tasks, task_of
from core.types import Head, Reply, Scene
from tests.homes import (
    EXTRACTOR,
    LABELS,
    SCENE,
    WIDTH,
    evidence_of,
    example_of,
    feedback_of,
    follower_of,
    head_of,
    home_at,
    manifest_of,
    prediction_of,
    told,
)

FIRST = Scene(
    name=SCENE,
    task="classification",
    modality="image",
    labels=LABELS,
    new_labels="accept",
    hash_key=b"key",
    task_name="pet",
)
AGE = replace(FIRST, task_name="age", task="regression", labels=(), scale=32.0)
MOOD = replace(FIRST, task_name="mood", labels=("calm",))
WARD = replace(FIRST, further=(AGE, MOOD))
A, B = "a" * 64, "b" * 64


@pytest.fixture
def home(tmp_path: Path, url: str) -> Iterator[Home]:
    opened = home_at(tmp_path, url)
    assert opened.registry.declare(WARD) == WARD
    yield opened
    opened.close()


def say(home: Home, name: str, what: str | float, task: str = "pet", **more: object) -> str:
    label, value = (None, what) if isinstance(what, float) else (what, None)
    said = replace(feedback_of(name, "", task=task, **more), label=label, value=value)
    return home.ledger.add(said, evidence_of(name)).event_id


def heads(follower: Follower) -> dict[str, object]:
    follower.catch_up()
    head = follower.head()
    return {} if head is None else {task.task_name: told(head.of(task.task_name)) for task in WARD.tasks}


def several(number: float, sequence: int = 0) -> Head:
    """A head of all three tasks."""
    age = Head(weight=np.full((WIDTH, 1), number, np.float32), bias=np.zeros(1, np.float32), labels=("value",))
    return replace(head_of(number, sequence), further={"age": age, "mood": replace(head_of(number), lam=number)})


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["organ", "organ"], "two tasks are called 'organ'"),
        (["organ", "Organ"], "two tasks are called 'Organ'"),
        (["organ", "of interest"], "cannot name a task"),
        (["organ", ""], "cannot name a task"),
        (["organ", "1st"], "cannot name a task"),
        (["organ", "a.b"], "cannot name a task"),
        (["organ", "größe"], "cannot name a task"),
        (["organ", "x" * 33], "cannot name a task"),
        ([f"t{n}" for n in range(40)], f"40 tasks were named, of {MOST} at most"),
    ],
)
def test_what_cannot_name_tasks_is_refused_with_the_remedy(names: list[str], words: str, home: Home) -> None:
    with pytest.raises(InvalidInput, match=words) as refused:
        check_tasks(names)
    assert refused.value.remedy
    first, *others = (replace(FIRST, name="new", task_name=name) for name in names)
    with pytest.raises(InvalidInput, match=words):
        home.registry.declare(replace(first, further=tuple(others)))


def test_a_task_is_found_by_its_name_and_the_first_without_one() -> None:
    assert task_of(WARD, None) == task_of(WARD, "pet") == replace(WARD, further=())
    assert task_of(WARD, "age") == AGE
    with pytest.raises(InvalidInput, match="has no task 'sex'") as refused:
        task_of(WARD, "sex")
    assert refused.value.remedy == "choose one of: pet, age, mood"
    with pytest.raises(InvalidInput, match="has one task, and it has no name"):
        task_of(replace(FIRST, task_name=""), "pet")


def test_a_scene_keeps_its_tasks_and_takes_new_labels_of_each(home: Home) -> None:
    more = replace(FIRST, labels=("emu", "cat"), further=(AGE, replace(MOOD, labels=("wild", "calm"))))
    assert home.registry.declare(more).labels == (*LABELS, "emu")
    held = home.registry.scene(SCENE)
    assert [task.labels for task in held.tasks] == [(*LABELS, "emu"), (), ("calm", "wild")]
    assert [task.scale for task in held.tasks] == [1.0, 32.0, 1.0]
    for other in (
        replace(FIRST, further=()),
        replace(FIRST, further=(MOOD, AGE)),
        replace(FIRST, further=(replace(AGE, task="classification"), MOOD)),
    ):
        with pytest.raises(InvalidInput, match="is a classification pet, regression age, classification mood of image"):
            home.registry.declare(other)


def test_the_latest_event_stands_for_each_example_annotator_and_task(home: Home) -> None:
    for name in "xyz":
        say(home, name, "cat")
        say(home, name, 3.0, "age")
    say(home, "x", "dog")
    say(home, "x", 5.0, "age", annotator="ann")
    follower = follower_of(home, WARD)
    follower.catch_up()
    pet, age, mood = (each.state.rows for each in follower.tasks)
    assert [pet[example_of(name)].column for name in "xyz"] == ["dog", "cat", "cat"]
    assert len(age) == 3 and mood == {}
    assert age[example_of("x")].features is pet[example_of("x")].features


def test_a_label_of_one_task_leaves_the_heads_of_the_others_to_the_bit_and_a_withdrawal_undoes_it(home: Home) -> None:
    follower = follower_of(home, WARD)
    for n in range(6):
        say(home, f"n{n}", LABELS[n % 2])
        say(home, f"n{n}", float(n), "age")
        say(home, f"n{n}", "calm" if n < 3 else "wild", "mood")
    before = heads(follower)
    event = say(home, "n9", 30.0, "age")
    after = heads(follower)
    assert [name for name in after if after[name] != before[name]] == ["age"]
    home.ledger.correct(event, label=None, value=-3.0)
    assert heads(follower)["age"] not in (before["age"], after["age"])
    home.ledger.withdraw(event)
    assert heads(follower) == before == heads(follower_of(home, WARD))


def test_annotators_tie_in_one_task_alone(home: Home) -> None:
    for task in ("pet", "mood"):
        say(home, "x", "cat", task, annotator="ann")
    other = feedback_of("x", "dog", task="pet", annotator="bob")
    assert home.ledger.add(other, evidence_of("x")).status == "conflict"
    same = feedback_of("x", "cat", task="mood", annotator="bob")
    assert home.ledger.add(same, evidence_of("x")).status == "accepted"
    follower = follower_of(home, WARD)
    follower.catch_up()
    assert [len(each.conflicts) for each in follower.tasks] == [1, 0, 0]
    assert tally(home.ledger.database, SCENE, home.settings.labels.weight)["conflict"] == 1


def test_a_label_that_waits_for_its_prediction_keeps_its_task(home: Home) -> None:
    sent = feedback_of("x", "calm", task="mood", prediction_id=f"{SCENE}:{1:032x}", example=None, event_id="late")
    assert home.ledger.add(sent, None).status == "pending"
    assert home.ledger.join("late", evidence_of("x")) is not None
    assert home.ledger.task_of("late") == "mood"
    assert labelled(home.ledger.database, SCENE, [example_of("x")], "mood") == {example_of("x")}
    assert labelled(home.ledger.database, SCENE, [example_of("x")], "pet") == set()


def test_the_same_event_with_another_task_is_a_contradiction(home: Home) -> None:
    say(home, "x", "calm", "mood", event_id="once")
    assert home.ledger.add(feedback_of("x", "calm", task="mood", event_id="once"), None).status == "duplicate"
    with pytest.raises(Conflict, match="with another body"):
        home.ledger.add(feedback_of("x", "calm", task="pet", event_id="once"), None)


def test_training_examples_are_taught_once_for_each_task(home: Home) -> None:
    lesson = [
        feedback_of("x", "cat", task="pet"),
        replace(feedback_of("x", "", task="age"), label=None, value=2.0),
        feedback_of("y", "dog", task="pet"),
    ]
    assert home.ledger.teach(SCENE, lesson) == 3
    assert home.ledger.teach(SCENE, lesson) == 0
    assert home.ledger.teach(SCENE, [replace(lesson[1], value=3.0)]) == 1
    events = home.ledger.events(SCENE, 0)
    assert [(e.task, e.annotator) for e in events] == [(t, TRAINING) for t in ("pet", "age", "pet", "age")]


def test_a_revision_carries_the_heads_of_all_tasks_and_loses_them_together(home: Home) -> None:
    home.registry.register(SCENE, A, manifest_of(), several(1.0))
    held = home.registry.first_head(SCENE, A)
    assert held is not None and list(held.further) == ["age", "mood"]
    for task in WARD.tasks:
        assert told(held.of(task.task_name)) == told(several(1.0).of(task.task_name))
    lease = acquire(home.ledger.database, "learner", "me", 30.0)
    assert lease is not None
    for number in (2.0, 3.0):
        home.registry.publish(SCENE, A, several(number, sequence=int(number)), lease=lease, keep=1)
    with home.ledger.database.read() as connection:
        rows = connection.exec_driver_sql("SELECT weight IS NULL, further IS NULL FROM revisions ORDER BY number").all()
    assert [tuple(row) for row in rows] == [(0, 0), (1, 1), (0, 0)]
    newest = home.registry.latest_revision(SCENE, A)
    assert newest is not None and [newest.head.of(t).sequence for t in ("pet", "age", "mood")] == [3, 3, 3]


def test_a_person_is_erased_from_every_task(home: Home) -> None:
    home.registry.register(SCENE, A, manifest_of(), several(0.0))
    for n in range(4):
        say(home, f"n{n}", LABELS[n % 2])
        say(home, f"n{n}", float(n), "age")
    follower = follower_of(home, WARD)
    before = heads(follower)
    say(home, "hers", "cat", subject="sue")
    say(home, "hers", 9.0, "age")
    say(home, "hers", "calm", "mood", annotator="ann")
    heads(follower)
    lease = acquire(home.ledger.database, "learner", "me", 30.0)
    assert lease is not None
    home.registry.publish(SCENE, A, several(5.0, home.ledger.last_sequence(SCENE)), lease=lease, keep=9)
    done = erase(home, "sue")
    assert (done.examples, done.events) == (1, 3)
    assert heads(follower) == before
    assert home.registry.first_head(SCENE, A) is not None
    with home.ledger.database.read() as connection:
        kept = connection.exec_driver_sql("SELECT task FROM label_events WHERE kind = 'label'").scalars().all()
        gone = connection.exec_driver_sql("SELECT weight IS NULL, further IS NULL FROM revisions ORDER BY number").all()
    assert [tuple(row) for row in gone] == [(0, 0), (1, 1)]
    assert sorted(kept) == ["age"] * 4 + ["pet"] * 4


def test_a_task_of_which_nothing_stands_has_the_head_of_the_bundle_and_says_so(home: Home) -> None:
    home.registry.register(SCENE, A, manifest_of(), several(1.0))
    home.registry.register(SCENE, B, manifest_of(), several(2.0))
    for n in range(3):
        say(home, f"n{n}", "calm", "mood")
    follower = follower_of(home, WARD)
    follower.catch_up()
    head = follower.head(several(2.0))
    assert head is not None and [head.of(t).fallback for t in ("pet", "age", "mood")] == [True, True, False]
    assert np.array_equal(head.of("age").weight, several(2.0).of("age").weight)
    blank = follower.head()
    assert blank is not None and blank.labels == LABELS and not blank.weight.any()
    assert blank.fallback and not blank.of("mood").fallback


def test_what_was_said_for_every_task_is_logged_and_found(home: Home) -> None:
    reply = Reply(label=None, value=4.5, confidence=1.0, margin=1.0)
    calm = Reply(label="calm", value=None, confidence=0.5, margin=0.25)
    made = replace(prediction_of("x", "ward:1"), further={"age": reply, "mood": calm})
    home.predictions.append([made, prediction_of("y", "ward:2")])
    log = PredictionLog(home.predictions.database)
    found = log.find(["ward:1", "ward:2"])
    assert found["ward:1"].further == {"age": reply, "mood": calm} and found["ward:2"].further == {}
    assert found["ward:1"].of("mood") == calm
    assert found["ward:1"].of("pet") == Reply(label="cat", value=None, confidence=0.75, margin=0.5)


def test_champion_and_challenger_are_compared_task_by_task(home: Home) -> None:
    home.registry.register(SCENE, A, manifest_of(), several(0.0))
    home.registry.register(SCENE, B, manifest_of(), several(0.0))
    challenge = Challenge(scene=SCENE, version=B, mode="shadow", share=1.0, generation=1, began_at=1.0)
    home.ledger._clock = lambda: 1.5
    say(home, "n3", "cat")  # before it is asked: known for this task, and for no other
    home.ledger._clock = lambda: 3.0
    for n in range(4):
        ours = {"age": Reply(label=None, value=2.0, confidence=1.0, margin=1.0), "mood": mood("calm")}
        theirs = {
            "age": Reply(label=None, value=3.0, confidence=1.0, margin=1.0),
            "mood": mood("wild" if n else "calm"),
        }
        answered = replace(prediction_of(f"n{n}", f"ward:{n}", at=2.0), version=A, further=ours)
        shadow = {"version": B, "role": "shadow", "parent": f"ward:{n}", "further": theirs, "label": "dog"}
        home.predictions.append([answered, replace(answered, prediction_id=f"ward:s{n}", **shadow)])  # type: ignore[arg-type]
        say(home, f"n{n}", 3.5, "age")
        if n < 2:
            say(home, f"n{n}", "calm", "mood")
    compared = compare_all(home, challenge, A)
    assert list(compared) == ["pet", "age", "mood"] and compared["pet"] == compare(home, challenge, A)
    assert (compared["pet"].paired, compared["pet"].agreement) == (0, 0.0)
    age, other = compared["age"], compared["mood"]
    assert (age.metric, age.paired, age.wins, age.losses, age.agreement) == ("squared_error", 4, 4, 0, None)
    assert (age.champion.value, age.challenger.value) == (2.25, 0.25)
    assert (other.paired, other.champion.value, other.challenger.value, other.agreement) == (2, 1.0, 0.5, 0.25)


def mood(label: str) -> Reply:
    return Reply(label=label, value=None, confidence=0.5, margin=0.25)


def test_features_that_come_late_bring_the_example_into_every_task(home: Home) -> None:
    for n in range(3):
        say(home, f"n{n}", "cat")
        say(home, f"n{n}", float(n), "age")
    other = follower_of(home, WARD)
    other.extractor = "extractor-2"
    other.catch_up()
    assert len(other.missing) == 3 and other.standing == set() and not other.serves
    late = [evidence_of(f"n{n}") for n in range(3)]
    home.evidence.keep([replace(e, features={"extractor-2": e.features[EXTRACTOR]}) for e in late])
    assert other.catch_up() == 6 and not other.missing and len(other.standing) == 3
    assert heads(other) == heads(follower_of(home, WARD))
