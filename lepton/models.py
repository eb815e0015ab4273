"""``adapt``, ``evaluate``, ``predict``, ``export``, ``backbones``: models made, measured, tried and taken away."""

from __future__ import annotations

import json as jsonlib
import re
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from core import config
from core.bundle import read
from core.errors import BadConfiguration, Conflict, InvalidInput, LeptonError, NotFound
from core.home import Home, open_home
from core.ids import check_scene
from core.preprocess import Preprocessor
from core.registry import short
from core.session import Session
from core.tally import labelled
from core.types import Head, Scene, Version
from lepton.instances import instances
from lepton.output import Stages, as_json, fact, interval, say, table
from lepton.tuning import attempt_json, explored_json, rewriter_of, settings_of, show_attempt, show_explored

if TYPE_CHECKING:
    from training.pipeline import Adapted

JSON = typer.Option(False, "--json", help="Print JSON.")
FILES = typer.Argument(None, help="Files, each one input.")
TEXTS = typer.Option(None, "--text", help="A text; may be given several times.")
FEATURES = typer.Option(None, "--features", help='A row of a table, as {"column": value}; may be given several times.')
BACKBONES = typer.Option(["auto"], help="auto, or one or more names of lepton backbones to compare.")
RECIPE = typer.Option("auto", help="auto: by evidence, within the budget; search; closed_form: none moves; finetune …")
SETTINGS = typer.Option(None, "--set", help="A setting of the recipe, such as epochs=5; may be given several times.")
REWRITER = typer.Option(None, help="MODULE:FUNCTION that says a text in other words, such as a back-translation.")
OUT = typer.Option(..., "--out", help="A folder that is not there yet, or is empty.")
VERSION = typer.Option(None, "--version", help="A version; the champion where none is named.")
DATA = typer.Argument(None, help="A folder of class folders, or a table (CSV, JSON lines, Parquet).")
LABELS = typer.Option(None, "--labels", help="Instead of DATA: a file of labels in words, a line each; texts alone.")
DURATION = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>s|m|h)?")
SECONDS = {None: 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("adapt")(adapt)
    app.command("evaluate")(evaluate)
    app.command("predict")(predict)
    app.command("export")(export)
    app.command("backbones")(list_backbones)


def adapt(  # noqa: PLR0913, PLR0917 - the command's options
    scene: str,
    data: Path = DATA,
    labels: Path = LABELS,
    modality: str = typer.Option("auto", help="auto, image, text, audio or tabular; auto follows files or columns."),
    label: str = typer.Option(None, help="Label column of a table; default: label."),
    task: str = typer.Option("auto", help="auto, classification or regression."),
    backbone: list[str] = BACKBONES,
    recipe: str = RECIPE,
    settings: list[str] = SETTINGS,
    rewriter: str = REWRITER,
    fuse: str = typer.Option("auto", help="auto or none."),
    transform: str = typer.Option("auto", help="Feature transform: auto (the backbone's), sqrt_l2, l2, standardised."),
    new_labels: str = typer.Option(None, help="Labels unknown so far: reject (the default of a new scene) or accept."),
    size: int = typer.Option(None, help="Side of the pictures in pixels; follows the data where it is not given."),
    budget: str = typer.Option("5m", help="Time for trying backbones and for tuning, such as 90s, 5m, 1h."),
    seed: int = typer.Option(0, help="Seed of splits and draws."),
    json: bool = JSON,
) -> None:
    """Go the whole road from a folder or a table (CSV, JSONL, Parquet) to a registered version."""
    _one_of("task", task, ["auto", "classification", "regression"])
    _one_of("fuse", fuse, ["auto", "none"])
    _one_of("transform", transform, ["auto", "sqrt_l2", "l2", "standardised", "as_is"])
    if new_labels is not None:
        _one_of("new-labels", new_labels, ["reject", "accept"])
    pipeline = _training("pipeline")
    home = open_home(config.load())
    request = pipeline.Request(
        scene=check_scene(scene),
        data=data,
        names=labels,
        label=label,
        modality=None if modality == "auto" else modality,
        task=None if task == "auto" else task,
        backbones=() if backbone == ["auto"] else tuple(backbone),
        recipe=recipe,
        settings=settings_of(settings or []),
        rewriter=rewriter_of(rewriter),
        transform=None if transform == "auto" else transform,
        budget=_seconds(budget),
        size=size,
        seed=seed,
        new_labels=new_labels,
    )
    with _training("tune.device").joined() as device, Stages(quiet=not device.first) as stages:
        done = pipeline.adapt(home, request, stages, device)
    if done is None:
        return None
    return as_json(_adapted_json(home, done)) if json else _show_adapted(home, done)


def evaluate(
    scene: str,
    data: Path,
    version: str = VERSION,
    label: str = typer.Option(None, help="Label column."),
    attack: str = typer.Option(None, help="Also on pictures changed against the model: fgsm or pgd."),
    epsilon: float = typer.Option(2.0, help="By how much the attack may change a pixel, of 0 to 255."),
    steps: int = typer.Option(10, help="Steps of pgd."),
    json: bool = JSON,
) -> None:
    """Measure what is served (version and newest head) on labelled data; its test split only, where it has one."""
    home = open_home(config.load())
    held, chosen, head = _served(home, scene, version)
    loading, measuring, extracting = _training("data"), _training("measure"), _training("features")
    with Stages() as stages:
        stages.stage("reading and checking the data")
        dataset = loading.load(
            data,
            label=label,
            modality=held.modality,
            task=held.task,
            limits=home.limits,
            progress=stages.progress,
        )
        given = any(e.split == "test" for e in dataset.examples) and "split" in _columns(data)
        examples = dataset.of("test") if given else dataset.examples
        stages.stage("extracting features")
        bundle = home.bundle(chosen.version)
        session = Session(bundle.model, threads=2)
        rows_ND = extracting.extract(
            session,
            home.preprocessor(bundle, session),
            bundle.manifest.extractor,
            examples,
            home.cache,
            stages.progress,
        )
        metrics = measuring.of_examples(held, measuring.answers(held, head, rows_ND), examples, head.labels, 0)
        if attack is not None:
            stages.stage(f"attacking by {attack}, at most {epsilon:g} of 255 a pixel")
            attacked = _training("attacked")
            how = attacked.Attack(name=attack, epsilon=epsilon, steps=steps)
            left = attacked.robust(home, held, bundle, head, examples, how, stages.progress)
            metrics[f"accuracy_under_{attack}_{epsilon:g}"] = left
    told = {name: metric.model_dump() for name, metric in metrics.items()}
    learned = len(labelled(home.ledger.database, scene, [example.digest for example in examples]))
    if json:
        counts = {"examples": len(examples), "learned": learned}
        return as_json({"scene": scene, "version": chosen.version} | counts | {"metrics": told})
    _show_metrics(f"{scene} {short(chosen.version)} on {len(examples)} examples", told)
    if learned:
        say(f"{learned} of them are labelled in the ledger, so the head has learned from them: this flatters it")
    return None


def predict(
    scene: str,
    files: list[Path] = FILES,
    text: list[str] = TEXTS,
    features: list[str] = FEATURES,
    version: str = VERSION,
    json: bool = JSON,
) -> None:
    """Answer files, texts or rows of a table by the serving engine, without the server."""
    home = open_home(config.load())
    held, chosen, head = _served(home, scene, version)
    bundle = home.bundle(chosen.version)
    session = Session(bundle.model, threads=2)
    preprocessor = home.preprocessor(bundle, session)
    answers: list[dict[str, Any]] = []
    for named, bring in instances(held, home.limits, files or [], text or [], features or []):
        try:
            answers.append(named | _answer(held, head, session, preprocessor, bring()))
        except (LeptonError, OSError) as error:
            answers.append(named | {"error": getattr(error, "strerror", None) or str(error)})
    if json:
        as_json(answers)
    else:
        columns = ["input", "value" if held.task == "regression" else "label", "confidence"]
        rows = [
            [_first(a)[:80], a.get("error") or a.get("label", a.get("value")), _percent(a.get("confidence"))]
            for a in answers
        ]
        table(f"{scene} {short(chosen.version)}", columns, rows)
    if any("error" in answer for answer in answers):
        raise typer.Exit(1)


def export(
    scene: str,
    version: str = typer.Argument(None),
    out: Path = OUT,
    precision: str = typer.Option("fp32", help="fp32."),
    statistics: bool = typer.Option(False, "--statistics", help="Write the head's sufficient statistics, too."),
    json: bool = JSON,
) -> None:
    """Copy a version's bundle to a folder, every digest checked on the way out."""
    _one_of("precision", precision, ["fp32"])
    home = open_home(config.load())
    held, chosen, _ = _served(home, scene, version)
    if out.exists() and any(out.iterdir()):
        raise Conflict(f"the folder {out} is not empty", "name another one")
    shutil.copytree(home.artifacts.bundle(chosen.version), out, dirs_exist_ok=True)
    read(out, chosen.version)
    if statistics:
        _write_statistics(home, held, chosen, out / "statistics.safetensors")
    size = sum(file.stat().st_size for file in out.iterdir())
    if json:
        return as_json({"scene": scene, "version": chosen.version, "out": str(out), "bytes": size})
    return say(f"{scene} {short(chosen.version)} is in {out} ({size / 1e6:.1f} MB), every digest checked")


def list_backbones(modality: str = typer.Option(None, help="Only this modality."), json: bool = JSON) -> None:
    """List the pretrained models that can be adapted."""
    rows = _training("zoo").available(modality)
    if json:
        return as_json([asdict(row) for row in rows])
    return table(
        "Backbones (any other: timm:NAME, transformers:NAME, onnx_file:PATH)",
        ["name", "modality", "features", "parameters", "licence", "source", "offline"],
        [
            [r.name, r.modality, r.dimension, f"{r.parameters:,}", r.licence, r.source, "yes" if r.offline else "no"]
            for r in rows
        ],
    )


def _served(home: Home, scene: str, version: str | None) -> tuple[Scene, Version, Head]:
    """Scene, version and the newest head that serves it."""
    held = home.registry.scene(scene)
    if version is None:
        alias = home.registry.champion(scene)
        if alias is None:
            raise NotFound(f"scene {scene!r} has no version yet", "make one with lepton adapt")
        version = alias.version
    chosen = home.registry.version(scene, version)
    revision = home.registry.latest_revision(scene, chosen.version)
    if revision is None:
        raise NotFound(
            f"the heads of version {short(chosen.version)} were erased", "start the learner: it makes a new one"
        )
    return held, chosen, revision.head


def _first(answer: dict[str, Any]) -> str:
    return str(next(iter(answer.values())))


def _answer(scene: Scene, head: Head, session: Session, preprocessor: Preprocessor, data: bytes) -> dict[str, Any]:
    row = preprocessor.read(data)
    flags = {"flags": {word: list(names) for word, names in row.flags.items()}} if row.flags else {}
    output_K = session.predict(preprocessor.batch([row]), head).outputs[0]
    if scene.task == "regression":
        return {"value": float(output_K[0])} | flags
    best = int(output_K.argmax())
    told = {label: float(p) for label, p in zip(head.labels, output_K, strict=True)}
    return {"label": head.labels[best], "confidence": float(output_K[best]), "probabilities": told} | flags


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _write_statistics(home: Home, scene: Scene, version: Version, file: Path) -> None:
    from safetensors.numpy import save_file

    follower = home.follower(scene, version)
    follower.catch_up()
    arrays = {name: np.ascontiguousarray(array) for name, array in follower.state.statistics.arrays().items()}
    columns = jsonlib.dumps(sorted(follower.state.statistics.cross))
    save_file(arrays, file, metadata={"columns": columns, "extractor": follower.extractor, "grid": "2**-15"})


def _training(name: str) -> Any:
    """A module of training/, or a clear word where its packages are not installed."""
    import importlib

    try:
        return importlib.import_module(f"training.{name}")
    except ModuleNotFoundError as error:
        raise BadConfiguration(
            f"this command needs the package {error.name}, which is not installed",
            "install Lepton with its training extra: pip install -c constraints.txt -e '.[train]'",
        ) from error


def _columns(data: Path) -> list[str]:
    if data.is_dir():
        return []
    return list(_training("tables").read(data).columns)


def _one_of(option: str, value: str, choices: list[str]) -> None:
    if value not in choices:
        raise InvalidInput(f"--{option} is {value!r}", f"choose {' or '.join(choices)}")


def _seconds(text: str) -> float:
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
        "candidates": [asdict(candidate) for candidate in done.candidates],
        "recipe": done.version.manifest["recipe"],
        "attempt": attempt_json(done.attempt) if done.attempt else None,
        "parity": asdict(done.parity),
        "explored": explored_json(done.explored) if done.explored else None,
        "report": str(done.story),
        "data": {"seen": done.dataset.report.seen, "kept": done.dataset.report.kept, "page": str(done.report)},
    }


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
    if done.explored:
        show_explored(done.explored)
    if done.attempt:
        show_attempt(done.attempt)
    metrics = done.version.manifest["metrics"]
    assert isinstance(metrics, dict)
    _show_metrics(f"{done.version.scene}: {len(done.head.labels)} labels, {done.head.examples} examples", metrics)
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


def _show_metrics(title: str, metrics: dict[str, Any]) -> None:
    def figure(name: str, metric: dict[str, float]) -> str:
        if name.endswith(("rmse", "mae", "r2")):
            return f"{metric['value']:.4g} ({metric['low']:.4g} to {metric['high']:.4g})"
        return interval(metric)

    rows = [[name.replace("_", " "), figure(name, metric), metric["rows"]] for name, metric in sorted(metrics.items())]
    table(title, ["metric", "value (95 % interval)", "rows"], rows)
