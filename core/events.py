"""The ledger: label events, in one sequence, appended and never overwritten.

Promises that an event, its features and its input become visible together, in the order of their sequence (a counter
row locked in the same transaction), that the same event sent twice counts once, and that a withdrawn one stays
withdrawn. Knows nothing of heads. What a set of events amounts to is said in ``core/standing.py`` alone.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import sqlalchemy as sa

from core.database import Database, counters, insert, label_events, tombstones, waiting
from core.errors import Conflict, NotFound, Withdrawn
from core.evidence import Evidence, keep
from core.ids import uuid7
from core.recall import COLUMNS, event_of, standing_of
from core.standing import digest_of
from core.types import NAMES, LabelEvent

Status = Literal["accepted", "duplicate", "pending", "conflict", "orphaned", "withdrawn"]
TRAINING = "training"  # source and annotator of the examples that a version was adapted on


@dataclass(frozen=True, kw_only=True)
class Feedback:
    """A label as it arrives. ``example`` is None where its prediction is not known yet.

    ``task`` is the name of the task, empty where the scene has one.
    """

    scene: str
    event_id: str | None = None
    prediction_id: str | None = None
    example: str | None = None
    label: str | None = None
    value: float | None = None
    annotator: str = ""
    source: str = "feedback"
    confidence: float = 1.0
    observed_at: str | None = None
    subject: str | None = None
    task: str = ""

    def digest(self) -> str:
        """SHA-256 of what was said: the same event id with another digest is a contradiction."""
        told: list[object] = [self.scene, self.prediction_id, self.label, self.value, self.annotator]
        told += [self.source, self.confidence, self.observed_at, self.subject]
        if self.prediction_id is None:
            told.append(self.example)
        if self.task:
            told.append({"task": self.task})
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """The answer to an event: it is on disk."""

    event_id: str
    status: Status
    sequence: int


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A label whose prediction is not known yet."""

    event_id: str
    prediction_id: str
    received_at: float


