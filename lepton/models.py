"""``adapt``, ``export``, ``backbones``: models made and taken away."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from core import config
from core import export as exporting
from core.bundle import metrics_of, read, write
from core.errors import Conflict, InvalidInput
from core.home import Home, open_home
from core.ids import check_scene
from core.registry import short
from core.types import Version
from lepton import jobs
from lepton.compress import measured
from lepton.extra import training
from lepton.output import as_json, fact, say, show_metrics, table
from lepton.shown import show_transfer, transfer_json
from lepton.tuning import adapted, attempt_json, explored_json, settings_of, show_attempt, show_explored

if TYPE_CHECKING:
    from training.pipeline import Adapted

JSON = typer.Option(False, "--json", help="Print JSON.")
BACKBONES = typer.Option(["auto"], help="auto, or one or more names of lepton backbones to compare.")
RECIPE = typer.Option("auto", help="auto: by evidence, within the budget; search; closed_form: none moves; finetune …")
SETTINGS = typer.Option(None, "--set", help="A setting of the recipe, such as epochs=5; may be given several times.")
REWRITER = typer.Option(None, help="MODULE:FUNCTION that says a text in other words, such as a back-translation.")
OUT = typer.Option(..., "--out", help="A folder that is not there yet, or is empty.")
DATA = typer.Argument(None, help="A folder of class folders, or a table (CSV, JSON lines, Parquet).")
LABEL = typer.Option(None, "--label", help="Label column of a table; several make a task each. Default: label.")
TASK = typer.Option(["auto"], "--task", help="auto, classification or regression; of one among several: NAME=KIND.")
PRECISION = typer.Option(None, "--precision", help="fp16 or int8: measured first, as by lepton compress.")
FORCE = typer.Option(False, "--force", help="Export it even if it loses more than a point.")
UNLABELLED = typer.Option(None, "--unlabelled", help="Inputs without labels of the scene that is to be served.")
VALIDATE = typer.Option(None, "--validate", help="With --unlabelled: some labelled inputs of that scene, to judge by.")
LABELS = typer.Option(None, "--labels", help="Instead of DATA: a file of labels in words, a line each.")
PROMPTS = typer.Option(None, "--prompt", help="What --labels are put in, such as 'a film of {label}'; several times.")
DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>s|m|h)?")
SECONDS = {None: 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("adapt")(adapt)
    app.command("export")(export)
    app.command("backbones")(list_backbones)


def adapt(  # noqa: PLR0913, PLR0917 - the command's options
    scene: str,
    data: Path = DATA,
    labels: Path = LABELS,
    prompt: list[str] = PROMPTS,
    modality: str = typer.Option("auto", help="auto, image, text, audio or tabular; auto follows files or columns."),
    label: list[str] = LABEL,
    task: list[str] = TASK,
    backbone: list[str] = BACKBONES,
    recipe: str = RECIPE,
    settings: list[str] = SETTINGS,
    rewriter: str = REWRITER,
    fuse: str = typer.Option("auto", help="auto, none, features or logits: how the backbones compared are fused."),
    transform: str = typer.Option("auto", help="Feature transform: auto (the backbone's), sqrt_l2, l2, standardised."),
    new_labels: str = typer.Option(None, help="Labels unknown so far: reject (the default of a new scene) or accept."),
    unlabelled: Path = UNLABELLED,
    validate: Path = VALIDATE,
    size: int = typer.Option(None, help="Side of the pictures in pixels; follows the data where it is not given."),
    budget: str = typer.Option("5m", help="Time for trying backbones and for tuning, such as 90s, 5m, 1h."),
    seed: int = typer.Option(0, help="Seed of splits and draws."),
    queue: bool = typer.Option(False, "--queue", help="File it as a job for a trainer instead of doing it now."),
    json: bool = JSON,
) -> None:
    """Go the whole road from a folder or a table (CSV, JSONL, Parquet) to a registered version."""
    _one_of("transform", transform, ["auto", "sqrt_l2", "l2", "standardised", "as_is"])
    if new_labels is not None:
        _one_of("new-labels", new_labels, ["reject", "accept"])
    pipeline = training("pipeline")
    home = open_home(config.load())
    request = pipeline.Request(
        scene=check_scene(scene),
        data=data,
        names=labels,
        prompts=tuple(prompt or ()),
        label=label,
        modality=None if modality == "auto" else modality,
        task=_kinds(task),
        backbones=() if backbone == ["auto"] else tuple(backbone),
        recipe=recipe,
        settings=settings_of(settings or []),
        rewriter=rewriter,
        transform=None if transform == "auto" else transform,
        budget=seconds(budget),
        size=size,
        seed=seed,
        unlabelled=unlabelled,
        validate=validate,
        new_labels=new_labels,
        fuse=fuse,
    )
    if queue:
        return jobs.filed(training("filing").file(home, "adapt", _from_root(request)), json)
    done = adapted(home, request)
    if done is None:
        return None
    return as_json(_adapted_json(home, done)) if json else _show_adapted(home, done)


def export(
    scene: str,
    version: str = typer.Argument(None),
    out: Path = OUT,
    precision: str = PRECISION,
    force: bool = FORCE,
    statistics: bool = typer.Option(False, "--statistics", help="Write the head's sufficient statistics, too."),
    json: bool = JSON,
) -> None:
    """Copy a version's bundle to a folder, every digest checked; in a lower precision where one is asked for."""
    home = open_home(config.load())
    chosen = exporting.champion_or(home, scene, version)
    if precision in {None, chosen.manifest["precision"]}:
        done = exporting.export(home, scene, version, out, statistics)
    else:
        done = _compressed(home, chosen, precision or "", out, statistics, force=force, json=json)
    if json:
        return as_json({"scene": scene} | asdict(done))
    return say(f"{scene} {short(done.version)} is in {out} ({done.bytes / 1e6:.1f} MB), every digest checked")


