"""New scene, the second step: what is in the data, before anything is trained; then how to train, and start."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any

from nicegui import ui

from console import filing, road
from console.contract import Console
from console.health import health, warnings
from console.live import follow, live
from console.pieces import Button, Choice, Field, drawn, notice, row
from core.errors import NotFound
from core.home import Home
from core.job_files import report_of
from core.jobs import ENDED, Job
from core.look.html import Html, named, tag

ROUTE, TITLE, PLACE = "/new/{job}", "What is in the data", None
MAIN = re.compile(r"<main>(.*)</main>", re.DOTALL)
HEAD = re.compile(r"<h1>.*?(?=<h2>|<p>Nothing was found)", re.DOTALL)  # what is told above the report already


async def show(console: Console, job: str) -> None:
    """The look as it goes on; once it is done, its report, and the form by which training starts."""
    home = console.home
    found = await asyncio.to_thread(home.jobs.find, job)
    if found.kind != "inspect":
        raise NotFound(f"job {job[:80]!r} is no look at data", f"see it at /jobs/{job[:80]}")
    drawn(tag("h1", TITLE))
    drawn(
        tag(
            "p",
            "Scene ",
            tag("b", named(found.scene)),
            " · ",
            tag("span", filing.source(home, found)),
            class_="lead",
        )
    )
    await live(console, lambda: warnings(health(home), "trainer"), "clock")

    def going() -> Html:
        now = home.jobs.find(found.id)
        if now.state == "done":
            return Html()
        told = road.stages(now, home.progress.stages(now.id))
        return tag(
            "section", tag("h2", "Looking at the data ", road.state(now)), told, road.outcome(now, ()), class_="panel"
        )

    await live(console, going, "jobs")
    await follow(console, lambda: _ended(home, found.id), lambda now: _done(console, now), "jobs")


def _ended(home: Home, job: str) -> Job | None:
    now = home.jobs.find(job)
    return now if now.state in ENDED else None


async def _done(console: Console, job: Job | None) -> None:
    if job is None:
        return
    if job.state != "done":
        drawn(tag("p", tag("a", "Begin again with other data", href="/new", class_="act")))
        return
    drawn(summary(job.result))
    await _start(console, job)
    report = await asyncio.to_thread(_report, console.home, job)
    drawn(tag("div", report, class_="report"))


async def _start(console: Console, job: Job) -> None:
    with ui.element("section").classes("panel"):
        drawn(tag("h2", "3. Train"))
        backbones = {"auto": "Auto: compare those that are here"}
        backbones |= {str(name): str(name) for name in job.result.get("backbones", ())}
        with row():
            recipe = Choice("How", filing.RECIPES, "auto")
            backbone = Choice("Backbone", backbones, "auto")
            budget = Field(
                "Budget, minutes",
                "5",
                kind="number",
                min="0.1",
                step="any",
                help="For trying backbones and tuning; auto stops early where more does not pay.",
            )
            policy = Choice(
                "Labels that are new later",
                {"reject": "are refused", "accept": "become classes"},
                "reject",
                help="What feedback may bring while the model serves.",
            )

        async def start() -> None:
            filed = await asyncio.to_thread(
                filing.adapt,
                console.home,
                job,
                recipe=recipe.value,
                minutes=budget.value,
                backbone=backbone.value,
                new_labels=policy.value == "accept",
            )
            notice("filed")
            ui.navigate.to(f"/jobs/{filed.id}")

        with row():
            Button("Start training", start, "main")
            drawn(tag("a", "Other data", href="/new", class_="act"))


def summary(told: Mapping[str, Any]) -> Html:
    """The figures of a look."""
    figures = [
        ("inputs seen", f"{told['seen']:,}"),
        ("kept", f"{told['kept']:,}"),
        ("left out", f"{told['dropped']:,}"),
        ("classes", f"{told['classes']:,}") if told["classes"] else ("task", str(told["task"])),
        ("doubtful labels", f"{told['found'].get('label_error', 0):,}"),
    ]
    sides = " · ".join(f"{side} {number:,}" for side, number in told["splits"].items())
    return tag(
        "section",
        tag("dl", *(tag("div", tag("dt", name), tag("dd", value)) for name, value in figures), class_="figures"),
        tag("p", f"{told['modality']} · {told['task']} · {sides}", class_="soft small"),
        tag("p", told.get("remark", ""), class_="soft small") if told.get("remark") else None,
        class_="panel",
    )


def _report(home: Home, job: Job) -> Html:
    """What the look has drawn: a page of our own, in which every name is escaped already."""
    try:
        found = MAIN.search(report_of(home.settings.home, job.id).read_text(encoding="utf-8"))
    except OSError:
        found = None
    if found is None:
        return tag("p", "The drawn report is not here: the trainer that looked has another folder.", class_="soft")
    return Html(HEAD.sub("", found[1], count=1))
