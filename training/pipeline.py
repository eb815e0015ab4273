"""The whole road from data to a registered version, its stages in order.

Promises that a version is registered only after parity held, and that the data report is written even where a later
stage fails. Knows nothing of terminals: it tells ``Reporter`` where it is.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from core.bundle import Fusion, Metric
from core.errors import InvalidInput
from core.home import Home
from core.ids import check_scene
from core.types import Example, Head, Policy, Scene, Version
from exporters.parity import Parity
from exporters.transform import Kind
from training import (
    answered,
    auto,
    choosing,
    clean,
    data,
    inputs,
    judge,
    names,
    package,
    page,
    robustness,
    telling,
    tuning,
    unlabelled,
    zero_shot,
    zoo,
)
from training import recipe as recipes
from training.adapt import closed_form
from training.adapt.closed_form import Learned
from training.assemble import Assembly, assemble
from training.data import Asked, Dataset
from training.explore import Explored
from training.judge import Bench
from training.listing import Columns, read
from training.merge import candidates as fusing
from training.ready import Ready, extracted, kept_apart, spared, tuned
from training.recipe import FLOOR
from training.reporter import Reporter
from training.select import Candidate
from training.tasks import by_task, scaled
from training.telling import Timed
from training.tune.device import Device
from training.tuning import Ask, Attempt
from training.unlabelled import Decision, Judges
from training.zoo import Setting

CHOOSING = 0.5  # of the budget may go into the choice of a backbone, where one is tuned afterwards
DAMAGE = 0.1  # of the time that everything else took, for inputs gone wrong
FEWEST_FOR_LABEL_ERRORS = 20


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a user asks for; ``data`` or ``names``.

    Attributes:
        names: a file of labels in words, for a start without any example. prompts: what they are put in, each with
            {label} in it; empty for what suits the modality.
        label: the label column of a table, or several, of a task each; None is ``label``, or what the scene's tasks are
            called. task: what each of them is; None follows the labels.
        backbones: names, or empty for the choice among those that load offline.
        recipe, settings: how weights are moved, and its settings by name; auto and search find out.
        rewriter: MODULE:FUNCTION that says a text in other words, for recipes that vary texts.
        budget: seconds for trying backbones and for tuning one.
        modality: what the inputs are; None follows the data.
        transform: how features are scaled; None follows the backbone.
        size: side of the pictures in pixels; None follows the data and the budget.
        unlabelled: inputs of the scene that is to be served, without labels. validate: some with labels, to judge by.
        new_labels: whether feedback may bring unknown labels; None keeps what the scene says, reject where it is new.
        fuse: auto, none, or how the backbones that were compared are fused.
    """

    scene: str
    data: Path | None = None
    names: Path | None = None
    prompts: tuple[str, ...] = ()
    label: Columns = None
    modality: str | None = None
    task: Asked | None = None
    backbones: tuple[str, ...] = ()
    recipe: str = "auto"
    settings: Mapping[str, object] = field(default_factory=dict)
    rewriter: str | None = None
    transform: Kind | None = None
    budget: float = 300.0
    size: int | None = None
    seed: int = 0
    unlabelled: Path | None = None
    validate: Path | None = None
    new_labels: Policy | None = None
    fuse: str = "auto"


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
    fusion: Fusion | None = None
    decision: Decision | None = None
    attempt: Attempt | None = None
    explored: Explored | None = None