def list_backbones(modality: str = typer.Option(None, help="Only this modality."), json: bool = JSON) -> None:
    """List the pretrained models that can be adapted."""
    rows = training("zoo").available(modality)
    if json:
        return as_json([asdict(row) for row in rows])
    return table(
        "Backbones (any other: timm:NAME, transformers:NAME, layers:NAME of these, onnx_file:PATH)",
        ["name", "modality", "features", "parameters", "licence", "source", "offline"],
        [
            [r.name, r.modality, r.dimension, f"{r.parameters:,}", r.licence, r.source, "yes" if r.offline else "no"]
            for r in rows
        ],
    )


def _compressed(
    home: Home, chosen: Version, precision: str, out: Path, statistics: bool, *, force: bool, json: bool
) -> exporting.Exported:
    """A lower precision of a version, measured first, written to a folder alone."""
    if statistics:
        raise InvalidInput(
            f"--statistics would be those of {short(chosen.version)}, and not of its features in {precision}",
            f"make it a version first: lepton compress {chosen.scene} --precision {precision}; then export that one",
        )
    if out.exists() and any(out.iterdir()):
        raise Conflict(f"the folder {out} is not empty", "name another one")
    request = training("compress").Request(scene=home.registry.scene(chosen.scene), version=chosen, precision=precision)
    made = measured(home, request, force=force, json=json)
    written = read(out, write(out, made.manifest, made.files)).version
    size = sum(file.stat().st_size for file in out.iterdir())
    return exporting.Exported(version=written, out=out, bytes=size)


def _from_root(request: Any) -> dict[str, Any]:
    """A request as it is filed: its paths from the root, since a trainer runs in another folder."""
    told = asdict(request)
    return {name: value.absolute() if isinstance(value, Path) else value for name, value in told.items()}


