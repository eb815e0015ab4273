"""How well a champion's answers were, label by label: the curve that moves while people label.

Promises answers that were given before their labels, so that nothing is asked which the head had learned. What people
label is no sample of the traffic, since the queue asks for the doubtful first; where enough of it was drawn by lot, the
traffic's own accuracy is told beside it (``core/offers.py``). Knows nothing of pages.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from console.road import figure
from console.words import percent
from core.home import Home
from core.look.charts import Axis, Line, lines
from core.look.html import Html, tag
from core.offers import weighted_share
from core.outcomes import Answered, answered
from core.types import Scene

LOOKED_AT = 400  # labelled answers, the newest
WINDOW = 20  # of them, for a point
LEAST = 5  # of them, for the first point
LEAST_DRAWN = 10  # by lot, from which they tell the traffic's accuracy
POINTS = 80


@dataclass(frozen=True, kw_only=True)
class Course:
    """Labelled answers of a champion.

    Attributes:
        version: its number; None where there is none.
        right: of a classification, whether each was; oldest first. missed: of a regression, by how much.
        traffic: accuracy of the traffic, weighted by the chances of the queue; None where it cannot be told.
    """

    version: int | None
    right: tuple[bool, ...] = ()
    missed: tuple[float, ...] = ()
    traffic: float | None = None


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
    return Course(version=number, right=right, traffic=_traffic(home, task, found))


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
    if told.traffic is not None:
        words += f" Weighted by the chances of the queue, that is {percent(told.traffic)} of the traffic."
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


def _traffic(home: Home, task: Scene, found: Sequence[Answered]) -> float | None:
    chances = home.offers.chances(task.name, task.task_name, [each.example for each in found])
    offered = [each for each in found if each.example in chances]
    if sum(chances[each.example] < 1.0 for each in offered) < LEAST_DRAWN:
        return None
    return weighted_share([each.said == each.truth for each in offered], [chances[each.example] for each in offered])
