"""The whole road from data to a registered version, its stages in order.

Promises that a version is registered only after parity held, and that the data report is written even where a later
stage fails. Knows nothing of terminals: it tells ``Reporter`` where it is.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from core import plugins
from core.bundle import Metric
from core.home import Home
from core.ids import check_scene
from core.types import Example, GridRows, Head, Policy, Scene, Task, Version
from exporters.parity import Parity
from exporters.transform import Kind
from training import clean, data, features, measure, package, page, zoo
from training.adapt import closed_form
from training.adapt.closed_form import Learned
from training.assemble import Assembly, assemble
from training.data import Dataset
from training.select import Candidate, input_size, select

DRAWN = 256  # training pictures on which parity is shown and a standardised transform is measured
HEADROOM = 8.0  # a regression's range reaches this many times as far from its mean as the values first seen
FEWEST_FOR_LABEL_ERRORS = 20


class Reporter(Protocol):
    """Where progress is told."""

    def stage(self, title: str) -> None:
        """A new stage begins."""

    def progress(self, done: int, total: int) -> None:
        """The present stage has come this far."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a user asks for.

    Attributes:
        backbones: names, or empty for the choice among those that load offline.
        budget: seconds for trying backbones.
        size: side of the pictures in pixels; None follows the data and the budget.
        new_labels: whether feedback may bring unknown labels; None keeps what the scene says, reject where it is new.
    """

    scene: str
    data: Path
    label: str | None = None
    task: Task | None = None
    backbones: tuple[str, ...] = ()
    recipe: str = "auto"
    transform: Kind = "sqrt_l2"
    budget: float = 300.0
    size: int | None = None
    seed: int = 0
    new_labels: Policy | None = None


@dataclass(frozen=True, kw_only=True)
class Adapted:
    """What came of it."""

    version: Version
    head: Head
    dataset: Dataset
    report: Path
    candidates: tuple[Candidate, ...]
    parity: Parity


def adapt(home: Home, request: Request, reporter: Reporter) -> Adapted:
    """Data, selection, features, parity, head, measurement, bundle, registry.

    Raises:
        LeptonError: what is wrong with the data, the backbones, the graph or the disk, with the remedy.
        LookupError: an unknown backbone or recipe; the message lists the choices.
    """
    recipe = "closed_form" if request.recipe == "auto" else request.recipe
    plugins.load("training.adapt", recipe)
    for name in request.backbones:
        zoo.resolve(name)
    reporter.stage("reading and checking the data")
    dataset = _read(home, request, reporter)
    taught = [example for example in dataset.examples if example.split != "test"]
    reporter.stage("choosing a backbone")
    candidates = _choose(home, request, dataset)
    chosen = next(candidate for candidate in candidates if candidate.chosen)
    scene = home.registry.declare(_scene(home, request, dataset, taught))
    reporter.stage(f"composing the graph of {chosen.name}, and comparing it with the original")
    drawn = _draw(taught, request.seed)
    assembly = assemble(
        [chosen.name],
        chosen.size,
        request.transform,
        scene,
        home.cache,
        lambda size: package.decoded(home, drawn, size),
        os.cpu_count() or 1,
        home.limits,
    )
    parity = package.check_parity(assembly, package.decoded(home, drawn, assembly.session.size))
    reporter.stage(f"extracting features by {chosen.name} at {' × '.join(map(str, assembly.session.size))} px")
    rows = _extract(home, assembly, dataset, reporter)
    reporter.stage("solving the head")
    learned = closed_form.learn(
        home,
        scene,
        assembly.session,
        assembly.preprocessor,
        assembly.extractor,
        taught,
        _stack(rows, taught),
        reporter.progress,
    )
    dataset = _with_label_errors(dataset, taught, learned)
    reporter.stage("measuring, writing and registering the bundle")
    tested = [example for example in dataset.of("test") if example.digest not in learned.seen]
    metrics = _measure(scene, learned, taught, tested, rows, request.seed)
    champion = home.registry.champion(request.scene)
    origin = package.Origin(
        recipe=recipe,
        tuned=closed_form.TUNED,
        transform=request.transform,
        metrics=metrics,
        data_digest=dataset.digest,
        parent=champion.version if champion else None,
    )
    return Adapted(
        version=package.register(home, scene, assembly, learned.head, drawn, origin),
        head=learned.head,
        dataset=dataset,
        report=_write_report(home, request.scene, dataset),
        candidates=candidates,
        parity=parity,
    )


def _read(home: Home, request: Request, reporter: Reporter) -> Dataset:
    dataset = data.load(
        request.data,
        label=request.label,
        task=request.task or "auto",
        seed=request.seed,
        limits=home.limits,
        progress=reporter.progress,
    )
    _write_report(home, request.scene, dataset)
    return dataset


def _choose(home: Home, request: Request, dataset: Dataset) -> tuple[Candidate, ...]:
    """The table of candidates; one that was named alone is not compared."""
    each = request.budget / max(1, len(dataset.examples))
    size = request.size or input_size(dataset.median_side, each)
    if len(request.backbones) == 1:
        return (Candidate(name=request.backbones[0], size=size, chosen=True, reason="named by the user"),)
    names = request.backbones or tuple(row.name for row in zoo.available("image") if row.offline)
    return select(
        dataset.of("train"),
        [(name, size) for name in names],
        home.cache,
        task=dataset.task,
        limits=home.limits,
        budget=request.budget,
        seed=request.seed,
    )


def _scene(home: Home, request: Request, dataset: Dataset, taught: Sequence[Example]) -> Scene:
    """The scene as the data suggest it; what the registry holds already goes before."""
    held = {scene.name: scene.new_labels for scene in home.registry.scenes()}
    offset, scale = 0.0, 1.0
    if dataset.task == "regression":
        values = [example.value for example in taught if example.value is not None]
        offset = float(np.float32(np.mean(values)))
        reach = max(abs(value - offset) for value in values)
        scale = 2.0 ** math.ceil(math.log2(HEADROOM * reach)) if reach > 0 else 1.0
    return Scene(
        name=request.scene,
        task=dataset.task,
        modality="image",
        labels=dataset.labels,
        new_labels=request.new_labels or held.get(request.scene, "reject"),
        offset=offset,
        scale=scale,
    )


def _draw(examples: Sequence[Example], seed: int) -> list[Example]:
    order = np.random.default_rng(seed).permutation(len(examples))
    return [examples[place] for place in order[:DRAWN]]


def _extract(home: Home, assembly: Assembly, dataset: Dataset, reporter: Reporter) -> dict[str, GridRows]:
    rows_ND = features.extract(
        assembly.session,
        assembly.extractor,
        dataset.examples,
        home.cache,
        home.limits,
        reporter.progress,
    )
    return {example.digest: row for example, row in zip(dataset.examples, rows_ND, strict=True)}


def _stack(rows: dict[str, GridRows], examples: Sequence[Example]) -> GridRows:
    return np.stack([rows[example.digest] for example in examples])


def _with_label_errors(dataset: Dataset, taught: Sequence[Example], learned: Learned) -> Dataset:
    """Name the labels that the head, solved without them, contradicts."""
    standing = [
        example for example in taught if example.digest in learned.rows and example.label in learned.head.labels
    ]
    if dataset.task == "regression" or len(standing) < FEWEST_FOR_LABEL_ERRORS:
        return dataset
    held_NK = learned.held_NK[[learned.rows[example.digest] for example in standing]]
    labels = learned.head.labels
    errors = clean.label_errors(held_NK, [labels.index(example.label or "") for example in standing])
    return data.with_label_errors(dataset, standing, errors, labels)


def _measure(
    scene: Scene,
    learned: Learned,
    taught: Sequence[Example],
    tested: Sequence[Example],
    rows: dict[str, GridRows],
    seed: int,
) -> dict[str, Metric]:
    standing = [example for example in taught if example.digest in learned.rows]
    held_NK = learned.held_NK[[learned.rows[example.digest] for example in standing]]
    labels = learned.head.labels
    metrics = {
        f"leave_one_out_{name}": metric
        for name, metric in measure.of_examples(scene, held_NK, standing, labels, seed).items()
    }
    if tested:
        answered_NK = measure.answers(scene, learned.head, _stack(rows, tested))
        metrics |= measure.of_examples(scene, answered_NK, tested, labels, seed)
    return metrics


def _write_report(home: Home, scene: str, dataset: Dataset) -> Path:
    """The data report as JSON and as a page; returns the page's path."""
    folder = home.settings.home / "reports"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{check_scene(scene)}-data.html"
    file.with_suffix(".json").write_text(json.dumps(dataset.report.to_json(), indent=2), encoding="utf-8")
    page.write(dataset.report, file)
    return file
