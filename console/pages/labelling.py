"""Labelling: one input after the other, the curve that moves with each label, and files of labels out and in."""

from __future__ import annotations

import asyncio
import time
from functools import partial

import sqlalchemy as sa
from nicegui import background_tasks, ui
from nicegui.elements.mixins.text_element import TextElement

from console import shown
from console.bench import Bench
from console.contract import Console
from console.course import chart, course
from console.desk import Desk
from console.drops import drop
from console.health import health, warnings
from console.learned import fate, newest
from console.live import anew, follow, live
from console.pieces import Choice, Field, drawn, notice, row
from console.words import ago
from core import label_studio
from core.database import predictions
from core.errors import InvalidInput
from core.home import Home
from core.label_files import Said, from_csv
from core.label_import import take_in
from core.look.html import Html, joined, named, tag
from core.tasks import task_of
from core.types import Scene

ROUTE, TITLE, PLACE = "/scenes/{scene}/label", "Labelling", 30
STRATEGIES = {
    "margin": "The doubtful first",
    "diverse": "The doubtful, of different kinds",
    "disagreement": "Where models disagree",
    "random": "By lot",
}
NEWEST = 6
LARGEST = 64 * 2**20  # bytes of a file of labels


async def show(console: Console, scene: str) -> None:
    """The bench, with what came of the labels beside and below it."""
    home = console.home
    held = await asyncio.to_thread(home.registry.scene, scene)
    first = held.tasks[0]
    desk = Desk(home, first, "margin" if first.task == "classification" else "random")
    await live(console, lambda: warnings(health(home), "learner"), "clock")
    controls = row()
    bench = Bench(console, desk)
    _controls(controls, held, desk, bench)
    await bench.turn()

    async def woken(moment: float | None) -> None:
        if bench.idle and moment is not None:
            await bench.turn()

    await follow(console, partial(_last, home, scene), woken, "traffic", seconds=2.0)
    with ui.element("div").classes("two"):
        await live(console, lambda: curve(home, desk.task), "labels", "heads", "scenes")
        await live(console, lambda: said(home, desk.task, time.time()), "labels", "heads", "clock", seconds=0.5)
    _files(console, held, desk)


def curve(home: Home, task: Scene) -> Html:
    """How well answers were, label by label."""
    return joined(
        (tag("h2", "Live accuracy" if task.task == "classification" else "Live error"), chart(course(home, task)))
    )


def said(home: Home, task: Scene, now: float) -> Html:
    """The newest labels, and the revision that includes each."""
    told = newest(home, task.name, task.task_name, NEWEST)
    lines = [
        tag(
            "li",
            tag("div", shown.kept(home, task.modality, each.example, brief=True), class_="thumb"),
            tag(
                "div",
                tag("b", named(each.said)),
                joined((" by ", named(each.annotator, 30))) if each.annotator else None,
                tag("br"),
                tag("small", ago(each.at, now), " · ", fate(home, task.name, each.event_id)),
            ),
        )
        for each in told
    ]
    list_ = (
        tag("ol", *lines, class_="newest") if lines else tag("p", "Nobody has labelled an answer yet.", class_="soft")
    )
    return joined((tag("h2", "Newest labels"), list_))


def read(task: Scene, name: str, data: bytes) -> list[Said]:
    """The labels of a file.

    Raises:
        InvalidInput: it is no file of labels.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{name[:80]!r} is not UTF-8 at byte {error.start}", "save it as UTF-8") from None
    return from_csv(text) if name.lower().endswith(".csv") else label_studio.read(task, text)


def _controls(place: ui.element, held: Scene, desk: Desk, bench: Bench) -> None:
    """Which task, in which order, and who signs."""
    chosen = {"task": held.tasks[0].task_name, "strategy": desk.strategy}

    def change(name: str, value: str) -> None:
        chosen[name] = value
        task = task_of(held, chosen["task"] or None)
        desk.turn(task, chosen["strategy"] if task.task == "classification" else "random")
        background_tasks.create(bench.turn())
        anew()

    def sign(value: str) -> None:
        bench.annotator = value

    with place:
        if held.further:
            names = {task.task_name: task.task_name for task in held.tasks}
            Choice("Task", names, chosen["task"], changed=partial(change, "task"))
        if any(task.task == "classification" for task in held.tasks):
            Choice("Order", STRATEGIES, chosen["strategy"], changed=partial(change, "strategy"))
        Field("Signed by", help="Your name beside your labels; may be left out.", maxlength=200, changed=sign)


def _files(console: Console, held: Scene, desk: Desk) -> None:
    async def take(name: str, data: bytes) -> None:
        told = await asyncio.to_thread(read, desk.task, name, data)
        counts = await asyncio.to_thread(take_in, console.home, desk.task, told)
        notice(", ".join(f"{number:,} {what}" for what, number in counts.items()))

    with ui.element("details").classes("panel"):
        TextElement(tag="summary", text="Labels as files, out and in")
        drawn(joined(_links(held, task) for task in held.tasks))
        words = "Label Studio JSON or CSV, as they are written here. A file that comes twice counts once."
        drop(console, "Drop a file of labels here", words, ".csv,.json", LARGEST, take)


def _links(held: Scene, task: Scene) -> Html:
    asked = f"?task={task.task_name}" if held.further else ""
    href = f"/scenes/{held.name}/labels"
    return tag(
        "p",
        tag("b", f"{task.task_name}: ") if held.further else None,
        tag("a", "Download as CSV", href=f"{href}.csv{asked}", download=True, class_="act"),
        " ",
        tag("a", "Download for Label Studio", href=f"{href}.json{asked}", download=True, class_="act"),
    )


def _last(home: Home, scene: str) -> float | None:
    """When the newest answer was given."""
    newest_one = sa.select(sa.func.max(predictions.c.created_at)).where(predictions.c.scene == scene)
    with home.predictions.database.read() as connection:
        return connection.execute(newest_one).scalar()
