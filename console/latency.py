"""How long requests of a scene took over time, out of what the service tells minute by minute.

Promises a bounded look, and what was counted whether predictions are logged or not. A stretch is no shorter than a
minute; a quantile of it is known to a few per cent. Knows nothing of pages.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from console.flow import BINS, MINUTE
from console.road import figure
from console.timings import MILLI, Timing
from console.words import count
from core.home import Home
from core.latencies import BOUNDS
from core.look.charts import Axis, Line, lines
from core.look.html import Html

SHOWN = (("half within", 0.5), ("99 % within", 0.99))


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """A time with requests.

    Attributes:
        middle: of it, in seconds before the end, negative. seconds: how long it lasted so far.
    """

    middle: float
    seconds: float
    took: Timing


def stretches(home: Home, scene: str, seconds: float, end: float, now: float) -> list[Stretch]:
    """Those of the ``seconds`` before ``end`` in which requests were answered, oldest first."""
    minutes = math.ceil(seconds / BINS / MINUTE)
    width = minutes * MINUTE
    first = int((end - seconds) // width) * minutes  # whole stretches: a minute later they are the same but one
    found = home.latencies.over(scene, first, minutes, math.ceil(seconds / width) + 1)
    made = []
    for number, counts in sorted(found.items()):
        start = first * MINUTE + number * width
        lasted = max(1.0, min(width, now - start))
        made.append(Stretch(middle=min(0.0, start + lasted / 2 - end), seconds=lasted, took=_timing(counts)))
    return [each for each in made if each.middle >= -seconds]


def chart(told: Sequence[Stretch], unit: float, x: Axis) -> Html:
    """The median and the slowest hundredth over time, in units of so many seconds."""
    drawn = [
        Line(name=name, points=[(each.middle / unit, MILLI * (each.took.quantile(share) or 0.0)) for each in told])
        for name, share in SHOWN
    ]
    words = f"{count(requests(told), 'request')} of all workers; a request may hold several inputs."
    return figure(lines(drawn, x, Axis(title="time of a request, ms", log=True)), words)


def rate(told: Sequence[Stretch], unit: float, x: Axis) -> Html:
    """How many there were."""
    line = Line(name="requests", points=[(each.middle / unit, each.took.count / each.seconds) for each in told])
    return figure(lines([line], x, Axis(title="requests a second", low=0.0)), "Requests, as the service counted them.")


def requests(told: Sequence[Stretch]) -> int:
    """How many in all."""
    return sum(each.took.count for each in told)


def _timing(counts: Sequence[int]) -> Timing:
    reached = itertools.accumulate(counts)
    return Timing(name="", upto=tuple(zip((*BOUNDS, math.inf), reached, strict=True)), total=0.0)
