"""The traffic of a scene over time, out of the prediction log: how much, how sure, which answers.

Promises a bounded look whatever the log holds: answers are counted from an index alone, and of each interval at most
``SAMPLED``, the newest, are looked at. Copies that a challenger got are no answers: they are left out, where an
interval has more than is looked at by their share among those. Knows nothing of drift and of pages.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from core.database import predictions
from core.home import Home
from core.predictions import replies
from core.types import Reply, Scene

BINS = 40
SAMPLED = 100  # answers of an interval
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
SPANS = {"600": "10 minutes", "3600": "hour", "86400": "day", "604800": "week"}  # seconds → words
TOLD = tuple(predictions.c[name] for name in ("role", "label", "value", "confidence", "margin", "further"))


@dataclass(frozen=True, kw_only=True)
class Bin:
    """An interval.

    Attributes:
        middle: of it, in seconds before the end, negative. rate: answers a second.
        classes: answers by label, among those looked at.
        confidence, margin: their means; None without any, and for a regression.
        value, low, high: of a regression, the mean, the least and the largest answer.
    """

    middle: float
    rate: float
    classes: Mapping[str, int]
    confidence: float | None = None
    margin: float | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, kw_only=True)
class Flow:
    """The traffic of the ``seconds`` before ``end``; ``answers`` in all, ``bins`` oldest first."""

    end: float
    seconds: float
    answers: int
    bins: tuple[Bin, ...]


def flow(home: Home, task: Scene, seconds: float, now: float) -> Flow:
    """Look at the time before ``now``."""
    width = seconds / BINS
    end = math.ceil(now / width) * width
    starts = [end - seconds + place * width for place in range(BINS)]
    with home.predictions.database.read() as connection:
        counts = connection.execute(_counts(task.name, starts, width)).one()
        sampled: list[list[sa.Row[Any]]] = [[] for _ in starts]
        for row in connection.execute(_sample(task.name, starts, width)):
            sampled[row.place].append(row)
    bins, total = [], 0
    for start, count, rows in zip(starts, counts, sampled, strict=True):
        said = [said_of(row, task.task_name) for row in rows if row.role != "shadow"]
        answers = round(count * len(said) / len(rows)) if rows else 0
        total += answers
        lasted = max(1.0, min(width, now - start))
        bins.append(_bin(start + width / 2 - end, answers / lasted, said))
    return Flow(end=end, seconds=seconds, answers=total, bins=tuple(bins))


def span_of(home: Home, scene: str, now: float) -> str:
    """The shortest span that goes back to the oldest answer; the longest where none does, the hour without any."""
    oldest = sa.select(sa.func.min(predictions.c.created_at)).where(predictions.c.scene == scene)
    with home.predictions.database.read() as connection:
        began = connection.execute(oldest).scalar()
    if began is None:
        return "3600"
    return next((span for span in SPANS if now - began <= float(span)), max(SPANS, key=float))


def shares(told: Flow, most: int) -> dict[str, list[tuple[float, float]]]:
    """Label → (moment, share of the answers): the ``most`` frequent labels, all others together last."""
    totals = Counter[str]()
    for each in told.bins:
        totals.update(each.classes)
    top = [label for label, _ in sorted(totals.items(), key=lambda pair: (-pair[1], pair[0]))[:most]]
    seen = [each for each in told.bins if each.classes]
    curves = {label: [(b.middle, b.classes.get(label, 0) / sum(b.classes.values())) for b in seen] for label in top}
    left = len(totals) - len(top)
    if left:
        name = f"{left} others" if left > 1 else next(label for label in totals if label not in curves)
        rest = [1 - sum(curves[label][place][1] for label in top) for place in range(len(seen))]
        curves[name] = [(b.middle, max(0.0, share)) for b, share in zip(seen, rest, strict=True)]
    return curves


def said_of(row: sa.Row[Any], task: str) -> Reply:
    """What a row with ``TOLD`` says for a task."""
    first = Reply(label=row.label, value=row.value, confidence=row.confidence, margin=row.margin)
    return replies(row.further).get(task, first)


def _counts(scene: str, starts: Sequence[float], width: float) -> sa.Select[Any]:
    """How many there are in each interval, by the index of scene and time."""
    return sa.select(
        *(
            sa.select(sa.func.count()).where(_within(scene, start, width)).scalar_subquery().label(f"n{place}")
            for place, start in enumerate(starts)
        )
    )


def _sample(scene: str, starts: Sequence[float], width: float) -> sa.CompoundSelect[Any]:
    """The newest of each interval."""
    newest = [
        sa.select(sa.literal(place).label("place"), *TOLD)
        .where(_within(scene, start, width))
        .order_by(predictions.c.created_at.desc())
        .limit(SAMPLED)
        .subquery()
        for place, start in enumerate(starts)
    ]
    return sa.union_all(*(sa.select(each) for each in newest))


def _within(scene: str, start: float, width: float) -> sa.ColumnElement[bool]:
    at = predictions.c.created_at
    return sa.and_(predictions.c.scene == scene, at >= start, at < start + width)


def _bin(middle: float, rate: float, said: Sequence[Reply]) -> Bin:
    values = [reply.value for reply in said if reply.value is not None]
    if values:
        mean = sum(values) / len(values)
        return Bin(middle=middle, rate=rate, classes={}, value=mean, low=min(values), high=max(values))
    if not said:
        return Bin(middle=middle, rate=rate, classes={})
    return Bin(
        middle=middle,
        rate=rate,
        classes=Counter(reply.label for reply in said if reply.label is not None),
        confidence=sum(reply.confidence for reply in said) / len(said),
        margin=sum(reply.margin for reply in said) / len(said),
    )
