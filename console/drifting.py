"""What drift detectors said of a version, as a chart and in words, with answers from before and after each alarm.

Promises the readings that the learner wrote, and answers from the very windows that they judged, as far as the log
still holds them. Knows nothing of detectors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from console import shown
from console.flow import TOLD, said_of
from console.road import figure
from console.words import ago, count, percent
from core.database import predictions
from core.drift import DriftReading
from core.home import Home
from core.look.charts import Axis, Line, lines
from core.look.html import Html, joined, named, tag
from core.types import Reply, Scene

READINGS = 400  # the newest that are looked at
ALARMS = 8  # that are told
EXAMPLES = 4  # from before and from after
PICTURED = 2  # windows with examples
NOTHING = "No window of answers was judged in this time: the learner does it as soon as one is full."


@dataclass(frozen=True, kw_only=True)
class Seen:
    """An answer from a window: its example, and what was said."""

    example: str
    said: Reply


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """A reading above its limit, and answers from before its window and from inside it."""

    reading: DriftReading
    before: Sequence[Seen]
    after: Sequence[Seen]


def readings(home: Home, scene: str) -> list[DriftReading]:
    """Of the champion, newest first."""
    alias = home.registry.champion(scene)
    return [] if alias is None else home.drift.of(scene, alias.version, READINGS)


def alarms(home: Home, task: Scene, told: Sequence[DriftReading]) -> list[Alarm]:
    """The newest readings above their limits."""
    ends = {(each.detector, each.number): each.until for each in told}
    found, pictured = list[Alarm](), set[float]()
    for reading in [each for each in told if each.drifted][:ALARMS]:
        began = ends.get((reading.detector, reading.number - 1))
        before: Sequence[Seen] = ()
        after: Sequence[Seen] = ()
        if len(pictured) < PICTURED and reading.until not in pictured:
            pictured.add(reading.until)
            before = _answers(home, task, reading.version, upto=began)
            after = _answers(home, task, reading.version, after=began or 0.0, upto=reading.until)
        found.append(Alarm(reading=reading, before=before, after=after))
    return found


def chart(told: Sequence[DriftReading], end: float, unit: float, x: Axis) -> Html:
    """A line a detector, over the time before ``end`` in units of so many seconds; 1 is its limit."""
    seen = [each for each in reversed(told) if x.low is not None and (each.at - end) / unit >= x.low]
    drawn = [
        Line(name=name, points=[((each.at - end) / unit, each.value) for each in seen if each.detector == name])
        for name in sorted({each.detector for each in seen})
    ]
    if drawn:
        drawn.append(Line(name="limit", points=[(x.low or 0.0, 1.0), (0.0, 1.0)], dashed=True))
    words = f"{count(len(seen), 'reading')} of the champion; above 1 is drift." if seen else NOTHING
    return figure(lines(drawn, x, Axis(title="drift, in times its limit", low=0.0)), words)


def listed(home: Home, task: Scene, told: Sequence[Alarm], now: float) -> Html:
    """The alarms in words, the newest with examples."""
    if not told:
        return tag("p", "No detector has alarmed for the champion.", class_="soft")
    return tag("ol", *(_alarm(home, task, each, now) for each in told), class_="history")


def answer(said: Reply) -> Html:
    """What was said, in a line."""
    if said.value is not None:
        return tag("span", f"{said.value:.4g}")
    return joined((named(said.label, 30), " ", tag("small", percent(said.confidence), class_="soft")))


def _alarm(home: Home, task: Scene, told: Alarm, now: float) -> Html:
    reading = told.reading
    groups = [
        tag("div", tag("h4", title), tag("div", *(_card(home, task, each) for each in seen), class_="thumbs"))
        for title, seen in (("before", told.before), ("in the window that alarmed", told.after))
        if seen
    ]
    return tag(
        "li",
        ago(reading.at, now),
        tag(
            "div",
            tag("b", reading.detector),
            f" at {reading.value:.2f} times its limit: {reading.words}",
            tag("div", *groups, class_="two apart") if groups else None,
        ),
    )


def _card(home: Home, task: Scene, seen: Seen) -> Html:
    return tag(
        "figure",
        shown.kept(home, task.modality, seen.example, brief=True),
        tag("figcaption", answer(seen.said)),
        class_="thumb",
    )


def _answers(home: Home, task: Scene, version: str, *, after: float = 0.0, upto: float | None) -> list[Seen]:
    """The newest answers of a version up to a moment; its first ones where none is given."""
    at = predictions.c.created_at
    here = (predictions.c.scene == task.name) & (predictions.c.version == version) & (predictions.c.role == "champion")
    here &= at > after
    order = at if upto is None else at.desc()
    rows = sa.select(predictions.c.example, *TOLD)
    rows = rows.where(here if upto is None else here & (at <= upto)).order_by(order).limit(5 * EXAMPLES)
    with home.predictions.database.read() as connection:
        found: Mapping[str, Seen] = {
            row.example: Seen(example=row.example, said=said_of(row, task.task_name))
            for row in connection.execute(rows)
        }
    return list(found.values())[:EXAMPLES]
