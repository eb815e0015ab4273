"""All jobs: what runs, what waits, what ended, newest first."""

from __future__ import annotations

import time
from collections.abc import Sequence

from console import road
from console.contract import Console
from console.health import health, warnings
from console.live import live
from console.words import ago, took
from core.home import Home
from core.jobs import ENDED, Job
from core.look.html import Html, joined, named, tag

ROUTE, TITLE, PLACE = "/jobs", "Jobs", 30
MOST = 50


async def show(console: Console) -> None:
    """The list, as it moves."""
    await live(console, lambda: warnings(health(console.home), "trainer"), "clock")
    await live(console, lambda: listed(console.home, None), "jobs", "clock")


def listed(home: Home, scene: str | None) -> Html:
    """Jobs of a scene, or all: those under way above, then those that ended."""
    found = home.jobs.listed(scene, most=MOST)
    under_way = [job for job in found if job.state not in ENDED]
    ended = [job for job in found if job.state in ENDED]
    if not found:
        return tag("p", "Nothing was filed yet. ", tag("a", "Give a scene data", href="/new"), ".", class_="soft")
    return joined(
        (
            tag("div", *(_card(home, job) for job in under_way), class_="jobs") if under_way else None,
            tag("h2", "Ended") if ended and under_way else None,
            _table(home, ended) if ended else None,
        )
    )


def _card(home: Home, job: Job) -> Html:
    told = home.progress.stages(job.id)
    last = told[-1] if told and job.state == "running" else None
    bar = tag("progress", value=f"{last.done / last.total:.3f}", max="1") if last and last.total else None
    return tag(
        "a",
        tag(
            "div", tag("h2", named(job.scene), " ", tag("small", job.kind, class_="soft")), road.state(job), class_="of"
        ),
        tag("p", road.far(job, told), class_="soft"),
        bar,
        href=f"/jobs/{job.id}",
        class_="scene",
    )


def _table(home: Home, ended: Sequence[Job]) -> Html:
    now = time.time()
    rows = [
        tag(
            "tr",
            tag("td", tag("a", job.kind, href=f"/new/{job.id}" if job.kind == "inspect" else f"/jobs/{job.id}")),
            tag("td", named(job.scene)),
            tag("td", road.state(job)),
            tag("td", job.reason[:160]),
            tag("td", took((job.ended_at or now) - job.filed_at), class_="n"),
            tag("td", ago(job.ended_at or now, now), class_="n"),
        )
        for job in ended
    ]
    heads = [
        tag("th", head, class_="n" if place > 3 else None)
        for place, head in enumerate(("kind", "scene", "state", "why", "took", "ended"))
    ]
    return tag("div", tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *rows)), class_="scroll")