def adapt(home: Home, request: Request, reporter: Reporter, device: Device | None = None) -> Adapted:
    """Data, selection, features, parity, head, measurement, bundle, registry.

    ``device`` is one of several where torchrun started them to tune one backbone together.

    Raises:
        LeptonError: what is wrong with the data, the backbones, the graph or the disk, with the remedy.
        LookupError: an unknown backbone or recipe; the message lists the choices.
        Helped: this is one of several processes, but not the first, and has done its part.
    """
    reporter = timed = Timed(reporter)
    request, asked = _asked(request, device or Device())
    reporter.stage("reading and checking the data")
    seen = request.names is not None and zero_shot.of_pictures(request.backbones, request.modality)
    dataset = _read(home, request, seen, reporter)
    taught = [example for example in dataset.examples if example.split != "test"]
    others = _inputs(home, request, dataset)
    reporter.stage("choosing a backbone")
    setting, begun = choosing.setting(request, dataset), time.monotonic()
    selected = _selected(home, request, dataset, setting, reporter)
    candidates, joint = selected.candidates, selected.joint
    chosen = [candidate.name for candidate in candidates if candidate.chosen]
    scene = home.registry.declare(_scene(home, request, dataset, taught))
    reporter.stage(f"composing the graph of {' + '.join(chosen)}, and comparing it with the original")
    drawn = zero_shot.patterns() if seen else judge.draw(taught, request.seed)
    threads, backbones = os.cpu_count() or 1, [zoo.load(name, setting) for name in chosen]
    tuning.check(asked.name, backbones)
    with asked.device.first_goes_ahead():
        assembly = assemble(backbones, request.transform, scene, home.cache, drawn, threads, home.limits, joint)
        parity = package.check_parity(assembly, drawn)
        reporter.stage(f"extracting features by {' + '.join(chosen)}")
        if seen:
            dataset, rows = zero_shot.named(dataset, request.backbones[0], home.cache, home.limits)
        ready = (
            Ready(assembly=assembly, parity=parity, rows=rows)
            if seen
            else extracted(home, assembly, parity, dataset, reporter)
        )
        taught = [example for example in dataset.examples if example.split != "test"]
    bench = Bench(scene, home.cache, home.limits, request.transform, threads, request.seed)
    asked = replace(asked, budget=asked.budget - (time.monotonic() - begun), unlabelled=others)
    plan = choosing.plan(request, candidates, setting, asked.budget, asked.device, reporter.note)
    ready = _improved(home, dataset, ready, plan, asked, bench, reporter)
    judges = _judges(home, request, scene, dataset, ready)
    decision = _transfer(scene, ready.assembly, others, judges, request.seed, reporter) if others else None
    assembly = decision.assembly if decision else ready.assembly
    reporter.stage("solving the head")
    learned = closed_form.learn(home, scene, assembly, taught, ready.stack(taught), reporter.progress, spared(ready))
    dataset = with_label_errors(dataset, scene, taught, ready.before or learned)
    damage = _damage(scene, learned, assembly, dataset, timed, request.seed)
    reporter.stage("measuring, writing and registering the bundle")
    told = () if request.names else answered.answered(scene, learned, dataset, ready)
    metrics = answered.metrics(told, request.seed)
    recipe = ready.tuning.recipe if ready.tuning else FLOOR
    if decision is not None:
        metrics = unlabelled.metrics(scene, learned.head, decision, judges, metrics, request.seed)
        recipe = recipe if decision.method == unlabelled.FLOOR else decision.method
    champion = home.registry.champion(request.scene)
    origin = package.Origin(
        recipe=recipe,
        transform=", ".join(sorted({transform.kind for transform in assembly.transforms})),
        metrics=metrics.get(scene.task_name, {}),
        further={task.task_name: metrics.get(task.task_name, {}) for task in scene.further},
        data_digest=dataset.digest,
        parent=champion.version if champion else None,
        fusion=selected.fusion,
        validation=kept_apart(home, ready),
        tuning=ready.tuning,
    )
    version = package.register(home, scene, assembly, learned.head, drawn, origin)
    story = telling.story(version, dataset, candidates, ready, told, timed.stages(), request.seed, damage)
    return Adapted(
        version=version,
        head=learned.head,
        dataset=dataset,
        report=_write_report(home, request.scene, dataset),
        story=telling.write(report_of(home, request.scene).parent, story),
        candidates=candidates,
        parity=ready.parity,
        fusion=selected.fusion,
        decision=decision,
        attempt=ready.attempt,
        explored=ready.explored,
    )


