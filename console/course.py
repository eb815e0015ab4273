"""How well a champion's answers were, label by label: the curve that moves while people label.

Promises answers that were given before their labels, so that nothing is asked which the head had learned. What people
label is no sample of the traffic, since the queue asks for the doubtful first: the curve is of what was labelled, and
the live accuracy (``core/live_accuracy.py``) is told beside it. Knows nothing of pages.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from console.road import figure
from console.words import percent
from core.home import Home
from core.live_accuracy import live_accuracy
from core.look.charts import Axis, Line, lines
from core.look.html import Html, tag
from core.outcomes import answered
from core.types import Scene

LOOKED_AT = 400  # labelled answers, the newest
WINDOW = 20  # of them, for a point
LEAST = 5  # of them, for the first point
POINTS = 80


@dataclass(frozen=True, kw_only=True)
class Course:
    """Labelled answers of a champion.

    Attributes:
        version: its number; None where there is none.
        right: of a classification, whether each was; oldest first. missed: of a regression, by how much.
        live: the live accuracy; None where nothing is labelled, and for a regression.
    """

    version: int | None
    right: tuple[bool, ...] = ()
    missed: tuple[float, ...] = ()
    live: float | None = None


def course(home: Home, task: Scene) -> Course:
    """Look now."""
    alias = home.registry.champion(task.name)
    if alias is None:
        return Course(version=None)
    number = home.registry.version(task.name, alias.version).number
    found = answered(home, task.name, alias.version, LOOKED_AT, task=task.task_name or None)
    if task.task == "regression":
        return Course(version=number, missed=tuple(float(each.said) - float(each.truth) for each in found))
    right = tuple(each.said == each.truth for each in found)
    return Course(version=number, right=right, live=live_accuracy(home, task, found, LOOKED_AT) if found else None)


def chart(told: Course) -> Html:
    """The curve."""
    if told.missed:
        points = curve([miss * miss for miss in told.missed])
        rooted = [(x, math.sqrt(y)) for x, y in points]
        words = f"Of the newest {len(told.missed)} labelled answers of version {told.version}: the error of the last"
        y = Axis(title="root mean squared error", low=0.0)
        return figure(lines([Line(name="error", points=rooted)], _ANSWERS, y), f"{words} {WINDOW} at each of them.")
    if not told.right:
        return tag("p", "The curve begins with the first label of an answer.", class_="soft")
    drawn = Line(name="right answers", points=curve([float(right) for right in told.right]))
    words = f"Right ones among the last {WINDOW} labelled answers of version {told.version}, at each of the newest"
    words += f" {len(told.right)}. Answers were given before their labels."
    if told.live is not None:
        words += f" On the traffic, as far as labels tell, {percent(told.live)} are right."
    y = Axis(title="right answers, %", low=0.0, high=1.0, percent=True)
    return figure(lines([drawn], _ANSWERS, y), words)


def curve(values: Sequence[float]) -> list[tuple[float, float]]:
    """(how many were labelled, the mean of the last ``WINDOW`` of them), at most ``POINTS``, the last one always.

    >>> curve([1.0] * 4), curve([0.0] * 20 + [1.0] * 20)[-1]
    ([(4, 1.0)], (40, 1.0))
    """
    if not values:
        return []
    ends = range(min(LEAST, len(values)), len(values) + 1)
    kept = [*ends[:: -(-len(ends) // POINTS)]]
    if kept[-1] != len(values):
        kept.append(len(values))
    return [(end, sum(values[max(0, end - WINDOW) : end]) / min(end, WINDOW)) for end in kept]


_ANSWERS = Axis(title="labelled answers, oldest first", whole=True)
