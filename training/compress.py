"""A version made smaller, in a lower precision or with fewer channels: another extractor, measured beside its original.

Promises that the candidate is learned from what stands, as any version is: its features are extracted anew, its head is
solved on them; that both are judged on the same rows, none by a head that has seen it (leave-one-out on what stands,
or labelled data that nobody learned); and that a candidate which loses more than a point is told to be refused.
Parity with the original model is no question of a tolerance here: the share of equal answers is told. Knows nothing of
how a graph is lowered.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from core import bundle, plugins
from core.bundle import Bundle, Golden, Manifest, Member, Metric
from core.embed import embed
from core.errors import InvalidInput
from core.federation import FOREIGN
from core.follow import Followed, Follower
from core.home import Home
from core.labels import value_of
from core.preprocess import Preprocessor
from core.session import Session
from core.tally import labelled
from core.types import Example, GridRows, Head, Scene, Version
from exporters import channels, precision
from exporters.channels import Pruned
from exporters.compose import extractor_name, with_head
from exporters.precision import Lowered
from training import card, comparison, data, features, measure, unlabelled
from training.adapt import closed_form
from training.comparison import Answers
from training.reporter import Reporter
from training.tasks import by_task

WORST = 0.01  # a point
FULL = "fp32"
MEASURED_ON = 128  # inputs on which ranges, likeness and times are measured
JUDGES = {"classification": "balanced_accuracy", "regression": "r2"}


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a user asks for: ``version`` of a scene in ``precision``, judged on ``data`` or on what stands.

    ``prune`` is the share of the channels inside its blocks that goes before. ``worst`` is what may be lost of balanced
    accuracy, or R²; more is refused.
    """

    scene: Scene
    version: Version
    precision: str = FULL
    prune: float = 0.0
    data: Path | None = None
    label: str | None = None
    worst: float = WORST
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Compressed:
    """A version that could be registered.

    Attributes:
        files: of its bundle, the manifest apart.
        original: the accuracy of the version it was made of, on the same rows, for each task by its name.
        milliseconds: its time a row by batch.
        refusals: why it should not be registered; none where it may.
    """

    manifest: Manifest
    files: Mapping[str, bytes] = field(repr=False)
    head: Head = field(repr=False)
    lowered: Lowered | None
    pruned: Pruned | None
    original: Mapping[str, Mapping[str, Metric]]
    milliseconds: Mapping[int, float]
    refusals: tuple[str, ...]


@dataclass(frozen=True)
class _Side:
    """One of the two: its model with its own head, and what follows the labels for it."""

    session: Session
    reader: Preprocessor
    extractor: str
    follower: Follower
    head: Head


def compress(home: Home, request: Request, reporter: Reporter) -> Compressed:
    """Lower, extract, solve, measure; nothing is registered.

    Raises:
        LookupError: an unknown precision.
        InvalidInput: the version is in a lower precision already, is of tables, has nothing to lower or to prune, or
            too few examples stand to measure it on.
    """
    held = home.bundle(request.version.version)
    _check(request, held.manifest)
    reporter.stage("features for what stands")
    original = _side(home, request, held, held.model, reporter)
    rows = _rows(home, original, request.seed)
    model, pruned, lowered = held.model, None, None
    if request.prune:
        reporter.stage(
            f"taking out {100 * request.prune:g} % of the channels inside blocks, and solving what reads them"
        )
        pruned = channels.prune(model, request.prune, rows, reporter.progress)
        model = pruned.model
    if request.precision != FULL:
        reporter.stage(f"{request.precision}: ranges, and what had better stay in float")
        lowered = precision.lower(model, request.precision, rows, reporter.progress)
        model = lowered.model
    reporter.stage("features of the smaller model")
    candidate = _side(home, request, held, model, reporter)
    reporter.stage("measuring both")
    costs, milliseconds = comparison.of_costs(held.model, model, rows, request.seed)
    first, second = _measured(_judged(home, request, original, candidate, reporter), request.seed)
    second[request.scene.task_name] |= costs
    manifest = _manifest(request, held.manifest, candidate, second, pruned)
    return Compressed(
        manifest=manifest,
        files=_files(held, model, candidate.head, manifest),
        head=candidate.head,
        lowered=lowered,
        pruned=pruned,
        original=first,
        milliseconds=milliseconds,
        refusals=tuple(
            word for task in request.scene.tasks for word in refusals(task, second[task.task_name], request.worst)
        ),
    )


def register(home: Home, scene: Scene, made: Compressed) -> Version:
    """Put the bundle in its place and register it; it serves once it is promoted.

    Raises:
        Unavailable: the disk is full or cannot be written.
    """
    with tempfile.TemporaryDirectory() as folder:
        version = bundle.write(Path(folder), made.manifest, made.files)
        home.artifacts.adopt(Path(folder), version)
    told = home.bundle(version).manifest.model_dump(mode="json")
    return home.registry.register(scene.name, version, told, made.head)