def _asked(request: Request, device: Device) -> tuple[Request, Ask]:
    """The recipe with its settings; where it moves weights, half of the budget is for the choice of one backbone."""
    fusing.check(request.fuse)
    for backbone in request.backbones:
        zoo.resolve(backbone)
    strategy = request.recipe in auto.STRATEGIES
    if strategy and request.settings:
        message = f"settings were given ({', '.join(request.settings)}), and {request.recipe} finds them itself"
        raise InvalidInput(message, "name the recipe that they are for, such as --recipe finetune")
    name = FLOOR if strategy else request.recipe
    config = recipes.configure(name, request.settings)
    tuning.check_processes(name, request.backbones, device)
    rewriter = tuning.rewriter_of(request.rewriter)
    asked = Ask(name=name, config=config, budget=request.budget, rewriter=rewriter, device=device)
    if request.recipe == FLOOR:
        return request, asked
    fuse = fusing.NONE if request.fuse == fusing.AUTO and request.recipe != "auto" else request.fuse
    return replace(request, budget=CHOOSING * request.budget, fuse=fuse), asked


def _selected(home: Home, request: Request, dataset: Dataset, setting: Setting, reporter: Reporter) -> fusing.Chosen:
    """The backbones that are to be composed, told as they are tried and as they are chosen."""
    compared = choosing.choose(home, request, dataset, setting, partial(telling.candidate, reporter))
    selected = choosing.fused(home, request, dataset, setting, compared)
    telling.chosen(reporter, selected)
    return selected


def _improved(
    home: Home, dataset: Dataset, floor: Ready, plan: auto.Plan | None, asked: Ask, bench: Bench, reporter: Reporter
) -> Ready:
    """What the plan, or the recipe that was named, makes of the floor; at worst the floor."""
    told = " + ".join(backbone.name for backbone in floor.assembly.backbones)
    if plan is not None:
        reporter.stage(f"spending what is left of the budget on {told} by evidence")
        return auto.explored(home, dataset, floor, plan, bench, reporter)
    if asked.name == FLOOR:
        return floor
    reporter.stage(f"tuning {told} by {asked.name}")
    return tuned(home, dataset, floor, asked, bench, reporter)


def _inputs(home: Home, request: Request, dataset: Dataset) -> list[Example]:
    """Inputs without labels of the scene that is to be served; none where none are given."""
    if request.unlabelled is None:
        return []
    unlabelled.check(choosing.shape(request, dataset, dataset.modality))
    return inputs.read(request.unlabelled, dataset.modality, home.limits)


def _judges(home: Home, request: Request, scene: Scene, dataset: Dataset, ready: Ready) -> Judges:
    """Who says whether inputs without labels help: validation rows, or labelled rows of the target that are given."""
    rows = ready.rows
    if request.validate is None or request.unlabelled is None:
        return Judges(source=dataset.examples, rows=rows)
    target = data.load(
        request.validate,
        label=[task.task_name for task in scene.tasks] if scene.further else request.label,
        modality=dataset.modality,
        task={task.task_name: task.task for task in scene.tasks} if scene.further else dataset.task,
        limits=home.limits,
    )
    return Judges(source=dataset.examples, rows=rows, target=target.examples)


def _transfer(
    scene: Scene, assembly: Assembly, others: Sequence[Example], judges: Judges, seed: int, reporter: Reporter
) -> Decision:
    """The extractor for the target, of which there are inputs."""

    def told(name: str) -> None:
        reporter.stage(f"trying {name} on {len(others)} inputs without labels")

    return unlabelled.choose(scene, assembly, others, judges, seed, told)


