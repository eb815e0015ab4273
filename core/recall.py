"""Label events as they are read from the ledger, and what those about some examples amount to.

Promises the outcome that a follower of the whole ledger comes to. Knows nothing of how events are written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import sqlalchemy as sa

from core.database import label_events, tombstones
from core.standing import Standing
from core.types import LabelEvent
from core.weights import weights_of

COLUMNS = [column for column in label_events.c if column.name in LabelEvent.__dataclass_fields__]


def event_of(connection: sa.Connection, told: sa.RowMapping) -> LabelEvent:
    """The event of a row of ``COLUMNS``."""
    erased: tuple[str, ...] = ()
    if told["kind"] == "erase":
        listed = sa.select(tombstones.c.digest).where(tombstones.c.sequence == told["sequence"])
        erased = tuple(connection.execute(listed).scalars())
    return LabelEvent(**told, erased=erased)


def standing_of(
    connection: sa.Connection, scene: str, examples: Sequence[str], weight_of: Callable[[str], int], task: str = ""
) -> Standing:
    """The standing of some examples alone, some hundred at most, read inside the caller's transaction.

    ``task`` is the name of the task; empty where the scene has one.
    """
    here = label_events.c.example.in_(examples)  # without the scene, whose index SQLite would walk from end to end
    direct = sa.select(label_events.c.event_id).where(here, label_events.c.kind == "label")
    joined = sa.select(label_events.c.target).where(here, label_events.c.kind == "join")
    mine = sa.union(direct, joined).scalar_subquery()
    rows = connection.execute(
        sa.select(*COLUMNS)
        .where(sa.or_(label_events.c.event_id.in_(mine), label_events.c.target.in_(mine)))
        .order_by(label_events.c.sequence)
    ).all()
    standing = Standing(weight_of, task, weights_of(connection, scene))
    for row in rows:
        if row.scene == scene:
            standing.apply(event_of(connection, row._mapping))
    return standing
