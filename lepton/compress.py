"""``compress``: a version in a lower precision or with fewer channels, measured beside its original before it may be
chosen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from core import config
from core.bundle import MODEL, Metric, metrics_of
from core.home import Home, open_home
from core.registry import short
from core.types import Version
from lepton.extra import training
from lepton.output import Stages, as_json, fact, notes, say, show_metrics, table
from lepton.served import served

if TYPE_CHECKING:
    from training.compress import Compressed, Request

JSON = typer.Option(False, "--json", help="Print JSON.")
VERSION = typer.Argument(None, help="A version; the champion where none is named.")
PRECISION = typer.Option("fp32", "--precision", help="fp16 (half the size) or int8 (a quarter, and faster on CPUs).")
PRUNE = typer.Option(0.0, "--prune", help="Share of the channels inside its blocks to take out, such as 0.25.")
DATA = typer.Option(
    None, "--data", help="Labelled data to judge by; without it, leave-one-out on the examples that stand."
)
LABEL = typer.Option(None, "--label", help="Label column of a table.")
FORCE = typer.Option(False, "--force", help="Register it even if it loses more than a point.")
SEED = typer.Option(0, "--seed", help="Seed of draws.")
REFUSED = 3


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("compress")(compress)


def compress(  # noqa: PLR0913, PLR0917 - the command's options
    scene: str,
    version: str = VERSION,
    precision: str = PRECISION,
    prune: float = PRUNE,
    data: Path = DATA,
    label: str = LABEL,
    force: bool = FORCE,
    seed: int = SEED,
    json: bool = JSON,
) -> None:
    """Make and register a smaller version of a version; it serves once it is promoted."""
    if precision == "fp32" and not prune:
        raise typer.BadParameter("nothing was asked for: give --precision int8 (or fp16), --prune 0.25, or both")
    home = open_home(config.load())
    held, chosen, _ = served(home, scene, version)
    road = training("compress")
    request = road.Request(
        scene=held, version=chosen, precision=precision, prune=prune, data=data, label=label, seed=seed
    )
    made = measured(home, request, force=force, json=json)
    new = road.register(home, held, made)
    if json:
        return as_json(told(chosen, made) | {"version": new.version, "number": new.number})
    return fact(
        version=f"{new.version} (number {new.number})",
        champion=f"no; promote it with: lepton promote {scene} {short(new.version)}",
    )


def measured(home: Home, request: Request, *, force: bool, json: bool) -> Compressed:
    """The version that ``request`` asks for, its table printed (not for ``json``); exits with 3 where it loses too
    much."""
    with Stages() as stages:
        made: Compressed = training("compress").compress(home, request, stages)
    version = request.version
    if not json:
        _show(version, made)
    if made.refusals and not force:
        if json:
            as_json(told(version, made) | {"version": None})
        for reason in made.refusals:
            notes.print(f"refused: {reason}; --force takes it all the same", soft_wrap=True)
        raise typer.Exit(REFUSED)
    return made


def told(version: Version, made: Compressed) -> dict[str, Any]:
    """What was measured, as JSON values."""
    figures = {
        name: {"metrics": metrics, "original_metrics": _json(made.original[name])}
        for name, metrics in metrics_of(made.manifest.model_dump(mode="json")).items()
    }
    first = next(iter(figures.values()))
    return {
        "scene": made.manifest.scene,
        "original": version.version,
        "precision": made.manifest.precision,
        **first,
        **({"tasks": figures} if len(figures) > 1 else {}),
        "original_milliseconds": {str(batch): spent for batch, spent in made.milliseconds.items()},
        "bytes": len(made.files[MODEL]),
        "refusals": list(made.refusals),
        **_changes(made),
    }


def _changes(made: Compressed) -> dict[str, Any]:
    """What was done to the model."""
    told: dict[str, Any] = {}
    if made.pruned is not None:
        told |= {"channels": made.pruned.before, "channels_kept": made.pruned.after}
    if made.lowered is not None:
        told |= {"lowered": made.lowered.lowered, "kept_in_float": list(made.lowered.kept)}
        told["likeness_of_features"] = made.lowered.likeness
    return told


def _json(metrics: Mapping[str, Metric]) -> dict[str, Any]:
    return {name: metric.model_dump() for name, metric in metrics.items()}


def _show(version: Version, made: Compressed) -> None:
    precision, costs = made.manifest.precision, made.manifest.metrics
    size, share = len(made.files[MODEL]), costs["share_of_size"].value
    shares = {batch: costs[f"share_of_time_at_batch_{batch}"].value for batch in made.milliseconds}
    first = [f"{spent:.2f}" for spent in made.milliseconds.values()]
    second = [f"{spent * shares[batch]:.2f}" for batch, spent in made.milliseconds.items()]
    made_of = precision if made.pruned is None else f"{precision}, pruned"
    table(
        f"{made.manifest.scene} {short(version.version)} in {made_of}, on one thread",
        ["precision", "MB", *(f"ms each, {batch} at a time" for batch in shares)],
        [["fp32", f"{size / share / 1e6:.1f}", *first], [made_of, f"{size / 1e6:.1f}", *second]],
    )
    for name, metrics in metrics_of(made.manifest.model_dump(mode="json")).items():
        mine = {f"{key}, fp32": metric for key, metric in _json(made.original[name]).items()}
        show_metrics(f"{made.manifest.scene} {name}".strip(), {**mine, **metrics})
    if made.pruned is not None:
        gone = made.pruned.before - made.pruned.after
        say(f"{gone} of {made.pruned.before} channels inside blocks taken out, what reads the others solved anew")
    if made.lowered is None:
        return
    kept = ", ".join(made.lowered.kept)
    say(
        f"{made.lowered.lowered} nodes in {precision}, {len(made.lowered.kept)} kept in float"
        + (f" because they harm most: {kept}" if kept else "")
        + f"; features are {made.lowered.likeness:.4f} like those of fp32 (cosine)"
    )