def _damage(
    scene: Scene, learned: Learned, assembly: Assembly, dataset: Dataset, timed: Timed, seed: int
) -> dict[str, tuple[Metric, ...]]:
    """What is left on test inputs gone wrong, in a part of the time that everything else took."""
    timed.stage("answering test inputs gone wrong")
    unseen = [
        example
        for example in dataset.examples
        if example.split == "test"
        and not any(example.digest in learned.of(task.task_name).seen for task in scene.tasks)
    ]
    seconds = DAMAGE * sum(spent for _, spent in timed.stages())
    session, reader = assembly.session, assembly.preprocessor
    return robustness.of_report(scene, learned.head, session, reader, unseen, seed, seconds)


def report_of(home: Home, scene: str) -> Path:
    """Where the page of a scene's data report lies."""
    return home.settings.home / "reports" / f"{check_scene(scene)}-data.html"


def _read(home: Home, request: Request, seen: bool, reporter: Reporter) -> Dataset:
    if request.validate is not None and request.unlabelled is None:
        raise InvalidInput("--validate judges what inputs without labels bring", "give them with --unlabelled")
    if request.names is not None and request.label:
        message = "--labels are those of one task in words, and --label names columns of data"
        raise InvalidInput(message, "leave --label out, or give DATA instead of --labels")
    if request.names is not None and request.unlabelled is not None:
        raise InvalidInput("--unlabelled needs labelled examples to start from", "give DATA instead of --labels")
    if (request.data is None) == (request.names is None):
        raise InvalidInput("adapt takes data, or labels in words", "give one of DATA and --labels")
    if request.prompts and request.names is None:
        raise InvalidInput("a prompt was given, and no labels to put in it", "give --labels, or leave the prompt out")
    if request.names is not None:
        frames = request.prompts or (names.PICTURE_FRAMES if seen else names.FRAMES)
        listing, source = names.read(request.names, frames), request.names
    else:
        assert request.data is not None, "one of the two is there"
        label = request.label or _known_tasks(home, request.scene)
        listing, source = read(request.data, label, request.modality), request.data
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


def _known_tasks(home: Home, name: str) -> tuple[str, ...]:
    """What the tasks of a scene are called that is there already and has several."""
    held = next((scene for scene in home.registry.scenes() if scene.name == name), None)
    return tuple(task.task_name for task in held.tasks) if held is not None and held.further else ()


def _scene(home: Home, request: Request, dataset: Dataset, taught: Sequence[Example]) -> Scene:
    """The scene as the data suggest it; what the registry holds already goes before."""
    held = {scene.name: scene.new_labels for scene in home.registry.scenes()}
    wanted = choosing.shape(request, dataset, dataset.modality, request.new_labels or held.get(request.scene, "reject"))
    first, *others = (scaled(task, mine) for task, mine in by_task(wanted, taught))
    return replace(first, further=tuple(others))


def with_label_errors(dataset: Dataset, scene: Scene, taught: Sequence[Example], learned: Learned) -> Dataset:
    """Name the labels that the heads, solved without them, contradict."""
    for task, mine in by_task(scene, taught):
        told = learned.of(task.task_name)
        labels = learned.head.of(task.task_name).labels
        standing = [example for example in mine if example.digest in told.rows and example.label in labels]
        if task.task == "regression" or len(standing) < FEWEST_FOR_LABEL_ERRORS:
            continue
        held_NK = told.held_NK[[told.rows[example.digest] for example in standing]]
        errors = clean.label_errors(held_NK, [labels.index(example.label or "") for example in standing])
        dataset = data.with_label_errors(dataset, standing, errors, labels, task.task_name)
    return dataset


def _write_report(home: Home, scene: str, dataset: Dataset) -> Path:
    """The data report as JSON and as a page; returns the page's path."""
    file = report_of(home, scene)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.with_suffix(".json").write_text(json.dumps(dataset.report.to_json(), indent=2), encoding="utf-8")
    page.write(dataset.report, file)
    return file
