"""Who labels a scene, how well they agree, and what the head would be without one of them.

Promises that "without" is the head that never saw the annotator's labels, and that removing them makes it the one that
serves: every label is withdrawn, as an event of its own, for good; whoever wants them back sends them again. Knows
nothing of who is right.

Of values, two agree that are no further apart than the usual miss (``core/misses.py``) of the head that serves, an
answer is another one where it moves by more, and it is right where it misses by twice as much at most.

Legend: N rows, D features.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa

from core.database import label_events, waiting
from core.errors import InvalidInput, NotFound
from core.events import TRAINING, next_sequence
from core.follow import Followed, Follower
from core.guard import moved
from core.home import Home
from core.ids import uuid7
from core.misses import missed, usual
from core.tasks import task_of
from core.types import Head, Scene, Version

ANCHORS = 512
RIGHT = 2.0  # usual misses, up to which a value is right
PAGE = 500


@dataclass(frozen=True, kw_only=True)
class Annotator:
    """One annotator of a task.

    Attributes:
        name: empty for labels that name none.
        labels: examples that they say something of. share: of the weight of feedback in the head.
        shared: examples that others label, too. agreement: share of these on which the others come to the same; None
            without any.
        checked, confirmed: of the rows that only they label, those in the head's sample, and those whose label the head
            answers without the row itself.
        held: examples of theirs that wait.
    """

    name: str
    labels: int
    share: float
    shared: int
    agreement: float | None
    checked: int
    confirmed: int
    held: int


@dataclass(frozen=True, kw_only=True)
class WhatIf:
    """The head that serves, and the one without an annotator.

    Attributes:
        anchors: labelled rows of others, each answered without itself by both.
        accuracy, accuracy_without: share of right answers; None without anchors.
        answers, moved: recent answers, and those that would be others.
    """

    anchors: int
    accuracy: float | None
    accuracy_without: float | None
    answers: int
    moved: int


@dataclass(frozen=True, kw_only=True)
class Removal:
    """What was withdrawn; ``sequence`` is that of the last withdrawal: heads from there on never saw the labels."""

    annotator: str
    events: int
    sequence: int


def annotators(home: Home, scene: str, task: str | None = None) -> list[Annotator]:
    """Everybody who labels a task of a scene (the first by default), those with the most labels first.

    Raises:
        NotFound: no such scene, or it has no champion.
    """
    each, head = _followed(home, scene, task)
    as_usual = _usual(each, head)
    return [_annotator(each, head, as_usual, name) for name, _ in _names(each)]


def without(home: Home, scene: str, annotator: str, task: str | None = None) -> tuple[Annotator, WhatIf]:
    """One annotator, and what would be without them.

    Raises:
        NotFound: no such scene or annotator, or the scene has no champion.
    """
    each, head = _followed(home, scene, task)
    if annotator not in dict(_names(each)):
        raise NotFound(
            f"nobody called {annotator[:80]!r} labels {scene!r}; there are: {_listed(each)}", "use one of these names"
        )
    other, head_without = _followed(home, scene, task, leaving=annotator)
    theirs = {example for example in each.state.rows if _says(each, example, annotator)}
    mine = [example for example in each.state.sample.examples() if example not in theirs]
    shared = [example for example in mine if _same(each, other, example)][:ANCHORS]
    as_usual = _usual(each, head)
    right, right_without = (_share(_right(*of, shared, as_usual)) for of in ((each, head), (other, head_without)))
    extractor = str(_champion(home, scene).manifest["extractor"])
    traffic = home.predictions.newest(scene, extractor, home.settings.guard.traffic)
    rows_ND = np.stack(list(traffic.values())) if traffic else np.zeros((0, each.state.width), np.int16)
    both = None if head is None or head_without is None else (head, head_without)
    apart = as_usual if each.task.task == "regression" else None
    return _annotator(each, head, as_usual, annotator), WhatIf(
        anchors=len(shared),
        accuracy=right,
        accuracy_without=right_without,
        answers=0 if both is None else len(rows_ND),
        moved=0 if both is None else moved(*both, rows_ND, apart),
    )


def remove(home: Home, scene: str, annotator: str) -> Removal:
    """Withdraw every label of an annotator, of all tasks of a scene, in one transaction.

    Raises:
        NotFound: no such scene, or no label of theirs stands. InvalidInput: it is training data.
    """
    home.registry.scene(scene)
    if annotator == TRAINING:
        raise InvalidInput("training data are no annotator", "adapt again without what is wrong in them")
    gone = sa.select(label_events.c.target).where(label_events.c.scene == scene, label_events.c.kind == "withdraw")
    here = (label_events.c.scene == scene) & (label_events.c.kind == "label") & (label_events.c.annotator == annotator)
    here &= (label_events.c.source != TRAINING) & label_events.c.event_id.not_in(gone)
    with home.ledger.database.write() as connection:
        told = connection.execute(sa.select(label_events.c.event_id, label_events.c.task).where(here)).all()
        if not told:
            raise NotFound(f"no label of annotator {annotator[:80]!r} stands in {scene!r}", "check the name")
        now, last = home.ledger.now(), next_sequence(connection, len(told))
        rows = [
            {
                "sequence": last - len(told) + place,
                "event_id": uuid7(now),
                "kind": "withdraw",
                "scene": scene,
                "task": row.task,
                "target": row.event_id,
                "received_at": now,
            }
            for place, row in enumerate(told, 1)
        ]
        connection.execute(sa.insert(label_events), rows)
        for start in range(0, len(told), PAGE):
            part = [row.event_id for row in told[start : start + PAGE]]
            connection.execute(sa.delete(waiting).where(waiting.c.event_id.in_(part)))
    return Removal(annotator=annotator, events=len(told), sequence=last)


def _champion(home: Home, scene: str) -> Version:
    home.registry.scene(scene)
    alias = home.registry.champion(scene)
    if alias is None:
        raise NotFound(f"scene {scene!r} has no version yet", "run lepton adapt")
    return home.registry.version(scene, alias.version)


def _followed(home: Home, scene: str, task: str | None, leaving: str | None = None) -> tuple[Followed, Head | None]:
    version, held = _champion(home, scene), home.registry.scene(scene)
    asked: Scene = task_of(held, task)
    follower: Follower = home.follower(held, version, leaving=leaving)
    follower.catch_up()
    each = next(each for each in follower.tasks if each.task.task_name == asked.task_name)
    return each, each.head(follower.sequence, None)


def _names(each: Followed) -> list[tuple[str, int]]:
    counts = Counter(
        vote.said.annotator
        for example in each.standing.examples()
        for vote in each.standing.votes(example)
        if vote.said.annotator != TRAINING
    )
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def _listed(each: Followed) -> str:
    return ", ".join(repr(name[:40]) for name, _ in _names(each)[:20]) or "nobody yet"


def _says(each: Followed, example: str, name: str) -> bool:
    return any(vote.said.annotator == name for vote in each.standing.votes(example))


def _annotator(each: Followed, head: Head | None, as_usual: float, name: str) -> Annotator:
    rows = each.state.rows
    mine = [example for example in each.standing.examples() if _says(each, example, name)]
    own, shared = set[str](), list[bool]()
    for example in mine:
        outcome, others = each.standing.outcome(example), each.standing.outcome(example, without=name)
        if outcome is not None and outcome.supporters == {name}:
            own.add(example)
        if others is not None and not others.conflict:
            (said,) = (vote.said for vote in each.standing.votes(example) if vote.said.annotator == name)
            shared.append(said.label == others.label and _apart(each, said.value, others.value) <= as_usual)
    weights = {e: row.weight for e, row in rows.items() if not _says(each, e, TRAINING)}
    right = {e: ok for e, ok in _checked(each, head, as_usual).items() if e in own}
    return Annotator(
        name=name,
        labels=len(mine),
        share=sum(weights.get(example, 0) for example in mine) / max(1, sum(weights.values())),
        shared=len(shared),
        agreement=sum(shared) / len(shared) if shared else None,
        checked=len(right),
        confirmed=sum(right.values()),
        held=sum(example in each.held for example in mine),
    )


def _same(one: Followed, other: Followed, example: str) -> bool:
    row = other.state.rows.get(example)
    return row is not None and row.same(one.state.rows[example])


def _usual(each: Followed, head: Head | None) -> float:
    """The usual miss of the head's values; 0 of classes."""
    if head is None or each.task.task == "classification":
        return 0.0
    return usual(np.array(list(missed(each.state, head, each.state.sample.examples()).values())))


def _apart(each: Followed, one: float | None, other: float | None) -> float:
    """How far values are apart, on the scale of the grid; 0 of labels, which have none."""
    return 0.0 if one is None or other is None else abs(one - other) / each.task.scale


def _checked(each: Followed, head: Head | None, as_usual: float) -> dict[str, bool]:
    """Rows of the sample → whether they are answered rightly without themselves."""
    if each.task.task == "classification":
        return {} if each.state.checked is None else each.state.checked.right()
    return _right(each, head, each.state.sample.examples(), as_usual)


def _right(each: Followed, head: Head | None, examples: Sequence[str], as_usual: float) -> dict[str, bool]:
    """Labelled rows → whether they are answered rightly without themselves."""
    told = {} if head is None else missed(each.state, head, examples)
    return {example: miss <= RIGHT * as_usual for example, miss in told.items()}


def _share(right: Mapping[str, bool]) -> float | None:
    return sum(right.values()) / len(right) if right else None
