"""The whole road from data to a registered version, its stages in order.

Promises that a version is registered only after parity held, and that the data report is written even where a later
stage fails. Knows nothing of terminals: it tells ``Reporter`` where it is.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import numpy as np

from core.errors import InvalidInput
from core.home import Home
from core.ids import check_scene
from core.types import Example, Head, Policy, Scene, Task, Version
from exporters.parity import Parity
from exporters.transform import Kind
from training import (
    answered,
    auto,
    clean,
    data,
    judge,
    kinds,
    names,
    package,
    page,
    parts,
    telling,
    tuning,
    zoo,
)
from training import recipe as recipes
from training.adapt import closed_form
from training.adapt.closed_form import Learned
from training.assemble import assemble
from training.data import Dataset
from training.explore import Explored
from training.judge import Bench
from training.listing import read
from training.ready import Reporter, extracted, kept_apart, tuned
from training.recipe import FLOOR
from training.select import Candidate, select
from training.telling import Timed
from training.tune.device import Device
from training.tuning import Ask, Attempt
from training.zoo import Setting

HEADROOM = 8.0  # a regression's range reaches this many times as far from its mean as the values first seen
CHOOSING = 0.5  # of the budget may go into the choice of a backbone, where one is tuned afterwards
FEWEST_FOR_LABEL_ERRORS = 20


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a user asks for; ``data`` or ``names``.

    Attributes:
        names: a file of labels in words, for a start without any example.
        backbones: names, or empty for the choice among those that load offline.
        recipe, settings: how weights are moved, and its settings by name; auto and search find out.
        rewriter: says a text in other words that mean the same, for recipes that vary texts.
        budget: seconds for trying backbones and for tuning one.
        modality: what the inputs are; None follows the data.
        transform: how features are scaled; None follows the backbone.
        size: side of the pictures in pixels; None follows the data and the budget.
        new_labels: whether feedback may bring unknown labels; None keeps what the scene says, reject where it is new.
    """

    scene: str
    data: Path | None = None
    names: Path | None = None
    label: str | None = None
    modality: str | None = None
    task: Task | None = None
    backbones: tuple[str, ...] = ()
    recipe: str = "auto"
    settings: Mapping[str, object] = field(default_factory=dict)
    rewriter: Callable[[str], str] | None = None
    transform: Kind | None = None
    budget: float = 300.0
    size: int | None = None
    seed: int = 0
    new_labels: Policy | None = None


@dataclass(frozen=True, kw_only=True)
class Adapted:
    """What came of it; ``report`` is the page about the data, ``story`` the one about everything else."""

    version: Version
    head: Head
    dataset: Dataset
    report: Path
    story: Path
    candidates: tuple[Candidate, ...]
    parity: Parity
    attempt: Attempt | None = None
    explored: Explored | None = None


