"""``jobs``, ``job``, ``cancel``: what trainers have to do, how far each is, and what came of it."""

from __future__ import annotations

import math
import time
from dataclasses import asdict
from typing import Any

import typer

from core import config
from core.home import Home, open_home
from core.job_files import folder_of, log_of
from core.jobs import ENDED, Attempt, Job
from lepton.output import Stages, as_json, fact, moment, say, table

JSON = typer.Option(False, "--json", help="Print JSON.")
MOST = typer.Option(50, "--most", min=1, help="Print the newest so many.")
SHORT = 12  # of an id, its last digits: its first are the moment
FOLLOW_SECONDS = 0.5
CURVE = 40  # points of a metric that are printed


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("jobs")(jobs)
    app.command("job")(job)
    app.command("cancel")(cancel)


def jobs(
    scene: str = typer.Option(None, "--scene", help="Only of this scene."), most: int = MOST, json: bool = JSON
) -> None:
    """List jobs, newest first."""
    home = open_home(config.load())
    listed = home.jobs.listed(scene, most=most)
    if json:
        return as_json([asdict(each) for each in listed])
    if not listed:
        return say("there are no jobs; file one with: lepton adapt SCENE DATA --queue")
    rows = [
        [each.id[-SHORT:], each.kind, each.scene, each.state, _far(home, each), moment(each.filed_at), each.reason]
        for each in listed
    ]
    return table("Jobs", ["job", "kind", "scene", "state", "how far", "filed", "why"], rows)


def job(
    name: str = typer.Argument(..., help="Its id, or its last digits."),
    follow: bool = typer.Option(False, "--follow", help="Show how it goes on until it ends; exit 1 where it fails."),
    log: bool = typer.Option(False, "--log", help="Print what its last attempt printed."),
    json: bool = JSON,
) -> None:
    """Show one job: its request, its attempts, its stages and metrics, its result."""
    home = open_home(config.load())
    found = home.jobs.find(name)
    if log:
        return say(log_of(folder_of(home.settings.home, found.id, found.attempts)))
    if follow:
        found = _follow(home, found)
    if json:
        as_json(_all_of(home, found))
    else:
        _show(home, found)
    if follow and found.state != "done":
        raise typer.Exit(1)
    return None


def cancel(name: str = typer.Argument(..., help="The job's id, or its last digits."), json: bool = JSON) -> None:
    """Cancel a job: at once where it waits, within a second or two where it runs."""
    done = open_home(config.load()).jobs.cancel(name)
    if json:
        return as_json(asdict(done))
    return say(f"job {done.id} is {'cancelled' if done.state == 'cancelled' else 'being stopped'}")


def filed(job: Job, json: bool) -> None:
    """Tell that a job was filed."""
    if json:
        return as_json(asdict(job))
    say(f"filed job {job.id}: a trainer takes it (lepton trainer, or lepton up)")
    return say(f"see how far it is: lepton job {job.id[-SHORT:]} --follow")


def _follow(home: Home, job: Job) -> Job:
    """Stages and metrics as they come, until the job has ended."""
    shown, seen, attempt = 0, 0, job.attempts
    with Stages() as stages:
        while True:
            job = home.jobs.find(job.id)
            if job.attempts != attempt:
                shown, attempt = 0, job.attempts
            told = home.progress.stages(job.id)
            for place, stage in enumerate(told):
                if place >= shown:
                    stages.stage(stage.title)
                if place >= shown - 1 and stage.total:
                    stages.progress(stage.done, stage.total)
            shown = len(told)
            for point in home.progress.metrics(job.id, seen):
                stages.metric(point.name, point.step, math.nan if point.value is None else point.value)
                seen = point.id
            if job.state in ENDED:
                return job
            time.sleep(FOLLOW_SECONDS)


def _far(home: Home, job: Job) -> str:
    """The present stage in words, of a job that runs."""
    stages = home.progress.stages(job.id) if job.state == "running" else []
    if job.state == "running" and job.cancel_asked:
        return "being stopped"
    if not stages:
        return f"attempt {job.attempts} of {job.most_attempts}" if job.attempts else ""
    counted = f" ({stages[-1].done} of {stages[-1].total})" if stages[-1].total else ""
    return stages[-1].title + counted


def _all_of(home: Home, job: Job) -> dict[str, Any]:
    return asdict(job) | {
        "versions": home.jobs.versions(job.id),
        "attempted": [asdict(attempt) for attempt in home.jobs.attempts(job.id)],
        "stages": [asdict(stage) for stage in home.progress.stages(job.id)],
        "metrics": [asdict(point) for point in home.progress.metrics(job.id)],
    }


def _show(home: Home, job: Job) -> None:
    fact(job=job.id, kind=job.kind, scene=job.scene, state=job.state, filed=moment(job.filed_at))
    told = {"why": job.reason, "cause": job.cause} | dict(job.result)
    fact(**{name: value for name, value in told.items() if value})
    say("request: " + ", ".join(f"{name} {value}" for name, value in job.request.items() if value))
    attempts = [
        [each.number, each.owner, moment(each.began_at), each.outcome, _took(each), each.reason]
        for each in home.jobs.attempts(job.id)
    ]
    stages = [[each.title, each.done if each.total else "", each.total] for each in home.progress.stages(job.id)]
    points = [
        [each.name, each.step, "" if each.value is None else f"{each.value:.4g}"]
        for each in home.progress.metrics(job.id)[-CURVE:]
    ]
    for title, columns, rows in (
        ("Attempts", ["attempt", "trainer", "began", "outcome", "took", "why"], attempts),
        ("Stages of the last attempt", ["stage", "done", "of"], stages),
        ("Metrics of the last attempt", ["metric", "step", "value"], points),
    ):
        if rows:
            table(title, columns, rows)


def _took(attempt: Attempt) -> str:
    return "" if attempt.ended_at is None else f"{attempt.ended_at - attempt.began_at:.1f} s"
