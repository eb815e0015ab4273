"""One job while it goes on: its road with the present stage lit, candidates, curves, the log, and what came of it."""

from __future__ import annotations

import asyncio
import time

from console import filing, road
from console.contract import Console
from console.health import health, warnings
from console.live import follow, live
from console.pieces import Button, confirmed, notice, row
from console.words import ago, took
from core.home import Home
from core.job_files import folder_of, log_of
from core.jobs import ENDED, Job
from core.look.html import Html, joined, named, tag

ROUTE, TITLE, PLACE = "/jobs/{job}", "Job", None
KINDS = {
    "adapt": "Training",
    "inspect": "Looking at data for",
    "fuse": "Fusing versions of",
    "export": "Exporting",
    "retrain": "Retraining",
}


async def show(console: Console, job: str) -> None:
    """Parts that follow the job's rows."""
    home = console.home
    found = await asyncio.to_thread(home.jobs.find, job)

    def needed() -> Html:
        return warnings(health(home), "trainer") if home.jobs.find(found.id).state not in ENDED else Html()

    await live(console, needed, "clock", "jobs")
    await live(console, lambda: head(home, home.jobs.find(found.id), time.time()), "jobs", "clock")
    await follow(console, lambda: home.jobs.find(found.id), lambda now: _controls(console, now), "jobs")
    await live(console, lambda: body(home, found.id), "jobs")
    await live(console, lambda: _log(home, found.id), "jobs", "clock", seconds=2.0)


def head(home: Home, job: Job, now: float) -> Html:
    """What it is."""
    said = {name: value for name, value in job.request.items() if name not in {"scene", "data"}}
    asked = {name: value for name, value in said.items() if value not in (None, [], {}, "")}
    return joined(
        (
            tag("p", tag("a", "Jobs", href="/jobs"), " / ", job.id[-12:], class_="crumbs soft"),
            tag("h1", KINDS.get(job.kind, job.kind), " ", named(job.scene)),
            tag(
                "p",
                road.state(job),
                " filed ",
                ago(job.filed_at, now),
                " · ",
                tag("a", "the scene", href=f"/scenes/{job.scene}/versions"),
                class_="soft",
            ),
            tag("p", filing.source(home, job), class_="soft small") if job.request.get("data") else None,
            tag("p", ", ".join(_asked(name, told) for name, told in asked.items()), class_="soft small"),
            tag("p", f"Because of {job.cause}.", class_="soft small") if job.cause else None,
        )
    )


def _asked(name: str, told: object) -> str:
    """A field of the request in words.

    >>> _asked("budget", 300.0), _asked("new_labels", "accept")
    ('budget 5 min 0 s', 'new labels accept')
    """
    return f"{name.replace('_', ' ')} {took(told) if name == 'budget' and isinstance(told, float) else told}"


def body(home: Home, name: str) -> Html:
    """The road, then what was found on it."""
    job, points = home.jobs.find(name), home.progress.metrics(name)
    regression = "r2" in job.result.get("metrics", {})
    tried, curves = road.table(points, regression), road.curves(points, regression)
    return road.parts(
        road.outcome(job, home.jobs.versions(name)),
        tag("section", tag("h2", "Road"), road.stages(job, home.progress.stages(name)), class_="panel"),
        tag("h2", "Candidates") if tried else None,
        tried,
        road.pareto(points, regression),
        tag("h2", "Learning curves") if curves else None,
        curves,
    )


async def _controls(console: Console, job: Job) -> None:
    if job.state in ENDED or job.cancel_asked:
        return

    async def cancel() -> None:
        words = tag("p", "What it has done so far is left out. It stops within a second or two.")
        if await confirmed("Cancel this job?", words, "Cancel the job", "danger"):
            await asyncio.to_thread(console.home.jobs.cancel, job.id)
            notice("it is being stopped")

    with row():
        Button("Cancel the job", cancel, "danger")


def _log(home: Home, name: str) -> Html:
    job = home.jobs.find(name)
    if not job.attempts:
        return Html()
    words = log_of(folder_of(home.settings.home, job.id, job.attempts))
    attempts = [
        tag(
            "li", f"attempt {each.number} by {each.owner}: {each.outcome}" + (f", {each.reason}" if each.reason else "")
        )
        for each in home.jobs.attempts(job.id)
    ]
    return joined(
        (
            tag("h2", "Log"),
            tag("ul", *attempts, class_="soft small") if len(attempts) > 1 else None,
            tag("section", road.log(words) if words else "Nothing was printed yet.", class_="panel"),
        )
    )
