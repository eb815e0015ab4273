"""``retrain``: one cycle now; exit 0 where the version was promoted or challenges, 3 where it was refused.

Nothing new to learn is a refusal, too: nothing changed.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, cast

import typer

from core import config
from core.errors import Conflict
from core.gate import Check
from core.home import Home, open_home
from core.ids import uuid7
from lepton import jobs
from lepton.extra import training
from lepton.models import seconds
from lepton.output import Stages, as_json, fact, say, show_metrics, table
from lepton.tuning import settings_of

if TYPE_CHECKING:
    from training.incremental import Cycle, Request

REFUSED = 3
SETTINGS = typer.Option(None, "--set", help="A setting of the recipe, such as epochs=5; may be given several times.")
BUDGET = typer.Option(None, help="Time for tuning, such as 90s, 5m, 1h; follows the policy where it is not given.")
CHALLENGE = typer.Option(None, help="shadow or split: an accepted version challenges the champion on traffic first.")


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("retrain")(retrain)


def retrain(  # noqa: PLR0913, PLR0917 - the command's options
    scene: str,
    budget: str = BUDGET,
    seed: int = typer.Option(0, help="Seed of draws and of tuning."),
    start: str = typer.Option(None, help="base: from the pretrained weights; champion: from those that serve."),
    recipe: str = typer.Option(None, help="auto; closed_form: no weight moves; finetune …"),
    settings: list[str] = SETTINGS,
    challenge: str = CHALLENGE,
    queue: bool = typer.Option(False, "--queue", help="File it as a job for a trainer instead of doing it now."),
    json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Retrain a scene on the labels that stand, and promote what the gate accepts; exit 3 where it refuses."""
    home = open_home(config.load())
    home.registry.scene(scene)
    asked: dict[str, Any] = {"scene": scene, "budget": None if budget is None else seconds(budget), "seed": seed}
    asked |= {"start": start, "recipe": recipe, "challenge": challenge, "settings": settings_of(settings or [])}
    filing = training("filing")
    request = filing.check("retrain", asked, here=True)
    if queue:
        return jobs.filed(filing.file(home, "retrain", asked), json)
    _alone(home, scene)
    done = _cycle(home, request)
    if json:
        as_json(_told(done))
    else:
        _show(done)
    if done.outcome == "refused":
        raise typer.Exit(REFUSED)
    return None


def _alone(home: Home, scene: str) -> None:
    """Whether no trainer retrains the scene now: two cycles at once take each other's time, and the gate hears one.

    Raises:
        Conflict: one does.
    """
    job = home.jobs.held(scene, "retrain")
    if job is not None:
        short = job.id[-jobs.SHORT :]
        raise Conflict(
            f"job {short} is retraining {scene!r} now: {job.cause or 'it was filed by hand'}",
            f"follow it: lepton job {short} --follow; or end it first: lepton cancel {short}",
        )


def _cycle(home: Home, request: Request) -> Cycle:
    """The cycle in this process, with what it tells kept under a fresh name."""
    run = f"{request.scene}:{uuid7().replace('-', '')}"

    def keep(name: str, step: int, value: float) -> None:
        home.progress.metric(run, name, step, value)

    with Stages(run=run, keep=keep) as stages:
        return cast("Cycle", training("incremental").retrain(home, request, stages))


def _told(done: Cycle) -> dict[str, Any]:
    return {
        "outcome": done.outcome,
        "words": done.words,
        "reasons": list(done.reasons),
        "version": None if done.version is None else done.version.version,
        "number": None if done.version is None else done.version.number,
        "decision": None if done.decision is None else done.decision.id,
        "holdouts": {} if done.decision is None else done.decision.record["holdouts"],
        "checks": [asdict(check) for check in done.checks],
    }


def _show(done: Cycle) -> None:
    if done.checks:
        table("What the gate asked", ["check", "value", "bound", "holds"], [_row(check) for check in done.checks])
    if done.decision is not None:
        held = done.decision.record["holdouts"]
        rows = [
            [name, told["rows"], told["uses"], _percent(told["champion"]), _percent(told["candidate"])]
            for name, told in held.items()
        ]
        table("Examples that judged", ["hold-out", "rows", "used before", "champion", "candidate"], rows)
        fact(decision=done.decision.id)
    if done.version is not None:
        metrics = cast("dict[str, Any]", done.version.manifest["metrics"])
        show_metrics(f"{done.version.scene}: the version on the examples that judged", metrics)
        fact(version=f"{done.version.version} (number {done.version.number})")
    say(f"{done.outcome}: {done.words}")
    for reason in done.reasons:
        if reason != done.words:
            say(f"  {reason}")


def _row(check: Check) -> list[str]:
    value = "not measured" if check.value is None else f"{check.value:.4g}"
    bound = "" if math.isnan(check.bound) else f"{check.bound:.4g}"
    return [check.name, value, bound, "yes" if check.holds else "no"]


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"
