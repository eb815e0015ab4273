"""The whole road from data to a registered version, its stages in order.

Promises that a version is registered only after parity held, and that the data report is written even where a later
stage fails. Knows nothing of terminals: it tells ``Reporter`` where it is.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from core import plugins
from core.bundle import Metric
from core.errors import InvalidInput
from core.home import Home
from core.ids import check_scene
from core.types import Example, GridRows, Head, Policy, Scene, Task, Version
from exporters.parity import Parity
from exporters.transform import Kind
from training import clean, data, features, kinds, measure, names, package, page, parts, zero_shot, zoo
from training.adapt import closed_form
from training.adapt.closed_form import Learned
from training.assemble import Assembly, assemble
from training.data import Dataset
from training.listing import read
from training.select import Candidate, select
from training.zoo import Setting

DRAWN = 256  # training examples on which parity is shown and a standardised transform is measured
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
    """What a user asks for; ``data`` or ``names``.

    Attributes:
        names: a file of labels in words, for a start without any example.
        prompts: what the labels are put in, each with {label} in it; empty for what suits the modality.
        backbones: names, or empty for the choice among those that load offline.
        budget: seconds for trying backbones.
        modality: what the inputs are; None follows the data.
        transform: how features are scaled; None follows the backbone.
        size: side of the pictures in pixels; None follows the data and the budget.
        new_labels: whether feedback may bring unknown labels; None keeps what the scene says, reject where it is new.
    """

    scene: str
    data: Path | None = None
    names: Path | None = None
    prompts: tuple[str, ...] = ()
    label: str | None = None
    modality: str | None = None
    task: Task | None = None
    backbones: tuple[str, ...] = ()
    recipe: str = "auto"
    transform: Kind | None = None
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
    setting = _setting(request, dataset)
    candidates = _choose(home, request, dataset, setting)
    chosen = [candidate.name for candidate in candidates if candidate.chosen]
    scene = home.registry.declare(_scene(home, request, dataset, taught))
    reporter.stage(f"composing the graph of {' + '.join(chosen)}, and comparing it with the original")
    drawn = zero_shot.patterns() if _sees_names(request) else _draw(taught, request.seed)
    threads = os.cpu_count() or 1
    backbones = [zoo.load(name, setting) for name in chosen]
    assembly = assemble(backbones, request.transform, scene, home.cache, drawn, threads, home.limits)
    parity = package.check_parity(assembly, drawn)
    reporter.stage(f"extracting features by {' + '.join(chosen)}")
    dataset, rows = _extract(home, request, assembly, dataset, reporter)
    taught = [example for example in dataset.examples if example.split != "test"]
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
    metrics = {} if request.names else _measure(scene, learned, taught, tested, rows, request.seed)
    champion = home.registry.champion(request.scene)
    origin = package.Origin(
        recipe=recipe,
        transform=", ".join(sorted({transform.kind for transform in assembly.transforms})),
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
    if (request.data is None) == (request.names is None):
        raise InvalidInput("adapt takes data, or labels in words", "give one of DATA and --labels")
    if request.prompts and request.names is None:
        raise InvalidInput("a prompt was given, and no labels to put in it", "give --labels, or leave the prompt out")
    seen = _sees_names(request)
    if request.names is not None:
        frames = request.prompts or (names.PICTURE_FRAMES if seen else names.FRAMES)
        listing, source = names.read(request.names, frames), request.names
    else:
        assert request.data is not None, "one of the two is there"
        listing, source = read(request.data, request.label, request.modality), request.data
    dataset = data.from_listing(
        listing,
        source,
        task="classification" if request.names else request.task or "auto",
        seed=request.seed,
        limits=home.limits,
        progress=reporter.progress,
    )
    _write_report(home, request.scene, dataset)
    return replace(dataset, modality="image") if seen else dataset


def _sees_names(request: Request) -> bool:
    """Whether the names are those of pictures: where the one backbone that is named sees and reads, or as asked.

    Raises:
        InvalidInput: names of pictures, and no backbone that does both.
    """
    if request.names is None or request.modality == "text":
        return False
    if request.modality == "image":
        if len(request.backbones) != 1:
            remedy = "name one that sees and reads (transformers_clip:FOLDER)"
            raise InvalidInput("names of pictures need one backbone", remedy)
        zoo.reader(request.backbones[0])
    return len(request.backbones) == 1 and zoo.reads(request.backbones[0])


def _setting(request: Request, dataset: Dataset) -> Setting:
    """What training rows decide about backbones; validation and test say no more than that they are there."""
    each = request.budget / max(1, len(dataset.examples))
    told = [(example.content, example.split == "train") for example in dataset.examples if example.content is not None]
    taught, others = ([content for content, train in told if train is wanted] for wanted in (True, False))
    setting = kinds.kind(dataset.modality).setting(taught, others, dataset.median_side, each)
    return setting if request.size is None else replace(setting, size=request.size)


def _choose(home: Home, request: Request, dataset: Dataset, setting: Setting) -> tuple[Candidate, ...]:
    """The table of candidates, of each part of a mixture; one that was named alone is not compared."""
    wanted = parts.names(dataset.modality)
    found: list[Candidate] = []
    for part, named in _named(request, wanted, setting).items():
        if len(named) == 1:
            found.append(Candidate(name=named[0], size=setting.size, chosen=True, reason="named by the user"))
            continue
        listed = named or tuple(row.name for row in zoo.available(part) if row.offline)
        found += select(
            parts.of(dataset.of("train"), dataset.modality, part, home.limits),
            [(name, setting) for name in listed],
            home.cache,
            scene=Scene(name=request.scene, task=dataset.task, modality=part),
            limits=home.limits,
            budget=request.budget / len(wanted),
            seed=request.seed,
        )
    return tuple(found)


def _named(request: Request, wanted: Sequence[str], setting: Setting) -> dict[str, tuple[str, ...]]:
    """The backbones that the user names, for each part of a mixture.

    Raises:
        InvalidInput: one of them takes none of the parts.
    """
    if len(wanted) == 1:
        return {wanted[0]: request.backbones}
    kinds_of = {name: zoo.load(name, setting).modality for name in request.backbones}
    for name, modality in kinds_of.items():
        if modality not in wanted:
            raise InvalidInput(f"{name} takes {modality}, and the data are {' and '.join(wanted)}", "leave it out")
    return {part: tuple(name for name, modality in kinds_of.items() if modality == part) for part in wanted}


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
        modality=dataset.modality,
        labels=dataset.labels,
        new_labels=request.new_labels or held.get(request.scene, "reject"),
        offset=offset,
        scale=scale,
    )


def _draw(examples: Sequence[Example], seed: int) -> list[Example]:
    order = np.random.default_rng(seed).permutation(len(examples))
    return [examples[place] for place in order[:DRAWN]]


def _extract(
    home: Home, request: Request, assembly: Assembly, dataset: Dataset, reporter: Reporter
) -> tuple[Dataset, dict[str, GridRows]]:
    """A row for each example; names of pictures become what can have one."""
    examples = dataset.examples
    if _sees_names(request):
        reader = zoo.reader(request.backbones[0])
        named, rows_ND = zero_shot.rows(reader, examples, home.cache, home.limits)
        titles = {new.digest: dataset.names[old.digest] for new, old in zip(named, examples, strict=True)}
        dataset = replace(dataset, examples=tuple(named), names=titles)
    else:
        session, preprocessor = assembly.session, assembly.preprocessor
        rows_ND = features.extract(session, preprocessor, assembly.extractor, examples, home.cache, reporter.progress)
    return dataset, {example.digest: row for example, row in zip(dataset.examples, rows_ND, strict=True)}


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