def _check(request: Request, manifest: Manifest) -> None:
    if request.precision not in get_args(precision.Precision):
        raise LookupError(f"no precision is named {request.precision!r}; choose one of: {', '.join(precision.LOWER)}")
    if manifest.precision != "fp32":
        raise InvalidInput(
            f"version {request.version.version[:12]} is in {manifest.precision} already",
            f"name the version that it was made of: {str(manifest.lineage.parent)[:12]}",
        )
    if manifest.recipe in plugins.names(unlabelled.METHODS):
        raise InvalidInput(
            f"version {request.version.version[:12]} was made by {manifest.recipe} for inputs without labels: its "
            "labelled examples keep features of another extractor, which a lower precision would not give again",
            "compress a version that was adapted without --unlabelled",
        )
    if FOREIGN in manifest.files:
        raise InvalidInput(
            f"version {request.version.version[:12]} holds sums of other sites, which are of its features alone",
            "compress the version before they were added, and let every site do the same",
        )
    if manifest.modality == "tabular":
        raise InvalidInput(
            f"{manifest.scene!r} is a scene of tables: there is nothing to quantise in what scales a few columns",
            "serve it as it is; it answers in less than a millisecond",
        )


def _side(home: Home, request: Request, held: Bundle, model: bytes, reporter: Reporter) -> _Side:
    session = Session(model, threads=2)
    reader = home.preprocessor(held, session)
    extractor = extractor_name(model, reader.key)
    told = {**request.version.manifest, "extractor": extractor}
    follower = home.follower(request.scene, dataclasses.replace(request.version, manifest=told))
    follower.catch_up()
    if follower.missing:
        embed(home.evidence, session, reader, extractor, follower.missing, progress=reporter.progress)
        follower.catch_up()
    head = follower.head()
    if head is None:
        raise InvalidInput(f"nothing stands in scene {request.scene.name!r}", "label two examples of a class first")
    return _Side(session, reader, extractor, follower, head)


def _rows(home: Home, side: _Side, seed: int) -> dict[str, NDArray[Any]]:
    """Some inputs of what stands, as the model takes them."""
    names = sorted(side.follower.state.rows)
    order = np.random.default_rng(seed).permutation(len(names))
    contents = (home.evidence.input(names[place]) for place in order)
    found = []
    for content in contents:
        if content is not None:
            found.append(side.reader.read(content))
        if len(found) == MEASURED_ON:
            break
    if len(found) < precision.LEAST_ROWS:
        raise InvalidInput(
            f"{len(found)} inputs of what stands can be read; expected at least {precision.LEAST_ROWS}, to measure "
            "ranges and likeness on",
            "label more examples, and keep their inputs",
        )
    return dict(side.reader.batch(found))


@dataclass(frozen=True)
class _Task:
    """One task of the scene: who is judged on it, and what either side answers."""

    scene: Scene
    examples: list[Example]
    original: Answers
    candidate: Answers
    prefix: str = ""

    def metrics(self, seed: int) -> tuple[dict[str, Metric], dict[str, Metric]]:
        """The accuracy of the original; that of the candidate, with what compares them."""
        first, second = (
            {
                self.prefix + name: metric
                for name, metric in measure.of_examples(
                    self.scene, each.outputs, self.examples, each.labels, seed
                ).items()
            }
            for each in (self.original, self.candidate)
        )
        told = comparison.of_answers(self.scene, self.original, self.candidate, self.examples, seed)
        return first, second | told


def _measured(tasks: list[_Task], seed: int) -> tuple[dict[str, dict[str, Metric]], dict[str, dict[str, Metric]]]:
    """Figures of the original, and of the candidate, for each task by its name."""
    told = {task.scene.task_name: task.metrics(seed) for task in tasks}
    return {name: each[0] for name, each in told.items()}, {name: each[1] for name, each in told.items()}


def _judged(home: Home, request: Request, original: _Side, candidate: _Side, reporter: Reporter) -> list[_Task]:
    """Every task, answered by both."""
    if request.data is None:
        pairs = zip(original.follower.tasks, candidate.follower.tasks, strict=True)
        return [_left_out(original.head, candidate.head, *pair) for pair in pairs]
    examples = _unseen(home, request, reporter)
    rows = [_features(home, side, examples, reporter) for side in (original, candidate)]
    heads = (original.head, candidate.head)
    return [_answered(task, list(mine), rows, heads) for task, mine in by_task(request.scene, examples)]


def _answered(
    task: Scene, examples: list[Example], rows: Sequence[Mapping[str, GridRows]], heads: Sequence[Head]
) -> _Task:
    """One task of labelled data, by the features and the head of either side."""

    def answers(held: Mapping[str, GridRows], head: Head) -> Answers:
        rows_ND = np.stack([held[example.digest] for example in examples])
        return Answers(outputs=measure.answers(task, head, rows_ND), labels=head.labels)

    name = task.task_name
    return _Task(task, examples, answers(rows[0], heads[0].of(name)), answers(rows[1], heads[1].of(name)))


