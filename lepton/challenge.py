"""``challenge``: let a version take a copy or a share of the champion's traffic, look how it does, or stop it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, cast

import typer

from core import config
from core.challenges import Challenge, Judge, Mode, check
from core.fall import Bound, bounds
from core.home import Home, open_home
from core.outcomes import Comparison, Measured, compare_all
from core.promotion import challenge as begin
from core.promotion import prepare
from core.registry import short
from lepton.output import Stages, as_json, fact, interval, say


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("challenge")(challenge)


def challenge(
    scene: str,
    version: str | None = typer.Argument(None, help="The challenger; without it, how the running challenge stands."),
    mode: str = typer.Option("shadow", "--mode", help="shadow: a copy of the traffic; split: a share is answered."),
    share: float = typer.Option(1.0, "--share", help="Of the traffic, 0 to 1."),
    judge: str = typer.Option("people", "--judge", help="people, or evidence: promoted or stopped as labels show."),
    stop: bool = typer.Option(False, "--stop", help="End the running challenge."),
    json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Let a version challenge the champion on live traffic."""
    if stop and version is not None:
        raise typer.BadParameter("give a version to begin, or --stop to end")
    home = open_home(config.load())
    home.registry.scene(scene)
    if stop:
        ended = home.challenges.end(scene)
        if json:
            return as_json({"scene": scene, "ended": asdict(ended)})
        return say(f"{scene}: {short(ended.version)} challenges no more")
    if version is None:
        return _tell(home, scene, json)
    held = _begin(home, scene, version, mode, share, judge)
    if json:
        return as_json(asdict(held))
    how = "gets a copy of" if held.mode == "shadow" else "answers"
    return say(f"{scene}: {short(held.version)} {how} {100 * held.share:g} % of the traffic")


def _begin(home: Home, scene: str, version: str, mode: str, share: float, judge: str) -> Challenge:
    check(mode, share, judge)
    chosen = home.registry.version(scene, version)
    with Stages() as stages:
        stages.stage("features for what stands")
        prepare(home, scene, chosen.version, stages.progress)
    generation = home.challenges.generation(scene)
    return begin(
        home,
        scene,
        chosen.version,
        mode=cast("Mode", mode),
        share=share,
        expected_generation=generation,
        judge=cast("Judge", judge),
    )


def _tell(home: Home, scene: str, json: bool) -> None:
    held, champion = home.challenges.of(scene), home.registry.champion(scene)
    asked = bounds(home, scene)
    if held is None or champion is None:
        if json:
            return as_json(None)
        say(f"{scene} has no challenger: lepton challenge {scene} VERSION")
        return _show_bounds(asked)
    compared = compare_all(home, held, champion.version)
    if json:
        first = asdict(next(iter(compared.values())))
        several = {name: {"comparison": asdict(told)} for name, told in compared.items()}
        more: dict[str, Any] = {"tasks": several} if len(several) > 1 else {}
        more["bounds"] = [asdict(bound) for bound in asked]
        return as_json(asdict(held) | {"champion_version": champion.version, "comparison": first} | more)
    fact(
        challenger=f"{short(held.version)}, {held.mode} of {100 * held.share:g} % of the traffic",
        champion=short(champion.version),
        judged_by=held.judge + (", in probation of the champion" if held.probation else ""),
    )
    for name, told in compared.items():
        _show(name, told)
    return _show_bounds(asked)


def _show_bounds(asked: Sequence[Bound]) -> None:
    """Below what the champion's live accuracy must not fall."""
    for bound in asked:
        fact(bound=f"{bound.words}; then {short(bound.former)} comes back")


def _show(task: str, told: Comparison) -> None:
    if task:
        fact(task=task)
    fact(labelled_by_both=told.paired)
    fact(**{f"{told.metric}_of_the_champion": _figure(told.metric, told.champion)})
    fact(**{f"{told.metric}_of_the_challenger": _figure(told.metric, told.challenger)})
    fact(right_alone=f"the challenger {told.wins} times, the champion {told.losses} times")
    if any(told.brought):
        words = f"the challenger {told.brought[0]} times, the champion {told.brought[1]} times"
        fact(the_same_before_by_the_gate=words)
    fact(evidence=", ".join(f"for the {name} {value:.3g}" for name, value in told.evidence.items()) + "; 20 convinces")
    if told.agreement is not None:
        fact(agreement=f"{100 * told.agreement:.1f} %")


def _figure(metric: str, measured: Measured) -> str:
    if measured.value is None:
        return "nothing is labelled yet"
    told: dict[str, Any] = {"value": measured.value, "low": measured.low, "high": measured.high}
    shown = (
        interval(told) if metric == "accuracy" else f"{measured.value:.4g} ({measured.low:.4g} to {measured.high:.4g})"
    )
    return f"{shown} on {measured.count} labelled answers"
