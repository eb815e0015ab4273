"""What is held: heads that the guard does not let out, and labels that wait.

Promises that a hold, its acceptance and its end stand in the audit. What waits is a function of the labels that stand
(``core/screen.py``) and of the guard; the rows here say it to whoever asks. Knows nothing of why.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from core.audit import note
from core.ballots import Held
from core.database import Database, label_events
from core.errors import NotFound
from core.events import TRAINING
from core.label_tables import guard_holds, held_labels
from core.lease import Lease, confirm

PAGE = 500
GUARD = "guard"  # the reason of labels that came since the head that serves


_join = label_events.alias("joined")
EXAMPLE = sa.func.coalesce(label_events.c.example, _join.c.example)


@dataclass(frozen=True, kw_only=True)
class Hold:
    """A head that is held.

    Attributes:
        version: whose head it is.
        since: the last label event that the head that serves may include.
        base: the last label event of the head that it was compared with.
        sequence: the last label event of the head that is held.
        at: since when, in seconds since the epoch.
        words: what it would change, and who moved it.
        annotator: whose labels moved it most; None where it is nobody's alone.
        events: label events of theirs, those first that the head that serves contradicts most.
        accepted: an operator wants it served.
    """

    scene: str
    version: str
    since: int
    base: int
    sequence: int
    at: float
    words: str
    annotator: str | None
    events: tuple[str, ...]
    accepted: bool = False


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """An example whose label waits."""

    task: str
    example: str
    reason: str
    words: str
    at: float


class Holds:
    """Reads and writes what is held."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time):
        self.database = database
        self._clock = clock

    def of(self, scene: str) -> Hold | None:
        """The hold of a scene."""
        with self.database.read() as connection:
            return _of(connection, scene)

    def upto(self, scene: str) -> int | None:
        """The last label event that a head of the scene may include; None where nothing is held."""
        hold = self.of(scene)
        return None if hold is None else hold.since

    def hold(self, hold: Hold, lease: Lease) -> None:
        """Hold a head, or say something newer of the one that is held.

        Raises:
            LeadershipLost: another learner leads.
        """
        with self.database.write() as connection:
            confirm(connection, lease)
            held = _of(connection, hold.scene)
            accepted = held is not None and held.accepted  # meanwhile
            connection.execute(sa.delete(guard_holds).where(guard_holds.c.scene == hold.scene))
            row = asdict(hold) | {"events": list(hold.events), "accepted": accepted}
            connection.execute(sa.insert(guard_holds), row)
            if held is None:
                detail = {"reason": hold.words, "since": hold.since, "sequence": hold.sequence}
                note(connection, hold.scene, hold.at, "hold", version=hold.version, detail=detail)

    def lift(self, scene: str, reason: str, lease: Lease) -> None:
        """Hold no more. Raises as ``hold``."""
        with self.database.write() as connection:
            confirm(connection, lease)
            held = _of(connection, scene)
            if held is not None:
                connection.execute(sa.delete(guard_holds).where(guard_holds.c.scene == scene))
                note(connection, scene, self._clock(), "lift", version=held.version, detail={"reason": reason})

    def accept(self, scene: str) -> Hold:
        """Let the head that is held be served; the learner does it at its next look.

        Raises:
            NotFound: nothing is held.
        """
        with self.database.write() as connection:
            held = _of(connection, scene)
            if held is None:
                raise NotFound(f"no head of scene {scene[:80]!r} is held", "there is nothing to accept")
            here = guard_holds.c.scene == scene
            connection.execute(sa.update(guard_holds).where(here).values(accepted=True))
            note(connection, scene, self._clock(), "accept", version=held.version, detail={"reason": held.words})
        return held

    def keep(self, scene: str, task: str, held: Mapping[str, Held]) -> None:
        """Write which examples of a task wait; nothing is written where it is the same as before."""
        here = (held_labels.c.scene == scene) & (held_labels.c.task == task)
        wanted = {example: (why.reason, why.words) for example, why in held.items()}
        with self.database.read() as connection:
            known = {row.example: (row.reason, row.words) for row in connection.execute(_rows().where(here))}
        if wanted == known:
            return
        with self.database.write() as connection:
            moment = {row.example: row.at for row in connection.execute(_rows().where(here))}
            connection.execute(sa.delete(held_labels).where(here))
            rows = [
                {
                    "scene": scene,
                    "task": task,
                    "example": example,
                    "reason": reason,
                    "words": words,
                    "at": moment.get(example, self._clock()),
                }
                for example, (reason, words) in wanted.items()
            ]
            if rows:
                connection.execute(sa.insert(held_labels), rows)

    def waiting(self, scene: str) -> list[Waiting]:
        """Examples whose labels wait by hygiene, the longest first."""
        order = held_labels.c.at, held_labels.c.example
        with self.database.read() as connection:
            rows = connection.execute(_rows().where(held_labels.c.scene == scene).order_by(*order))
            return [Waiting(task=r.task, example=r.example, reason=r.reason, words=r.words, at=r.at) for r in rows]

    def events(self, scene: str, examples: Sequence[str]) -> dict[str, list[str]]:
        """Example → label events of feedback about it that were not withdrawn, oldest first."""
        gone = sa.select(label_events.c.target).where(label_events.c.scene == scene, label_events.c.kind == "withdraw")
        found: dict[str, list[str]] = {}
        with self.database.read() as connection:
            for start in range(0, len(examples), PAGE):
                part = examples[start : start + PAGE]
                rows = connection.execute(
                    _said()
                    .where(label_events.c.scene == scene, EXAMPLE.in_(part), label_events.c.event_id.not_in(gone))
                    .where(label_events.c.source != TRAINING)
                    .order_by(label_events.c.sequence)
                )
                for row in rows:
                    found.setdefault(row.which, []).append(row.event_id)
        return found

    def about(self, event_id: str, sequence: int) -> Waiting | None:
        """Why a label that stands waits, where it does; ``sequence`` is that of the last event that made it count."""
        with self.database.read() as connection:
            told = connection.execute(_said().where(label_events.c.event_id == event_id)).first()
            if told is None or told.which is None:
                return None
            here = (held_labels.c.scene == told.scene) & (held_labels.c.task == told.task)
            row = connection.execute(_rows().where(here, held_labels.c.example == told.which)).first()
            if row is not None:
                return Waiting(task=row.task, example=row.example, reason=row.reason, words=row.words, at=row.at)
            hold = _of(connection, told.scene)
        if hold is None or sequence <= hold.since:
            return None
        return Waiting(task=told.task, example=told.which, reason=GUARD, words=hold.words, at=hold.at)


def forget(connection: sa.Connection, scene: str, events: list[str]) -> None:
    """Let a hold name erased events no more, inside the caller's transaction."""
    held = _of(connection, scene)
    if held is not None:
        left = [event for event in held.events if event not in set(events)]
        connection.execute(sa.update(guard_holds).where(guard_holds.c.scene == scene).values(events=left))


def _said() -> sa.Select[tuple[object, ...]]:
    """Label events with the example that they, or their join, name."""
    told = label_events.c.event_id, label_events.c.scene, label_events.c.task, EXAMPLE.label("which")
    joins = (_join.c.target == label_events.c.event_id) & (_join.c.kind == "join")
    rows = sa.select(*told).select_from(label_events.outerjoin(_join, joins))
    return rows.where(label_events.c.kind == "label")


def _rows() -> sa.Select[tuple[object, ...]]:
    return sa.select(held_labels)


def _of(connection: sa.Connection, scene: str) -> Hold | None:
    row = connection.execute(sa.select(guard_holds).where(guard_holds.c.scene == scene)).first()
    return None if row is None else Hold(**{**row._mapping, "events": tuple(row.events)})
