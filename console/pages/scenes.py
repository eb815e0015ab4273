"""The first page: every scene at a glance, and the first step where there is none yet."""

from __future__ import annotations

import time
from collections.abc import Sequence

from console.contract import Console
from console.facts import Facts, facts
from console.live import live
from console.words import count, midnight, percent
from core.look.html import Html, joined, named, tag
from core.look.spark import spark

ROUTE, TITLE, PLACE = "/", "Scenes", 10


async def show(console: Console) -> None:
    """Cards, or how to begin."""

    def draw() -> Html:
        since = midnight(time.time())
        home = console.home
        return page([facts(home, scene, since) for scene in home.registry.scenes()])

    await live(console, draw, "scenes", "labels", "heads", "jobs", "drift", seconds=2.0)


def page(told: list[Facts]) -> Html:
    """The whole of it."""
    if not told:
        return tag(
            "section",
            tag("h2", "No scene yet"),
            tag("p", "A scene is one task in one place: films of a hospital, joints on a line, commands in a home."),
            tag(
                "ol",
                tag("li", "Give it data: a folder of class folders, or a table with a label column."),
                tag("li", "See what is in the data, before anything is trained."),
                tag(
                    "li", "Start. The model serves as soon as it is there, and learns from each label within a second."
                ),
            ),
            tag("p", tag("a", "Make the first scene", href="/new", class_="act main")),
            class_="empty",
        )
    return tag("div", *(card(each) for each in told), class_="scenes")


def card(told: Facts) -> Html:
    """One scene."""
    scene = told.scene
    what = ", ".join(f"{task.task_name} ({task.task})" for task in scene.tasks) if scene.further else scene.task
    return tag(
        "a",
        tag("div", tag("h2", named(scene.name)), _state(told), class_="of"),
        tag(
            "small",
            " · ".join([scene.modality, what, *_sizes(told)]),
            class_="soft",
        ),
        tag(
            "div",
            tag(
                "dl",
                _figure(*_live(told)),
                _figure("labels today", f"{told.today:,}"),
                class_="figures",
            ),
            spark(told.course, "live accuracy over the newest labelled answers", *_range(told.course)),
            class_="of end",
        ),
        tag("footer", tag("span", _champion(told)), tag("span", _drift(told))),
        href=f"/scenes/{scene.name}/versions",
        class_="scene",
    )


def _figure(name: str, value: str) -> Html:
    return tag("div", tag("dt", name), tag("dd", value))


def _range(course: Sequence[float]) -> tuple[float, float]:
    """What a sparkline spans: its values, or a fifth at least, so that noise does not look like news."""
    low, high = min(course, default=0.0), max(course, default=1.0)
    room = max(0.0, 0.2 - (high - low)) / 2
    return low - room, high + room


def _sizes(told: Facts) -> list[str]:
    classes = [count(told.classes, "class", "classes")] if told.scene.task == "classification" else []
    return [*classes, count(told.examples, "example")]


def _live(told: Facts) -> tuple[str, str]:
    name = "live accuracy" if told.scene.task == "classification" else "live squared error"
    if told.live is None:
        return name, "–"
    value = percent(told.live) if told.scene.task == "classification" else f"{told.live:.4g}"
    return f"{name} of {told.counted}", value


def _state(told: Facts) -> Html | None:
    running = [job for job in told.training if job.state == "running"]
    if running:
        return tag("span", "training", class_="chip first")
    if told.training:
        return tag("span", "waits for a trainer", class_="chip")
    return None


def _champion(told: Facts) -> str:
    if told.champion is None:
        return "no version yet"
    return f"version {told.champion.number}, revision {told.revision}"


def _drift(told: Facts) -> Html:
    drifted = [reading for reading in told.drift if reading.drifted]
    if drifted:
        words = "; ".join(reading.words for reading in drifted)
        return tag("span", "drift: ", ", ".join(reading.detector for reading in drifted), title=words, class_="bad")
    return joined(["steady" if told.drift else "drift not judged yet"])
