"""How many labels of a scene stand where, and which examples are labelled: what people ask of the ledger.

Promises to count events, not votes: ``core/standing.py`` alone says what they amount to. Knows nothing of heads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import sqlalchemy as sa

from core.database import Database, label_events, waiting
from core.events import TRAINING
from core.recall import standing_of

PAGE = 500


def tally(database: Database, scene: str, weight_of: Callable[[str], int]) -> dict[str, int]:
    """Label events of a scene by status.

    Returns:
        ``training`` (of the data that versions were adapted on), and of feedback: ``accepted``, ``pending``,
        ``orphaned``, ``withdrawn``; and ``conflict``, the number of examples whose annotators tie; of several tasks all
        together.
    """
    with database.read() as connection:
        here = (label_events.c.scene == scene) & (label_events.c.kind == "label")
        gone = sa.select(label_events.c.target).where(label_events.c.scene == scene, label_events.c.kind == "withdraw")
        standing = label_events.c.event_id.not_in(gone)
        taught = _count(connection, here & standing & (label_events.c.source == TRAINING))
        said = _count(connection, here & standing & (label_events.c.source != TRAINING))
        waits = sa.select(waiting.c.orphaned, sa.func.count()).where(waiting.c.scene == scene)
        late: dict[bool, int] = {bool(key): number for key, number in connection.execute(waits.group_by("orphaned"))}
        outcomes = [
            standing_of(connection, scene, [example], weight_of, task).outcome(example)
            for example, task in _several(connection, scene)
        ]
        return {
            "training": taught,
            "accepted": said - sum(late.values()),
            "pending": late.get(False, 0),
            "orphaned": late.get(True, 0),
            "withdrawn": _count(connection, here & label_events.c.event_id.in_(gone)),
            "conflict": sum(outcome is not None and outcome.conflict for outcome in outcomes),
        }


def labelled(database: Database, scene: str, examples: Iterable[str], task: str = "") -> set[str]:
    """Those among these examples that have a label which was not withdrawn; ``task`` is empty where there is one."""
    listed, found = list(examples), set[str]()
    join = label_events.alias("joined")
    example = sa.func.coalesce(label_events.c.example, join.c.example)
    gone = sa.select(label_events.c.target).where(label_events.c.scene == scene, label_events.c.kind == "withdraw")
    rows = sa.select(example).select_from(
        label_events.outerjoin(join, (join.c.target == label_events.c.event_id) & (join.c.kind == "join"))
    )
    rows = rows.where(label_events.c.scene == scene, label_events.c.kind == "label", label_events.c.task == task)
    rows = rows.where(label_events.c.event_id.not_in(gone))
    with database.read() as connection:
        for start in range(0, len(listed), PAGE):
            found |= set(connection.execute(rows.where(example.in_(listed[start : start + PAGE]))).scalars())
    return found


def _count(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> int:
    return connection.execute(sa.select(sa.func.count()).select_from(label_events).where(condition)).scalar() or 0


def _several(connection: sa.Connection, scene: str) -> list[tuple[str, str]]:
    """Examples that more than one annotator has labelled, and for which task."""
    join = label_events.alias("joined")
    example = sa.func.coalesce(label_events.c.example, join.c.example).label("which")
    rows = (
        sa.select(example, label_events.c.task)
        .select_from(label_events.outerjoin(join, (join.c.target == label_events.c.event_id) & (join.c.kind == "join")))
        .where(label_events.c.scene == scene, label_events.c.kind == "label", example.is_not(None))
        .group_by(example, label_events.c.task)
        .having(sa.func.count(label_events.c.annotator.distinct()) > 1)
    )
    return [(which, task) for which, task in connection.execute(rows)]


def received(database: Database, scene: str, after: int, upto: int, most: int = 1000) -> list[float]:
    """When the events of feedback with a sequence in (after, upto] came, in seconds since the epoch."""
    with database.read() as connection:
        rows = connection.execute(
            sa.select(label_events.c.received_at)
            .where(
                label_events.c.scene == scene,
                label_events.c.source != TRAINING,
                label_events.c.sequence > after,
                label_events.c.sequence <= upto,
            )
            .order_by(label_events.c.sequence.desc())
            .limit(most)
        )
        return list(rows.scalars())


def fresh(database: Database, scene: str, after: int, upto: int | None = None) -> int:
    """Labels that feedback brought or corrected since a sequence, up to another one where that is given.

    One that waits for its prediction counts later.
    """
    brought = (label_events.c.kind == "label") & label_events.c.example.is_not(None)
    here = (label_events.c.scene == scene) & (label_events.c.sequence > after) & (label_events.c.source != TRAINING)
    if upto is not None:
        here &= label_events.c.sequence <= upto
    with database.read() as connection:
        return _count(connection, here & (brought | label_events.c.kind.in_(["join", "correct"])))
