"""What the laws of hygiene are told in: labels as events, followed step by step under a policy, for classes and values.

Legend: D features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from random import Random
from typing import Literal

from core.events import TRAINING
from core.follow import Followed
from core.hygiene import LabelPolicy
from core.standing import digest_of
from core.types import GridRows, LabelEvent, Scene
from core.weights import Weights

WIDTH = 8
WEIGHTS = Weights({"bob": 4, "cy": 64}, {"camera": 32})
ALL_AT_ONCE = 10**6
WRONG = 0.25  # of what is said

Kind = Literal["withdraw", "release", "correct"]
KINDS: tuple[Kind, ...] = ("withdraw", "release", "correct")


def weight_of(source: str) -> int:
    """Training data counts once, everything else four times."""
    return 1 if source == TRAINING else 4


def history(
    chance: Random,
    count: int,
    said: Callable[[int, str, bool], LabelEvent],
    undone: Callable[[LabelEvent], LabelEvent],
) -> list[LabelEvent]:
    """Mostly right labels of four annotators, of training data and a camera; some corrected, released, taken back.

    Args:
        said: the label with such a number by such an annotator, right or wrong.
        undone: a deed upon a label, with what it is corrected to.
    """
    events: list[LabelEvent] = []
    for number in range(count):
        who = chance.choice([TRAINING, "", "ann", "bob", "cy"])
        source = TRAINING if who == TRAINING else chance.choice(["feedback", "camera"])
        events.append(replace(said(number, who, chance.random() < WRONG), source=source))
        if chance.random() < 0.2:
            kind: Kind = chance.choice(KINDS)
            deed = LabelEvent(sequence=0, event_id=f"d{number}", kind=kind, scene="s", target=f"l{number}")
            events.append(undone(deed))
        if chance.random() < 0.05:
            gone = tuple(digest_of(f"l{chance.randrange(number + 1)}") for _ in range(3))
            events.append(LabelEvent(sequence=0, event_id=f"x{number}", kind="erase", scene="s", erased=gone))
    return numbered(events)


def numbered(events: Sequence[LabelEvent]) -> list[LabelEvent]:
    """The events in the order in which they come."""
    return [replace(event, sequence=place) for place, event in enumerate(events, 1)]


def followed(
    task: Scene,
    features: Callable[[str], GridRows],
    events: Sequence[LabelEvent],
    policy: LabelPolicy,
    step: int = ALL_AT_ONCE,
) -> Followed:
    """The events taken in, and the rows brought up to date after every ``step``."""
    made = Followed(task, WIDTH, weight_of, policy=policy)
    for start in range(0, len(events), step):
        for event in events[start : start + step]:
            made.take(event)
        made.refresh({example: features(example) for example in made.wanted()})
    return made


def outcome(made: Followed) -> tuple[object, ...]:
    """What is held and why, what every row says and weighs, and the bits of the head."""
    rows = {example: (row.column, row.target, row.weight) for example, row in made.state.rows.items()}
    head = made.state.solve()
    bits = None if head is None else (head.weight.tobytes(), head.bias.tobytes(), head.labels)
    return dict(made.held), rows, bits


def without_the_withdrawn(events: Sequence[LabelEvent]) -> list[LabelEvent]:
    """The same ledger, had nobody ever said what was withdrawn or erased."""
    buried = {digest for event in events for digest in event.erased}
    gone = {event.target for event in events if event.kind == "withdraw"}
    gone |= {event.event_id for event in events if digest_of(event.event_id) in buried}
    kept = [event for event in events if event.event_id not in gone and event.target not in gone]
    return [event for event in kept if event.kind != "erase"]


def shuffled(chance: Random, events: Sequence[LabelEvent]) -> list[LabelEvent]:
    """Examples in another order, and what is said of each in its own; erasures left out."""
    kept = [event for event in events if event.kind != "erase"]
    root = {event.event_id: event for event in kept if event.kind == "label"}
    lanes: dict[str | None, list[LabelEvent]] = {}
    for event in kept:
        lanes.setdefault(root[event.target or event.event_id].example, []).append(event)
    order = list(lanes)
    chance.shuffle(order)
    return numbered([event for example in order for event in lanes[example]])