def _kinds(told: list[str]) -> str | dict[str, str] | None:
    """What --task says: one kind for all tasks, or NAME=KIND for some."""
    named: dict[str, str] = {}
    for text in told:
        name, equals, kind = text.rpartition("=")
        _one_of("task", kind, ["auto", "classification", "regression"])
        if not equals and len(told) == 1:
            return None if kind == "auto" else kind
        if not name or name in named:
            raise InvalidInput(f"--task is {text!r} beside others", "say NAME=KIND of every task, once")
        if kind != "auto":
            named[name] = kind
    return named or None


def _one_of(option: str, value: str, choices: list[str]) -> None:
    if value not in choices:
        raise InvalidInput(f"--{option} is {value!r}", f"choose {' or '.join(choices)}")


def seconds(text: str) -> float:
    """A time such as 90s, 5m or 1h, in seconds."""
    match = DURATION.fullmatch(text.strip())
    if match is None or float(match["number"]) <= 0:
        raise InvalidInput(f"--budget is {text!r}", "give a time such as 90s, 5m or 1h")
    return float(match["number"]) * SECONDS[match["unit"]]


def _adapted_json(home: Home, done: Adapted) -> dict[str, Any]:
    alias = home.registry.champion(done.version.scene)
    return {
        "scene": done.version.scene,
        "version": done.version.version,
        "number": done.version.number,
        "champion": alias is not None and alias.version == done.version.version,
        "labels": list(done.head.labels),
        "metrics": done.version.manifest["metrics"],
        **_tasks_json(done),
        "candidates": [asdict(candidate) for candidate in done.candidates],
        "fusion": done.fusion.model_dump() if done.fusion else None,
        "recipe": done.version.manifest["recipe"],
        "attempt": attempt_json(done.attempt),
        "parity": asdict(done.parity),
        "explored": explored_json(done.explored),
        "transfer": transfer_json(done.decision),
        "report": str(done.story),
        "data": {"seen": done.dataset.report.seen, "kept": done.dataset.report.kept, "page": str(done.report)},
    }


def _tasks_json(done: Adapted) -> dict[str, Any]:
    """Of several tasks the labels and metrics of each."""
    measured = metrics_of(done.version.manifest)
    told = {name: {"labels": list(done.head.of(name).labels), "metrics": each} for name, each in measured.items()}
    return {"tasks": told} if len(told) > 1 else {}


def _show_adapted(home: Home, done: Adapted) -> None:
    for line in done.dataset.report.lines():
        say(line)
    table(
        "Backbones tried (leave-one-out on training examples)",
        ["backbone", "pixels", "score", "95 % interval", "ms each", "MB", "chosen", "why"],
        [
            [
                c.name,
                c.size or "",
                "" if c.score is None else f"{100 * c.score:.1f} %",
                "" if c.score is None else f"{100 * c.low:.1f} to {100 * c.high:.1f}",
                "" if c.score is None else f"{c.milliseconds:.1f}",
                "" if c.score is None else f"{c.model_bytes / 1e6:.1f}",
                "yes" if c.chosen else "",
                c.reason,
            ]
            for c in done.candidates
        ],
    )
    if done.explored is not None:
        show_explored(done.explored)
    if done.attempt is not None:
        show_attempt(done.attempt)
    if done.decision is not None:
        show_transfer(done.decision)
    for name, metrics in metrics_of(done.version.manifest).items():
        head, which = done.head.of(name), f"{done.version.scene} {name}".strip()
        show_metrics(f"{which}: {len(head.labels)} labels, {head.examples} examples", metrics)
    alias = home.registry.champion(done.version.scene)
    champion = alias is not None and alias.version == done.version.version
    fact(
        parity=f"{done.parity.max_abs:.1e} at most on {done.parity.rows} rows (allowed: {done.parity.tolerance:.1e})",
        data_report=done.report,
        report=done.story,
        version=f"{done.version.version} (number {done.version.number})",
        champion="yes"
        if champion
        else f"no; promote it with: lepton promote {done.version.scene} {short(done.version.version)}",
    )
