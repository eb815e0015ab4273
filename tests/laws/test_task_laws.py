"""Several tasks over one ledger: each task's head is the one of a scene that has no other, whatever is said for others.

Legend: D features.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from core.follow import Followed
from core.head import HeadState
from core.standing import digest_of
from core.types import GridRows, LabelEvent, Scene
from tests.homes import features_of, told

WIDTH = 6
EXAMPLES = tuple(f"e{n}" for n in range(7))
FEATURES: dict[str, GridRows] = {example: features_of(example) for example in EXAMPLES}
ANNOTATORS = ("", "ann", "bob")

ORGAN = Scene(name="ward", task="classification", modality="image", labels=("liver", "lung"), hash_key=b"key")
STAGE = replace(ORGAN, task_name="stage", labels=("early",))
SIZE = replace(ORGAN, task_name="size", task="regression", labels=(), scale=4.0)
WARD = replace(ORGAN, task_name="organ", further=(STAGE, SIZE))


def weight_of(source: str) -> int:
    return 1 if source == "training" else 4


def said(chance: Random, task: Scene) -> dict[str, object]:
    if task.task == "regression":
        return {"value": chance.randint(-8, 8) / 4}
    return {"label": chance.choice(["liver", "lung", "early", "late"])}


def history(chance: Random, steps: int) -> list[LabelEvent]:
    """Labels of all tasks, corrected, joined, withdrawn and erased in any order."""
    events: list[LabelEvent] = []
    alive: dict[str, Scene] = {}
    waiting: list[str] = []
    for number in range(1, steps + 1):
        deed = chance.choice(["label", "label", "label", "correct", "withdraw", "join", "erase"])
        event = LabelEvent(sequence=number, event_id=f"event {number}", kind="label", scene="ward")
        if deed == "label" or not alive:
            task = chance.choice(WARD.tasks)
            example = chance.choice([*EXAMPLES, None])
            alive[event.event_id] = task
            waiting += [event.event_id] if example is None else []
            who = {"annotator": chance.choice(ANNOTATORS), "source": chance.choice(["training", "feedback"])}
            about = who | said(chance, task)
            events.append(replace(event, example=example, task=task.task_name, **about))  # type: ignore[arg-type]
            continue
        target = chance.choice(sorted(alive))
        if deed == "correct":
            events.append(replace(event, kind="correct", target=target, **said(chance, alive[target])))  # type: ignore[arg-type]
        elif deed == "join" and waiting:
            target = waiting.pop(chance.randrange(len(waiting)))
            events.append(replace(event, kind="join", target=target, example=chance.choice(EXAMPLES)))
        else:
            gone = {target} if deed != "erase" else set(chance.sample(sorted(alive), min(2, len(alive))))
            alive = {name: task for name, task in alive.items() if name not in gone}
            waiting = [name for name in waiting if name not in gone]
            if deed == "erase":
                events.append(replace(event, kind="erase", erased=tuple(digest_of(name) for name in gone)))
            else:
                events.append(replace(event, kind="withdraw", target=target))
    return events


def fed(task: Scene, events: Iterable[LabelEvent], chance: Random | None = None) -> Followed:
    """A task after these events, looked at now and then on the way where there is chance."""
    followed = Followed(task, WIDTH, weight_of)
    for event in events:
        followed.take(event)
        if chance is not None and chance.random() < 0.3:
            followed.refresh(FEATURES)
    followed.refresh(FEATURES)
    return followed


def bits(followed: Followed) -> tuple[object, ...]:
    """Everything that a task's state is, comparable to the bit."""
    statistics = followed.state.statistics
    arrays = {name: array.tobytes() for name, array in statistics.arrays().items()}
    return arrays, tuple(sorted(statistics.cross)), statistics.units, sorted(followed.conflicts), told_of(followed)


def told_of(followed: Followed) -> object:
    return told(followed.head(0, None))


def alone(task: Scene, events: Sequence[LabelEvent]) -> Followed:
    """The task in a ledger of its own, as the one task of its scene, in which nothing else was ever said."""
    mine = {e.event_id for e in events if e.kind == "label" and e.task == task.task_name}
    kept = [e for e in events if e.event_id in mine or e.target in mine or e.kind == "erase"]
    return fed(replace(task, task_name=""), [replace(e, task="") for e in kept])


@settings(max_examples=80)
@given(st.randoms(use_true_random=False), st.integers(1, 45))
def test_a_task_among_others_has_the_bits_of_a_scene_with_that_task_alone(chance: Random, steps: int) -> None:
    events = history(chance, steps)
    for task in WARD.tasks:
        assert bits(fed(task, events, chance)) == bits(alone(task, events))


@settings(max_examples=50)
@given(st.randoms(use_true_random=False), st.integers(1, 45))
def test_any_history_gives_the_head_of_a_fit_from_scratch_on_the_task_s_standing_labels(
    chance: Random, steps: int
) -> None:
    events = history(chance, steps)
    for task in WARD.tasks:
        followed = fed(task, events, chance)
        scratch = HeadState(WIDTH, task=task.task, declared=task.labels, key=task.hash_key)
        rows = list(followed.state.rows.values())
        scratch.add(chance.sample(rows, len(rows)))
        assert told(scratch.solve()) == told_of(followed)


@settings(max_examples=50)
@given(st.randoms(use_true_random=False), st.integers(2, 40))
def test_what_is_said_for_one_task_moves_no_other(chance: Random, steps: int) -> None:
    events = history(chance, steps)
    followed = {task.task_name: fed(task, []) for task in WARD.tasks}
    owner = {e.event_id: e.task for e in events if e.kind == "label"}
    buried = {digest_of(name): task for name, task in owner.items()}
    for event in events:
        before = {name: each.state.statistics.gram.tobytes() for name, each in followed.items()}
        moved = {buried[d] for d in event.erased} or {owner[event.target or event.event_id]}
        for each in followed.values():
            each.take(event)
            each.refresh(FEATURES)
        after = {name: each.state.statistics.gram.tobytes() for name, each in followed.items()}
        assert {name for name in followed if before[name] != after[name]} <= moved


@settings(max_examples=50)
@given(st.randoms(use_true_random=False), st.integers(1, 30))
def test_only_the_order_within_an_example_its_annotator_and_its_task_matters(chance: Random, steps: int) -> None:
    events = [e for e in history(chance, steps) if e.kind in {"label", "correct", "withdraw"}]
    root = {event.event_id: event for event in events if event.kind == "label"}
    events = [event for event in events if root.get(event.target or event.event_id, event).example is not None]
    lanes: dict[tuple[object, ...], list[LabelEvent]] = {}
    for event in events:
        owner = root[event.target or event.event_id]
        lanes.setdefault((owner.example, owner.annotator, owner.task), []).append(event)
    turns = chance.sample([key for key, lane in lanes.items() for _ in lane], len(events))
    queues = {key: iter(lane) for key, lane in lanes.items()}
    shuffled = [replace(next(queues[key]), sequence=place) for place, key in enumerate(turns, 1)]
    for task in WARD.tasks:
        assert bits(fed(task, shuffled)) == bits(fed(task, events))
