"""The traffic of a scene: how much, how sure, which answers, how quick; and when it drifted, with examples."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from functools import partial

from console import drifting, latency
from console.asking import metrics
from console.contract import Console
from console.flow import SAMPLED, SPANS, Flow, flow, shares, span_of
from console.health import health, warnings
from console.latency import Stretch, stretches
from console.live import anew, live
from console.pieces import Choice, row
from console.road import figure, parts
from console.timings import draw as draw_timings
from console.timings import timings
from console.words import count
from core.drift import DriftReading
from core.errors import Unavailable
from core.look.charts import Axis, Line, lines
from core.look.html import Html, joined, tag
from core.tasks import task_of

ROUTE, TITLE, PLACE = "/scenes/{scene}/traffic", "Traffic", 40
UNITS = {"600": (60.0, "minutes"), "3600": (60.0, "minutes"), "86400": (3600.0, "hours"), "604800": (86400.0, "days")}
LABELS = 3  # with curves of their own
UNLOGGED = "What was answered is not in the prediction log ([serve] log_predictions), so no more is known of it."


async def show(console: Console, scene: str) -> None:
    """Charts that follow the log, then how long answers take, then drift."""
    home = console.home
    held = await asyncio.to_thread(home.registry.scene, scene)
    asked = {"span": await asyncio.to_thread(span_of, home, scene, time.time()), "task": held.tasks[0].task_name}

    def drawn() -> Html:
        task = task_of(held, asked["task"] or None)
        now, seconds = time.time(), float(asked["span"])
        told = flow(home, task, seconds, now)
        took = stretches(home, scene, seconds, told.end, now)
        return charts(told, took, drifting.readings(home, scene), asked["span"])

    def drifted() -> Html:
        found = drifting.alarms(home, task_of(held, asked["task"] or None), drifting.readings(home, scene))
        return joined((tag("h2", "When it drifted"), drifting.listed(home, held, found, time.time())))

    await live(console, lambda: warnings(health(home), "service"), "clock")
    controls = row()
    await live(console, drawn, "traffic", "drift", "clock", seconds=4.0)

    def change(name: str, value: str) -> None:
        asked[name] = value
        anew()

    with controls:
        Choice("Over the last", SPANS, asked["span"], changed=partial(change, "span"))
        if held.further:
            names = {task.task_name: task.task_name for task in held.tasks}
            Choice("Task", names, asked["task"], changed=partial(change, "task"))
    await live(console, lambda: timed(console.service, scene), "clock", seconds=5.0)
    await live(console, drifted, "drift", "scenes")


def charts(told: Flow, took: Sequence[Stretch], judged: Sequence[DriftReading], span: str) -> Html:
    """How much, how quick, how sure, which answers, and what drift detectors said, over the same time."""
    if not told.answers and not took:
        words = f"Nothing was answered in the last {SPANS[span]}. Ask something on the page Try it, or send a request."
        return tag("section", tag("h2", "No traffic"), tag("p", words), class_="empty")
    unit, name = UNITS[span]
    x = Axis(title=f"time, {name} from now", low=-told.seconds / unit, high=0.0)
    drift, quick = drifting.chart(judged, told.end, unit, x), latency.chart(took, unit, x)
    if told.answers:
        words = f"{count(told.answers, 'answer')} in the last {SPANS[span]}."
        drawn = parts(_rate(told, unit, x), quick, _sure(told, unit, x), _mix(told, unit, x), drift)
    else:
        words = f"{count(latency.requests(took), 'request')} in the last {SPANS[span]}. {UNLOGGED}"
        drawn = parts(latency.rate(took, unit, x), quick, drift)
    return joined((tag("p", words, class_="soft"), tag("div", drawn, class_="charts")))


def timed(service: str, scene: str) -> Html:
    """How long answers take, as the service says; or that it does not."""
    try:
        told = draw_timings(timings(metrics(service), scene))
    except Unavailable as error:
        words = f"{error.message} → {error.remedy}"
        told = tag("p", tag("b", "Not known now: "), words, class_="warning")
    return joined((tag("h2", "How long answers take"), told))


def _rate(told: Flow, unit: float, x: Axis) -> Html:
    line = Line(name="answers", points=[(each.middle / unit, each.rate) for each in told.bins])
    return figure(
        lines([line], x, Axis(title="answers a second", low=0.0)), "Answers, without copies for a challenger."
    )


def _sure(told: Flow, unit: float, x: Axis) -> Html:
    seen = [each for each in told.bins if each.value is not None]
    if seen:
        curves = [
            Line(name="mean", points=[(each.middle / unit, each.value or 0.0) for each in seen]),
            Line(name="least", points=[(each.middle / unit, each.low or 0.0) for each in seen], dashed=True),
            Line(name="largest", points=[(each.middle / unit, each.high or 0.0) for each in seen], dashed=True),
        ]
        return figure(lines(curves, x, Axis(title="answer")), f"Answers, {_LOOKED}.")
    sure = [each for each in told.bins if each.confidence is not None]
    curves = [
        Line(name="confidence", points=[(each.middle / unit, each.confidence or 0.0) for each in sure]),
        Line(name="margin to the second", points=[(each.middle / unit, each.margin or 0.0) for each in sure]),
    ]
    y = Axis(title="mean probability, %", low=0.0, high=1.0, percent=True)
    return figure(lines(curves, x, y), f"How sure the answers are, {_LOOKED}.")


def _mix(told: Flow, unit: float, x: Axis) -> Html | None:
    curves = shares(told, LABELS)
    if not curves:
        return None
    drawn = [Line(name=label, points=[(at / unit, share) for at, share in points]) for label, points in curves.items()]
    y = Axis(title="share of answers, %", low=0.0, high=1.0, percent=True)
    return figure(lines(drawn, x, y), f"Which answers were given, {_LOOKED}.")


_LOOKED = f"of at most {SAMPLED} in each interval"