class Ledger:
    """Appends and reads label events.

    Args:
        database: the ledger's database.
        weight_of: source name → weight, for telling conflicts.
        clock: seconds since the epoch.
    """

    def __init__(self, database: Database, weight_of: Callable[[str], int], clock: Callable[[], float] = time.time):
        self.database = database
        self._weight_of = weight_of
        self._clock = clock

    def add(self, feedback: Feedback, evidence: Evidence | None) -> Receipt:
        """Append one label.

        Raises:
            Conflict: the event id is known with another body.
            Withdrawn: the event was withdrawn or erased.
        """
        body = feedback.digest()
        with self.database.write() as connection:
            if feedback.event_id is not None:
                known = self._known(connection, feedback.event_id, body)
                if known is not None:
                    return known
            event_id = feedback.event_id or uuid7(self._clock())
            example = evidence.example if evidence is not None else None
            sequence = next_sequence(connection, 1)
            row = {
                "sequence": sequence,
                "event_id": event_id,
                "kind": "label",
                "scene": feedback.scene,
                "example": example,
                "prediction_id": feedback.prediction_id,
                "label": feedback.label,
                "value": feedback.value,
                "annotator": feedback.annotator,
                "source": feedback.source,
                "confidence": feedback.confidence,
                "observed_at": feedback.observed_at,
                "subject": feedback.subject,
                "task": feedback.task,
                "body_digest": body,
                "received_at": self._clock(),
            }
            connection.execute(sa.insert(label_events), row)
            if evidence is None:
                connection.execute(
                    sa.insert(waiting),
                    {k: row[k] for k in ("event_id", "scene", "prediction_id", "received_at")},
                )
                return Receipt(event_id=event_id, status="pending", sequence=sequence)
            keep(connection, [evidence], self._clock())
            status: Status = "conflict" if self._in_conflict(connection, row, evidence.example) else "accepted"
            return Receipt(event_id=event_id, status=status, sequence=sequence)

    def correct(
        self, event_id: str, *, label: str | None, value: float | None, confidence: float | None = None
    ) -> Receipt:
        """Say something else in place of what an event said.

        Raises:
            NotFound: no such event.
            Withdrawn: it was withdrawn or erased.
        """
        with self.database.write() as connection:
            told = self._alive(connection, event_id)
            sure = self._confidence(connection, told) if confidence is None else confidence
            return self._act(connection, told, "correct", label=label, value=value, confidence=sure)

    def withdraw(self, event_id: str) -> Receipt:
        """Take an event back, for good.

        Raises:
            NotFound: no such event.
            Withdrawn: it was withdrawn or erased before.
        """
        with self.database.write() as connection:
            told = self._alive(connection, event_id)
            connection.execute(sa.delete(waiting).where(waiting.c.event_id == event_id))
            return replace(self._act(connection, told, "withdraw"), status="withdrawn")

    def release(self, event_id: str) -> Receipt:
        """Say that what an event says was looked at and stands: it waits no more. Raises as ``withdraw``."""
        with self.database.write() as connection:
            return self._act(connection, self._alive(connection, event_id), "release")

    def join(self, event_id: str, evidence: Evidence) -> Receipt | None:
        """Bring a waiting label its example; None where it does not wait any more."""
        with self.database.write() as connection:
            gone = connection.execute(
                sa.delete(waiting).where(waiting.c.event_id == event_id, waiting.c.orphaned.is_(False))
            ).rowcount
            if not gone:
                return None
            told = self._alive(connection, event_id)
            keep(connection, [evidence], self._clock())
            return self._act(connection, told | {"example": evidence.example}, "join", example=evidence.example)

    def waiting(self) -> list[Waiting]:
        """Labels that still wait for their prediction, oldest first."""
        with self.database.read() as connection:
            rows = connection.execute(
                sa.select(waiting).where(waiting.c.orphaned.is_(False)).order_by(waiting.c.received_at)
            )
            return [
                Waiting(event_id=r.event_id, prediction_id=r.prediction_id, received_at=r.received_at) for r in rows
            ]

    def orphan(self, received_before: float) -> int:
        """Give up on labels that have waited too long; returns how many."""
        with self.database.write() as connection:
            return connection.execute(
                sa.update(waiting)
                .where(waiting.c.received_at < received_before, waiting.c.orphaned.is_(False))
                .values(orphaned=True)
            ).rowcount

    def status(self, event_id: str) -> Receipt:
        """Where an event stands now; its sequence is that of the last event which made it count.

        Raises:
            NotFound: no such event.
        """
        with self.database.read() as connection:
            told = self._find(connection, event_id)
            return self._status(connection, told)

    def known(self, feedback: Feedback) -> Receipt | None:
        """The receipt of a label that was sent before, or None where it is new. Raises as ``add`` does."""
        if feedback.event_id is None:
            return None
        with self.database.read() as connection:
            return self._known(connection, feedback.event_id, feedback.digest())

    def scene_of(self, event_id: str) -> str:
        """The scene of an event.

        Raises:
            NotFound: no such event.
        """
        with self.database.read() as connection:
            return str(self._find(connection, event_id)["scene"])

    def task_of(self, event_id: str) -> str | None:
        """The name of the task of an event; None where its scene has one. Raises as ``scene_of``."""
        with self.database.read() as connection:
            return str(self._find(connection, event_id)["task"]) or None

    def events(self, scene: str, after: int, limit: int = 20_000) -> list[LabelEvent]:
        """The events of a scene with a sequence above ``after``, in order."""
        with self.database.read() as connection:
            rows = connection.execute(
                sa.select(*COLUMNS)
                .where(label_events.c.scene == scene, label_events.c.sequence > after)
                .order_by(label_events.c.sequence)
                .limit(limit)
            ).all()
            return [event_of(connection, row._mapping) for row in rows]

    def now(self) -> float:
        """Seconds since the epoch."""
        return self._clock()

    def last_sequence(self, scene: str) -> int:
        """Sequence of the newest event of a scene, 0 where there is none."""
        newest = sa.select(sa.func.max(label_events.c.sequence)).where(label_events.c.scene == scene)
        with self.database.read() as connection:
            return connection.execute(newest).scalar() or 0

    def teach(self, scene: str, labels: Sequence[Feedback]) -> int:
        """Append training examples in one transaction, leaving out what the ledger already says; returns how many.

        Each must name its example, whose features were stored before, in an :class:`EvidenceStore`. Of several labels
        for one example and task the last one counts.
        """
        with self.database.write() as connection:
            said = self._taught(connection, scene)
            last = {(feedback.example, feedback.task): feedback for feedback in labels}
            new = [f for key, f in last.items() if said.get(key) != (f.label, f.value)]
            if not new:
                return 0
            first, now = next_sequence(connection, len(new)) - len(new) + 1, self._clock()
            connection.execute(
                sa.insert(label_events),
                [
                    {
                        "sequence": first + place,
                        "event_id": uuid7(now),
                        "kind": "label",
                        "scene": scene,
                        "example": f.example,
                        "label": f.label,
                        "value": f.value,
                        "annotator": TRAINING,
                        "source": f.source if f.source == NAMES else TRAINING,
                        "confidence": 1.0,
                        "subject": f.subject,
                        "task": f.task,
                        "body_digest": f.digest(),
                        "received_at": now,
                    }
                    for place, f in enumerate(new)
                ],
            )
            return len(new)

    def _taught(
        self, connection: sa.Connection, scene: str
    ) -> dict[tuple[str | None, str], tuple[str | None, float | None]]:
        """(example, task) → what training data have said of it last."""
        gone = sa.select(label_events.c.target).where(label_events.c.kind == "withdraw", label_events.c.scene == scene)
        rows = connection.execute(
            sa.select(label_events.c.example, label_events.c.task, label_events.c.label, label_events.c.value)
            .where(
                label_events.c.scene == scene,
                label_events.c.kind == "label",
                label_events.c.annotator == TRAINING,
                label_events.c.event_id.not_in(gone),
            )
            .order_by(label_events.c.sequence)
        )
        return {(example, task): (label, value) for example, task, label, value in rows}

    def _known(self, connection: sa.Connection, event_id: str, body: str) -> Receipt | None:
        try:
            told = self._alive(connection, event_id)
        except NotFound:
            return None
        if told["body_digest"] != body:
            raise Conflict(
                f"event {event_id!r} was sent before with another body",
                "send a new event_id, or correct the event with PATCH",
            )
        status = self._status(connection, told)
        return replace(status, status="duplicate")

    def _find(self, connection: sa.Connection, event_id: str) -> dict[str, Any]:
        row = connection.execute(
            sa.select(label_events).where(label_events.c.event_id == event_id, label_events.c.kind == "label")
        ).first()
        if row is None:
            raise NotFound(f"there is no label event {event_id[:80]!r}", "use the event_id of a feedback answer")
        return dict(row._mapping)

    def _alive(self, connection: sa.Connection, event_id: str) -> dict[str, Any]:
        erased = sa.select(tombstones.c.digest).where(tombstones.c.digest == digest_of(event_id))
        if connection.execute(erased).first():
            raise Withdrawn(f"event {event_id!r} was erased", "send the label as a new event")
        told = self._find(connection, event_id)
        if self._deed(connection, event_id, "withdraw") is not None:
            raise Withdrawn(f"event {event_id!r} was withdrawn", "send the label as a new event")
        return told

    def _confidence(self, connection: sa.Connection, told: Mapping[str, Any]) -> float:
        mine = (label_events.c.target == told["event_id"]) & (label_events.c.kind == "correct")
        last = sa.select(label_events.c.confidence).where(mine).order_by(label_events.c.sequence.desc()).limit(1)
        corrected = connection.execute(last).scalar()
        return float(told["confidence"] if corrected is None else corrected)

    def _deed(self, connection: sa.Connection, event_id: str, kind: str) -> int | None:
        return connection.execute(
            sa.select(sa.func.max(label_events.c.sequence)).where(
                label_events.c.target == event_id, label_events.c.kind == kind
            )
        ).scalar()

    def _act(self, connection: sa.Connection, told: Mapping[str, Any], kind: str, **change: Any) -> Receipt:
        sequence = next_sequence(connection, 1)
        row = {
            "sequence": sequence,
            "event_id": uuid7(self._clock()),
            "kind": kind,
            "scene": told["scene"],
            "task": told["task"],
            "target": told["event_id"],
            "received_at": self._clock(),
        }
        connection.execute(sa.insert(label_events), row | change)
        return replace(self._status(connection, told), sequence=sequence)

    def _status(self, connection: sa.Connection, told: Mapping[str, Any]) -> Receipt:
        event_id = str(told["event_id"])
        deeds = {kind: self._deed(connection, event_id, kind) for kind in ("withdraw", "join", "correct", "release")}
        sequence = max([int(told["sequence"]), *(deed for deed in deeds.values() if deed is not None)])
        row = connection.execute(sa.select(waiting.c.orphaned).where(waiting.c.event_id == event_id)).first()
        joined = (label_events.c.target == event_id) & (label_events.c.kind == "join")
        example = told["example"] or connection.execute(sa.select(label_events.c.example).where(joined)).scalar()
        status: Status = "accepted"
        if deeds["withdraw"] is not None:
            status = "withdrawn"
        elif row is not None:
            status = "orphaned" if row.orphaned else "pending"
        elif example is not None and self._in_conflict(connection, told, example):
            status = "conflict"
        return Receipt(event_id=event_id, status=status, sequence=sequence)

    def _in_conflict(self, connection: sa.Connection, told: Mapping[str, Any], example: str) -> bool:
        standing = standing_of(connection, told["scene"], [example], self._weight_of, told["task"])
        outcome = standing.outcome(example)
        return outcome is not None and outcome.conflict


def next_sequence(connection: sa.Connection, count: int) -> int:
    """Take the next ``count`` sequences; returns the last. The counter stays locked until the transaction ends."""
    statement = insert(connection, counters).values(name="sequence", value=count)
    raised = statement.on_conflict_do_update(
        index_elements=["name"], set_={"value": counters.c.value + count}
    ).returning(counters.c.value)
    return int(connection.execute(raised).scalar_one())