def _left_out(original: Head, candidate: Head, first: Followed, second: Followed) -> _Task:
    """What stands under both for a task, each example answered by a head without it."""
    task, name = first.task, first.task.task_name
    heads = (original.of(name), candidate.of(name))
    known, others = first.state.rows, second.state.rows
    names = [
        digest
        for digest in sorted(known.keys() & others.keys())
        if task.task == "regression" or all(known[digest].column in head.labels for head in heads)
    ]
    answers = tuple(
        Answers(outputs=closed_form.of_task(followed, head, names).held_NK, labels=head.labels)
        for followed, head in zip((first, second), heads, strict=True)
    )
    examples = [_example(task, digest, known[digest].column, known[digest].target) for digest in names]
    return _Task(task, examples, answers[0], answers[1], "leave_one_out_")


def _example(scene: Scene, name: str, column: str, target: int | None) -> Example:
    if scene.task == "regression":
        assert target is not None, "a regression's rows have targets"
        return Example(digest=name, path="", split="train", value=value_of(scene, target))
    return Example(digest=name, path="", split="train", label=column)


def _unseen(home: Home, request: Request, reporter: Reporter) -> list[Example]:
    """Labelled examples of the data that no head has learned from; its test side, where it says which that is."""
    assert request.data is not None, "asked for"
    scene = request.scene
    names = [task.task_name for task in scene.tasks]
    dataset = data.load(
        request.data,
        label=names if scene.further else request.label,
        modality=scene.modality,
        task={task.task_name: task.task for task in scene.tasks} if scene.further else scene.task,
        limits=home.limits,
        progress=reporter.progress,
    )
    digests = [example.digest for example in dataset.examples]
    learned = set[str]().union(*(labelled(home.ledger.database, scene.name, digests, name) for name in names))
    found = [example for example in dataset.examples if example.digest not in learned]
    if not found:
        raise InvalidInput(
            f"all {len(dataset.examples)} examples of {request.data.name} are labelled in the ledger already",
            "give data that the scene has not learned from, or none, to judge by leave-one-out",
        )
    return found


def _features(home: Home, side: _Side, examples: list[Example], reporter: Reporter) -> dict[str, GridRows]:
    rows_ND = features.extract(side.session, side.reader, side.extractor, examples, home.cache, reporter.progress)
    return {example.digest: row for example, row in zip(examples, rows_ND, strict=True)}


def refusals(scene: Scene, told: Mapping[str, Metric], worst: float) -> tuple[str, ...]:
    """Why a version of these figures should not be registered; none where it may."""
    name = JUDGES[scene.task]
    change = told[f"change_{name}"]
    if change.value >= -worst:
        return ()
    words = name.replace("_", " ")
    return (
        f"{words} is {-100 * change.value:.1f} points lower ({100 * change.low:+.1f} to {100 * change.high:+.1f}) on "
        f"{change.rows} rows; {100 * worst:g} is tolerated",
    )


def _manifest(
    request: Request,
    held: Manifest,
    side: _Side,
    metrics: Mapping[str, Mapping[str, Metric]],
    pruned: Pruned | None,
) -> Manifest:
    lineage = held.lineage.model_copy(
        update={
            "sequence": side.head.sequence,
            "parent": request.version.version,
            "code": importlib.metadata.version("lepton"),
        }
    )
    further = [task.model_copy(update=_solved(side.head.of(task.name), metrics[task.name])) for task in held.further]
    told: dict[str, object] = {"precision": request.precision, "extractor": side.extractor, "lineage": lineage}
    told |= {"files": {}}
    if pruned is not None:
        told["members"] = tuple(_without_channels(member, pruned) for member in held.members)
    return held.model_copy(update=_solved(side.head, metrics[held.task_name]) | told | {"further": tuple(further)})


def _without_channels(member: Member, pruned: Pruned) -> Member:
    """A member whose weights were solved on rows of the scene, so that an erasure names the version, and were not kept
    as those of a network in torch."""
    source = f"{member.source}, {pruned.before - pruned.after} of {pruned.before} channels pruned"
    digest = hashlib.sha256(pruned.model).hexdigest()
    return member.model_copy(update={"source": source, "digest": digest, "tuned": True, "weights": ""})


def _solved(head: Head, metrics: Mapping[str, Metric]) -> dict[str, object]:
    """What a manifest says of one task's head."""
    return {
        "labels": head.labels,
        "lam": head.lam,
        "temperature": head.temperature,
        "metrics": dict(metrics),
    }


def _files(held: Bundle, model: bytes, head: Head, manifest: Manifest) -> dict[str, bytes]:
    """The bundle: the golden inputs are those of the original, which belong to nobody."""
    whole = with_head(model, head)
    answer = Session(whole).predict(held.golden.inputs)
    golden = Golden(held.golden.inputs, answer.features, answer.outputs, answer.further)
    return {
        bundle.MODEL: whole,
        bundle.GOLDEN: bundle.golden_bytes(golden),
        bundle.CARD: card.render(manifest).encode(),
        **held.files,
    }
