"""Try it: one input, the answer of the service, and what it should have been."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from nicegui import ui

from console import shown
from console.asking import Answer, Answered, predict, teach
from console.contract import Console
from console.health import health, warnings
from console.inputs import form, meant
from console.learned import fate
from console.live import follow, live
from console.pieces import Button, Choice, Field, drawn, notice, row
from console.words import percent
from core import schema
from core.bundle import checked
from core.home import Home
from core.look.html import Html, joined, named, tag
from core.outcomes import Said
from core.types import Scene

ROUTE, TITLE, PLACE = "/scenes/{scene}/try", "Try it", 10


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What a scene takes now: its champion, None where there is none; of a table, its columns."""

    scene: Scene
    version: str | None
    number: int
    schema: schema.Schema | None


async def show(console: Console, scene: str) -> None:
    """The form follows the champion, the answer what is asked."""
    home = console.home
    await asyncio.to_thread(home.registry.scene, scene)
    await live(console, lambda: warnings(health(home), "service"), "clock")
    await follow(console, partial(taken, home, scene), partial(_put, console), "scenes")


def taken(home: Home, scene: str) -> Taken:
    """Look now."""
    held, alias = home.registry.scene(scene), home.registry.champion(scene)
    if alias is None:
        return Taken(scene=held, version=None, number=0, schema=None)
    version = home.registry.version(scene, alias.version)
    files = version.manifest.get("files")
    digest = files.get(schema.FILE) if isinstance(files, dict) else None
    columns = None
    if digest is not None:
        columns = schema.from_bytes(checked(home.artifacts.bundle(version.version), schema.FILE, str(digest)))
    return Taken(scene=held, version=version.version, number=version.number, schema=columns)


async def _put(console: Console, held: Taken) -> None:
    if held.version is None:
        words = "There is nothing to try yet. The first version appears here as soon as a training has ended."
        drawn(tag("section", tag("h2", "No version yet"), tag("p", words), class_="empty"))
        return

    async def ask() -> None:
        instance = given.instance()
        answered = await predict(console.service, held.scene, instance)
        place.clear()
        with place:
            await _answered(console, held, instance, answered)

    with ui.element("div").classes("two"):
        with ui.element("section").classes("panel"):
            drawn(tag("h2", "Give it something"))
            given = form(console, held.scene.modality, held.schema, ask)
            with row():
                Button("Ask", ask, "main")
        with ui.element("section").classes("panel").props('aria-live="polite"') as place:
            drawn(joined((tag("h2", "Answer"), tag("p", "It appears here.", class_="soft"))))


async def _answered(console: Console, held: Taken, instance: Mapping[str, Any], told: Answered) -> None:
    drawn(joined((tag("h2", "Answer"), odd(told.flags))))
    tasks = {task.task_name: task for task in held.scene.tasks}
    for answer in told.answers:
        drawn(verdict(answer))
        await _teaching(console, tasks[answer.task], instance, told, answer)
    drawn(source(held, told))


async def _teaching(console: Console, task: Scene, instance: Mapping[str, Any], told: Answered, answer: Answer) -> None:
    """What it should have been."""

    async def say(said: Said) -> None:
        event = await teach(console.service, task, told, instance, said)
        place.clear()
        with place:
            drawn(tag("p", "It is told: ", tag("b", named(said if isinstance(said, str) else f"{said:g}"))))
            await live(console, partial(fate, console.home, task.name, event), "labels", "heads", seconds=0.3)
        notice("thank you, it is kept")

    async def right() -> None:
        await say(answer.label if answer.label is not None else float(answer.value or 0.0))

    async def wrong() -> None:
        await say(meant(task, field.value))

    with ui.element("div").classes("teaching") as place, row():
        field = _word(task, answer)
        Button("Teach it", wrong)
        if answer.label is not None:
            Button("It was right", right)


def verdict(answer: Answer) -> Html:
    """The answer for one task."""
    if answer.value is not None:
        said = tag("p", f"{answer.value:.4g}", class_="verdict")
    else:
        best = answer.chances.get(answer.label or "")
        sure = tag("small", f" {percent(best)}", class_="soft") if best is not None else None
        said = tag("p", named(answer.label), sure, class_="verdict")
    lacking = "No label stands: the version's own head answered." if answer.fallback else None
    return joined(
        (
            tag("h3", named(answer.task)) if answer.task else None,
            said,
            shown.chances(answer.chances, answer.label) if answer.chances else None,
            tag("p", lacking, class_="soft small") if lacking else None,
        )
    )


def odd(flags: Mapping[str, tuple[str, ...]]) -> Html | None:
    """What was out of the ordinary in the input."""
    if not flags:
        return None
    lines = [
        tag("div", tag("b", flag.replace("_", " ")), ": " if fields else "", *_listed(fields))
        for flag, fields in flags.items()
    ]
    return tag("div", "Out of the ordinary in what you gave", *lines, class_="warning")


def source(held: Taken, told: Answered) -> Html:
    """Who answered, and how quickly."""
    number = f"version {held.number}" if told.version == held.version else f"version {told.version[:12]}"
    link = tag("a", number, href=f"/scenes/{held.scene.name}/versions/{told.version}")
    worker = f" · worker {told.worker}" if told.worker else ""
    words = f", revision {told.revision} · {1000 * told.seconds:.0f} ms from asking to the answer{worker}"
    return tag("p", link, words, class_="soft small")


def _word(task: Scene, answer: Answer) -> Choice | Field:
    """Where the right answer is put in."""
    if task.task == "regression":
        return Field("That was wrong: it is", kind="number", step="any")
    if task.new_labels == "accept":
        return Field("That was wrong: it is", help="A label that is new is learned, too.", dir="auto", maxlength=1000)
    labels = dict.fromkeys([*task.labels, *answer.chances])
    other = next((label for label in answer.chances if label != answer.label), answer.label or "")
    return Choice("That was wrong: it is", {label: label[:80] for label in labels}, other)


def _listed(fields: tuple[str, ...]) -> list[Html | str]:
    named_fields: list[Html | str] = []
    for place, field in enumerate(fields[:20]):
        named_fields += [", "] * bool(place) + [named(field)]
    return named_fields + [f" and {len(fields) - 20} more"] * (len(fields) > 20)
