"""``fuse``: registered versions become a new one, or the sums of other sites are added to a scene's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import typer

from core import config, plugins
from core.bundle import Fusion, Metric
from core.errors import InvalidInput
from core.home import Home, open_home
from core.registry import short
from core.types import Version
from lepton import jobs
from lepton.extra import training
from lepton.models import seconds
from lepton.output import Stages, as_json, fact, say, show_metrics, table

if TYPE_CHECKING:
    from training.merge.sites import Added
    from training.merge.versions import Fused

METHODS = "training.fuse"
STATISTICS = "statistics"
REFUSED = 3
VERSIONS = typer.Argument(..., metavar="VERSION…", help="Two versions or more; for statistics, files of other sites.")
METHOD = typer.Option("auto", "--method", help="auto, or one of the methods in training/fuse.")
JSON = typer.Option(False, "--json", help="Print JSON.")


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("fuse")(fuse)


def fuse(
    scene: str,
    versions: list[str] = VERSIONS,
    method: str = METHOD,
    seed: int = typer.Option(0, help="Seed of draws."),
    budget: str = typer.Option("5m", help="Time for a method that trains (distill), such as 90s, 5m, 1h."),
    queue: bool = typer.Option(False, "--queue", help="File it as a job for a trainer; statistics are added at once."),
    json: bool = JSON,
) -> None:
    """Fuse versions into a new one, compared with the best of them on the same rows; exit 3 where none is better."""
    check_method(method)
    home = open_home(config.load())
    home.registry.scene(scene)
    if method == STATISTICS:
        sites = training("merge.sites")
        with Stages() as stages:
            added = sites.add(home, scene, versions, stages)
        return _tell_sites(home, added, json)
    road = training("merge.versions")
    request = road.Request(scene=scene, versions=tuple(versions), method=method, seed=seed, budget=seconds(budget))
    if queue:
        return jobs.filed(training("filing").file(home, "fuse", asdict(request)), json)
    with Stages() as stages:
        fused = road.fuse(home, request, stages)
    return _tell(home, scene, fused, json)


def check_method(method: str, *more: str) -> None:
    """Whether a method of that name is there.

    Raises:
        InvalidInput: it is not; the message lists the choices.
    """
    choices = ["auto", *more, *plugins.names(METHODS)]
    if method not in choices:
        raise InvalidInput(f"there is no method of fusion named {method!r}", f"choose {', '.join(choices)}")


def _tell(home: Home, scene: str, fused: Fused, json: bool) -> None:
    fusions = [proposal.fusion for proposal in fused.proposals]
    if json:
        as_json(
            _told(home, fused.version, fused.metrics)
            | {
                "scene": scene,
                "accepted": fused.verdict.accepted,
                "reason": fused.verdict.words,
                "fusions": [fusion.model_dump() for fusion in fusions],
                "skipped": fused.skipped,
                "parity": fused.proposals[0].parity.max_abs if fused.version else None,
            }
        )
    else:
        for fusion in fusions:
            _show(fusion)
        for method, why in fused.skipped.items():
            say(f"{method}: not tried: {why}")
        _show_version(home, fused.version, fused.metrics, fused.verdict.words)
    if not fused.verdict.accepted:
        raise typer.Exit(REFUSED)


def _tell_sites(home: Home, added: Added, json: bool) -> None:
    if json:
        as_json(
            _told(home, added.version, added.metrics)
            | {
                "accepted": added.verdict.accepted,
                "reason": added.verdict.words,
                "fusions": [added.fusion.model_dump()],
                "sites": list(added.sites),
                "examples": added.examples,
            }
        )
    else:
        _show(added.fusion)
        say(f"{added.examples} examples of {len(added.sites) + 1} sites")
        _show_version(home, added.version, added.metrics, added.verdict.words)
    if not added.verdict.accepted:
        raise typer.Exit(REFUSED)


def _told(home: Home, version: Version | None, metrics: Mapping[str, Metric] | None) -> dict[str, Any]:
    if version is None:
        return {"version": None}
    alias = home.registry.champion(version.scene)
    return {
        "version": version.version,
        "number": version.number,
        "champion": alias is not None and alias.version == version.version,
        "alphas": version.manifest["alphas"],
        "metrics": {name: metric.model_dump() for name, metric in (metrics or {}).items()},
    }


def _show(fusion: Fusion) -> None:
    def percent(share: float | None) -> str:
        return "" if share is None else f"{100 * share:.1f} %"

    rows = [[m.name, f"{m.alpha:.4g}", percent(m.alone), percent(m.without)] for m in fusion.members]
    table(
        f"{fusion.method}: {percent(fusion.score)} together, {percent(fusion.best)} the best alone "
        f"({fusion.metric}, {fusion.rows} rows)",
        ["member", "share", "alone", "others without it"],
        rows,
    )


def _show_version(home: Home, version: Version | None, metrics: Mapping[str, Metric] | None, words: str) -> None:
    say(words)
    if version is None:
        say("nothing was registered")
        return
    show_metrics(f"{version.scene}: what was fused", {name: m.model_dump() for name, m in (metrics or {}).items()})
    alias = home.registry.champion(version.scene)
    champion = alias is not None and alias.version == version.version
    fact(
        version=f"{version.version} (number {version.number})",
        champion="yes" if champion else f"no; promote it with: lepton promote {version.scene} {short(version.version)}",
    )