def adapt(home: Home, request: Request, reporter: Reporter, device: Device | None = None) -> Adapted | None:
    """Data, selection, features, parity, head, measurement, bundle, registry.

    ``device`` is one of several where torchrun started them to tune one backbone together; all but the first then help
    with that alone, and get None.

    Raises:
        LeptonError: what is wrong with the data, the backbones, the graph or the disk, with the remedy.
        LookupError: an unknown backbone or recipe; the message lists the choices.
    """
    reporter = timed = Timed(reporter)
    strategy = request.recipe if request.recipe in auto.STRATEGIES else None
    recipe = FLOOR if strategy else request.recipe
    config = _config(request, recipe)
    device = device or Device()
    tuning.check_processes(recipe, request.backbones, device)
    for name in request.backbones:
        zoo.resolve(name)
    reporter.stage("reading and checking the data")
    dataset = _read(home, request, reporter)
    taught = [example for example in dataset.examples if example.split != "test"]
    reporter.stage("choosing a backbone")
    setting, begun = _setting(request, dataset), time.monotonic()
    share = request.budget if request.recipe == FLOOR else CHOOSING * request.budget
    candidates = _choose(home, replace(request, budget=share), dataset, setting)
    chosen = [candidate.name for candidate in candidates if candidate.chosen]
    backbones = [zoo.load(name, setting) for name in chosen]
    if recipe != FLOOR:
        tuning.check(recipe, backbones)
    scene = home.registry.declare(_scene(home, request, dataset, taught))
    reporter.stage(f"composing the graph of {' + '.join(chosen)}, and comparing it with the original")
    drawn = judge.draw(taught, request.seed)
    threads = os.cpu_count() or 1
    with device.first_goes_ahead():
        assembly = assemble(backbones, request.transform, scene, home.cache, drawn, threads, home.limits)
        parity = package.check_parity(assembly, drawn)
        reporter.stage(f"extracting features by {' + '.join(chosen)}")
        ready = extracted(home, assembly, parity, dataset, reporter)
    bench = Bench(
        scene=scene, cache=home.cache, limits=home.limits, kind=request.transform, threads=threads, seed=request.seed
    )
    left = request.budget - (time.monotonic() - begun)
    if strategy:
        reporter.stage("spending what is left of the budget by evidence")
        ready = auto.explored(home, dataset, ready, _plan(strategy, candidates, setting, left), bench, reporter)
    if recipe != FLOOR:
        reporter.stage(f"tuning {' + '.join(chosen)} by {recipe}")
        ask = Ask(name=recipe, config=config, budget=left, rewriter=request.rewriter, device=device)
        ready = tuned(home, scene, dataset, ready, ask, bench, reporter)
    if not device.first:
        return None
    reporter.stage("solving the head")
    learned = closed_form.learn(
        home,
        scene,
        ready.assembly.session,
        ready.assembly.preprocessor,
        ready.assembly.extractor,
        taught,
        ready.stack(taught),
        reporter.progress,
    )
    dataset = _with_label_errors(dataset, taught, ready.before or learned)
    reporter.stage("measuring, writing and registering the bundle")
    told = () if request.names else answered.answered(scene, learned, dataset, ready)
    metrics = answered.metrics(told, request.seed)
    champion = home.registry.champion(request.scene)
    origin = package.Origin(
        recipe=ready.tuning.recipe if ready.tuning else FLOOR,
        transform=", ".join(sorted({transform.kind for transform in ready.assembly.transforms})),
        metrics=metrics,
        data_digest=dataset.digest,
        parent=champion.version if champion else None,
        validation=kept_apart(home, ready),
        tuning=ready.tuning,
    )
    version = package.register(home, scene, ready.assembly, learned.head, drawn, origin)
    story = telling.story(version, dataset, candidates, ready, told, metrics, timed.stages(), request.seed)
    return Adapted(
        version=version,
        head=learned.head,
        dataset=dataset,
        report=_write_report(home, request.scene, dataset),
        story=telling.write(home.settings.home / "reports", story),
        candidates=candidates,
        parity=ready.parity,
        attempt=ready.attempt,
        explored=ready.explored,
    )


def _config(request: Request, recipe: str) -> object:
    if request.settings and request.recipe in auto.STRATEGIES:
        message = f"settings were given ({', '.join(request.settings)}), and {request.recipe} finds them itself"
        raise InvalidInput(message, "name the recipe that they are for, such as --recipe finetune")
    return recipes.configure(recipe, request.settings)


def _plan(strategy: str, candidates: Sequence[Candidate], setting: Setting, budget: float) -> auto.Plan:
    """What may be explored: the backbone that was chosen, and those whose intervals reach its own."""
    chosen = [candidate for candidate in candidates if candidate.chosen]
    rivals = [each for each in candidates if not each.chosen and each.score is not None and each.high >= chosen[0].low]
    torch = [each.name for each in rivals if tuning.can_move(zoo.load(each.name, setting))]
    return auto.Plan(
        strategy=cast("auto.Strategy", strategy),
        backbones=(chosen[0].name, *torch),
        load=lambda name, size: zoo.load(name, replace(setting, size=size)),
        size=setting.size,
        latencies={each.name: each.milliseconds for each in candidates if each.score is not None},
        budget=budget,
    )


def _read(home: Home, request: Request, reporter: Reporter) -> Dataset:
    if (request.data is None) == (request.names is None):
        raise InvalidInput("adapt takes data, or labels in words", "give one of DATA and --labels")
    if request.names is not None:
        listing, source = names.read(request.names), request.names
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
    return dataset


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


def _write_report(home: Home, scene: str, dataset: Dataset) -> Path:
    """The data report as JSON and as a page; returns the page's path."""
    folder = home.settings.home / "reports"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{check_scene(scene)}-data.html"
    file.with_suffix(".json").write_text(json.dumps(dataset.report.to_json(), indent=2), encoding="utf-8")
    page.write(dataset.report, file)
    return file
