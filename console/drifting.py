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
PICTURED = 2  # alarms with examples
UNITS = ((2 * 3600.0, 60.0, "minutes"), (3 * 86400.0, 3600.0, "hours"), (float("inf"), 86400.0, "days"))


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
    found: list[Alarm] = []
    for reading in [each for each in told if each.drifted][:ALARMS]:
        began = ends.get((reading.detector, reading.number - 1))
        before: Sequence[Seen] = ()
        after: Sequence[Seen] = ()
        if len(found) < PICTURED:
            before = _answers(home, task, reading.version, upto=began)
            after = _answers(home, task, reading.version, after=began or 0.0, upto=reading.until)
        found.append(Alarm(reading=reading, before=before, after=after))
    return found


def chart(told: Sequence[DriftReading], now: float) -> Html:
    """A line a detector; 1 is its limit."""
    if not told:
        words = "No window of answers was judged yet: the learner does it as soon as one is full."
        return tag("p", words, class_="soft")
    oldest = min(each.at for each in told)
    unit, name = next((unit, name) for most, unit, name in UNITS if now - oldest <= most)
    detectors = sorted({each.detector for each in told})
    drawn = [
        Line(name=detector, points=[((e.at - now) / unit, e.value) for e in reversed(told) if e.detector == detector])
        for detector in detectors
    ]
    first = min(x for line in drawn for x, _ in line.points)
    drawn.append(Line(name="limit", points=[(first, 1.0), (0.0, 1.0)], dashed=True))
    x = Axis(title=f"time, {name} from now")
    y = Axis(title="reading, in times its limit", low=0.0)
    return figure(lines(drawn, x, y), f"{count(len(told), 'reading')} of the champion; above 1 is drift.")


def listed(home: Home, task: Scene, told: Sequence[Alarm], now: float) -> Html:
    """The alarms in words, the newest with examples."""
    if not told:
        return Html()
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
