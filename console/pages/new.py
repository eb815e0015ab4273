"""New scene, the first step: what it is called, and its data, handed over or named."""

from __future__ import annotations

import asyncio
from pathlib import Path

from nicegui import ui
from nicegui.events import GenericEventArguments

from console import filing
from console.contract import Console
from console.health import health, warnings
from console.live import live
from console.pieces import Button, Field, drawn, notice, row
from core.errors import InvalidInput
from core.ids import check_scene
from core.look.html import Html, tag
from core.types import Scene

ROUTE, TITLE, PLACE = "/new", "New scene", 20


async def show(console: Console) -> None:
    """The form."""
    uploads, held = console.uploads, {"name": "", "words": ""}
    held["name"] = await asyncio.to_thread(uploads.begin)
    ui.context.client.on_delete(lambda: asyncio.to_thread(_left, console, held["name"]))
    drawn(
        tag("p", "Give it a name and data. Nothing is trained yet: you see first what is in the data.", class_="lead")
    )
    await live(console, lambda: warnings(health(console.home), "trainer"), "clock")
    with ui.element("section").classes("panel"):
        drawn(tag("h2", "1. What is it called?"))
        name = Field(
            "Name of the scene",
            help="Small letters, digits, - and _. The name of a scene that is there trains that one on.",
            placeholder="ward-b",
            autocomplete="off",
            spellcheck="false",
        )
        drawn(_known(console.home.registry.scenes()))
    with ui.element("section").classes("panel"):
        drawn(tag("h2", "2. Where are the data?"))
        drawn(
            tag(
                "p",
                "A folder with a folder for each class; or a table (CSV, JSON lines, Parquet) with a label column "
                "and the files that it names. As they are, or in one zip.",
                class_="soft",
            )
        )
        with ui.element("div").classes("two"):
            _place(held["name"], "Drop files, a folder or a zip here", "or press to choose files", held)
            _place(held["name"], "Choose a folder", "with all that is in it", held, folder=True)
        with row():
            path = Field(
                "or name a path on this machine", placeholder="/data/films", autocomplete="off", spellcheck="false"
            )
            label = Field("Label column of a table", placeholder="label", help="Several, with commas: a task each.")

    async def look() -> None:
        check_scene(name.value)
        if path.value.strip():
            data = Path(path.value.strip())
        elif held["words"]:
            data = await asyncio.to_thread(uploads.close, held["name"])
        else:
            raise InvalidInput("there are no data yet", "drop them above, or name a path")
        job = await asyncio.to_thread(filing.inspect, console.home, name.value, data, label.value)
        held["filed"] = job.id
        ui.navigate.to(f"/new/{job.id}")

    with row():
        Button("Look at the data", look, "main")


def _place(name: str, first: str, second: str, held: dict[str, str], *, folder: bool = False) -> None:
    """Where files are dropped or chosen."""
    with ui.element("label").classes("drop") as place:
        place.props["data-to"] = f"/uploads/{name}"
        words = drawn(tag("span", tag("b", first), tag("br"), second))
        chooser = ui.element("input")
        chooser.props["type"] = "file"
        chooser.props["multiple"] = True
        chooser.props["aria-label"] = first
        if folder:
            chooser.props["webkitdirectory"] = True
        bar = ui.element("progress")
        bar.props["hidden"] = True

    def sent(event: GenericEventArguments) -> None:
        told = event.args["detail"]
        if told["refused"]:
            notice(str(told["refused"]), bad=True)
            return
        held["words"] = f"{int(told['count']):,} received"
        words.content = tag("span", tag("b", held["words"]), tag("br"), str(told["first"])[:80])

    place.on("sent", sent, args=["detail"])


def _known(scenes: list[Scene]) -> Html:
    if not scenes:
        return Html()
    return tag("p", "There are: " + ", ".join(scene.name for scene in scenes[:20]), class_="soft small")


def _left(console: Console, name: str) -> None:
    """What was uploaded and not used goes with the page; what a job names stays."""
    used = any(name in str(job.request.get("data", "")) for job in console.home.jobs.listed(most=200))
    if not used:
        console.uploads.drop(name)
