"""``evaluate``, ``predict``: what is served, measured on labelled data or tried on a few inputs without the server."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from core import config
from core.errors import InvalidInput, LeptonError, NotFound
from core.export import champion_or
from core.home import Home, open_home
from core.preprocess import Preprocessor
from core.registry import short
from core.session import Session
from core.tally import labelled
from core.tasks import check_tasks, task_of
from core.types import Example, Floats, GridRows, Head, Scene, Version
from lepton.extra import training
from lepton.instances import instances
from lepton.output import Stages, as_json, say, show_metrics, table
from lepton.shown import damage_json, show_damage

if TYPE_CHECKING:
    from training.robustness import Hurt

JSON = typer.Option(False, "--json", help="Print JSON.")
LABEL = typer.Option(None, "--label", help="Label column; of several tasks those to measure. Default: label, or all.")
ROBUSTNESS = typer.Option(False, "--robustness", help="Also on inputs gone wrong: noise, blur, typing errors …")
ATTACK = typer.Option(None, "--attack", help="Also on pictures changed against the model: fgsm or pgd.")
VERSION = typer.Option(None, "--version", help="A version; the champion where none is named.")
FILES = typer.Argument(None, help="Files, each one input.")
TEXTS = typer.Option(None, "--text", help="A text; may be given several times.")
FEATURES = typer.Option(None, "--features", help='A row of a table, as {"column": value}; may be given several times.')


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("evaluate")(evaluate)
    app.command("predict")(predict)


def evaluate(  # noqa: PLR0913, PLR0917 - the command's options
    scene: str,
    data: Path,
    version: str = VERSION,
    label: list[str] = LABEL,
    robustness: bool = ROBUSTNESS,
    attack: str = ATTACK,
    epsilon: float = typer.Option(2.0, help="By how much --attack may change a pixel, of 0 to 255."),
    steps: int = typer.Option(10, help="Steps of pgd."),
    json: bool = JSON,
) -> None:
    """Measure what is served (version and newest head) on labelled data; its test split only, where it has one."""
    home = open_home(config.load())
    held, chosen, head = served(home, scene, version)
    asked = [task_of(held, name).task_name for name in check_tasks(label)] if held.further and label else []
    extracting = training("features")
    with Stages() as stages:
        stages.stage("reading and checking the data")
        read, examples = _labelled(home, held, data, asked or label, stages)
        stages.stage("extracting features")
        bundle = home.bundle(chosen.version)
        session = Session(bundle.model, threads=2)
        reader = home.preprocessor(bundle, session)
        rows_ND = extracting.extract(session, reader, bundle.manifest.extractor, examples, home.cache, stages.progress)
        damage: dict[str, list[Hurt]] = {}
        if robustness:
            stages.stage("answering inputs gone wrong")
            damage = training("robustness").table(read, head, session, reader, examples, 0, stages.progress)
        attacked: dict[str, Any] = {}
        if attack is not None:
            stages.stage(f"changing pictures by {attack}, at most {epsilon:g} of 255 a pixel")
            how = training("attacked").Attack(name=attack, epsilon=epsilon, steps=steps)
            left = training("attacked").robust(home, read, bundle, head, examples, how, stages.progress)
            attacked[f"accuracy_under_{attack}_{epsilon:g}"] = left.model_dump()
    rows = {example.digest: row for example, row in zip(examples, rows_ND, strict=True)}
    told = {
        task.task_name: _measured(home, task, head.of(task.task_name), mine, rows)
        for task, mine in training("tasks").by_task(read, examples)
        if not asked or task.task_name in asked
    }
    next(iter(told.values()))["metrics"] |= attacked
    for name, hurt in damage.items():
        if name in told:
            told[name]["robustness"] = [damage_json(each) for each in hurt]
    if json:
        several = {"tasks": told} if len(told) > 1 else {}
        return as_json({"scene": scene, "version": chosen.version} | next(iter(told.values())) | several)
    for name, each in told.items():
        count, learned = each["examples"], each["learned"]
        which = f"{scene} {name}".strip()
        show_metrics(f"{which} {short(chosen.version)} on {count} examples", each["metrics"])
        if name in damage:
            show_damage(damage[name])
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
    held, chosen, head = served(home, scene, version)
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
        _show_answers(f"{scene} {short(chosen.version)}", held, answers)
    if any("error" in answer for answer in answers):
        raise typer.Exit(1)


def served(home: Home, scene: str, version: str | None) -> tuple[Scene, Version, Head]:
    """Scene, version and the newest head that serves it."""
    held = home.registry.scene(scene)
    chosen = champion_or(home, scene, version)
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
    output = session.predict(preprocessor.batch([row]), head)
    first = _told(scene, head, output.outputs[0])
    if not scene.further:
        return first | flags
    names = [task.task_name for task in scene.further]
    others = {
        name: _told(task, head.of(name), output.further[name][0])
        for name, task in zip(names, scene.further, strict=True)
    }
    return first | {"tasks": {scene.task_name: first, **others}} | flags


def _told(task: Scene, head: Head, output_K: Floats) -> dict[str, Any]:
    """The answer for one task."""
    if task.task == "regression":
        return {"value": float(output_K[0])}
    best = int(output_K.argmax())
    told = {label: float(p) for label, p in zip(head.labels, output_K, strict=True)}
    return {"label": head.labels[best], "confidence": float(output_K[best]), "probabilities": told}


def _show_answers(title: str, scene: Scene, answers: list[dict[str, Any]]) -> None:
    """A line an input; of several tasks two columns each."""
    columns, rows = ["input"], [[_first(a)[:80]] for a in answers]
    for task in scene.tasks:
        word = "value" if task.task == "regression" else "label"
        columns += [f"{task.task_name} {word}".strip(), "confidence"]
        for row, a in zip(rows, answers, strict=True):
            said = a.get("tasks", {}).get(task.task_name, a)
            row += [a.get("error") or said.get("label", said.get("value")), _percent(said.get("confidence"))]
    table(title, columns, rows)


def _labelled(
    home: Home, scene: Scene, data: Path, label: list[str] | None, stages: Stages
) -> tuple[Scene, tuple[Example, ...]]:
    """The labelled examples of a data set, of its test side where it has one, and the tasks that it has columns of.

    Of several tasks, the columns of those that are not asked for are read, too: they are no features.
    """
    columns = [] if data.is_dir() else list(training("tables").read(data).columns)
    names = [task.task_name for task in scene.tasks if not label or task.task_name in (*label, *columns)]
    first, *others = (task_of(scene, name) for name in names) if scene.further else (scene,)
    read = replace(first, further=tuple(others))
    dataset = training("data").load(
        data,
        label=names if scene.further else label,
        modality=scene.modality,
        task={task.task_name: task.task for task in read.tasks} if others else read.task,
        limits=home.limits,
        progress=stages.progress,
    )
    given = "split" in columns and any(example.split == "test" for example in dataset.examples)
    return read, dataset.of("test") if given else dataset.examples


def _measured(
    home: Home, task: Scene, head: Head, examples: list[Example], rows: dict[str, GridRows]
) -> dict[str, Any]:
    """Metrics of one task, on how many examples, and how many of them its head has learned from."""
    measuring = training("measure")
    if not examples:
        raise InvalidInput(f"no example has a label of task {task.task_name!r}", "fill in its column, or leave it out")
    answers_NK = measuring.answers(task, head, np.stack([rows[example.digest] for example in examples]))
    metrics = measuring.of_examples(task, answers_NK, examples, head.labels, 0)
    learned = labelled(home.ledger.database, task.name, [example.digest for example in examples], task.task_name)
    told = {name: metric.model_dump() for name, metric in metrics.items()}
    return {"examples": len(examples), "learned": len(learned), "metrics": told}


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"
