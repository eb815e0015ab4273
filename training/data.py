"""Labelled inputs to clean, split examples, and a report of what was found.

Promises that every input met is an example or a finding that says why not; that no content and no group stands on two
sides; and the same examples for the same contents and seed. Of several tasks an example may lack the labels of some.
Knows nothing of features: labels that look wrong are added to the report by ``with_label_errors`` once a model has an
opinion. Nothing is dropped for looking wrong.

A ``group`` column keeps its groups on one side; without one, a ``subject`` column does (a person's inputs on both
sides would flatter the test). Near twins stay on one side, too, where the split is ours; where it is the user's, the
copy on the less protected side is dropped.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from core.errors import InvalidInput
from core.look.html import shown
from core.preprocess import Limits
from core.types import Example, Split, Task
from training import kinds
from training.clean import Item, LabelError, read_all
from training.copies import find_twins, one_of_each, without_leaks
from training.guess import guess, number
from training.kinds import Kind
from training.listing import Columns, Listing, Row, read
from training.report import DataReport, Finding, TaskReport
from training.split import PROTECTED, assign

STRATA = 5  # quantile groups that keep a regression's sides alike
SIDES: tuple[Split, ...] = ("train", "test")  # that every class is wanted on
JOINT = 10  # examples that every combination of several tasks' strata needs, for sides alike in all of them

Asked = Task | Literal["auto"] | Mapping[str, Task]


@dataclass(frozen=True, kw_only=True)
class FoundTask:
    """A task beside the first, as the data suggest it: ``labels`` are sorted, empty for regression."""

    name: str
    task: Task
    labels: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Clean, split examples. ``labels`` are sorted, empty for regression; ``median_side`` is in pixels, of pictures.

    ``labels`` and ``task`` are those of the first task; of several, ``task_name`` is what it is called, and ``further``
    has the others.
    """

    examples: tuple[Example, ...]
    labels: tuple[str, ...]
    task: Task
    report: DataReport
    median_side: int
    modality: str = "image"
    names: Mapping[str, str] = field(default_factory=dict, repr=False)
    task_name: str = ""
    further: tuple[FoundTask, ...] = ()

    def of(self, split: Split) -> tuple[Example, ...]:
        """The examples of one side."""
        return tuple(example for example in self.examples if example.split == split)

    @property
    def digest(self) -> str:
        """SHA-256 of contents, labels and sides: the same for the same examples, wherever they lie."""
        told = "\n".join(f"{e.digest}\0{e.split}\0{e.label!r}\0{e.value!r}{_also(e)}" for e in self.examples)
        return hashlib.sha256(told.encode()).hexdigest()


def load(
    path: Path,
    *,
    label: Columns = None,
    modality: str | None = None,
    task: Asked = "auto",
    seed: int = 0,
    limits: Limits | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Read, clean and split a folder of class folders or a table (CSV, JSON lines, Parquet).

    Args:
        label: the table's label column, default ``label``; several make a task each.
        modality: what the inputs are; None follows the files or the columns.
        task: ``auto`` follows the labels, as ``training.guess`` says. One for all tasks, or by name for some.
        limits: what an input may cost.
        progress: called with (done, total) inputs.

    Raises:
        NotFound: no such path.
        InvalidInput: nothing usable, one class only, a missing column; the message says what there is instead.
    """
    return from_listing(read(path, label, modality), path, task=task, seed=seed, limits=limits, progress=progress)


def from_listing(
    listing: Listing,
    source: Path,
    *,
    task: Asked = "auto",
    seed: int = 0,
    limits: Limits | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Clean and split what is listed, of ``source``. Arguments and errors as ``load`` says."""
    kind = kinds.kind(listing.modality)
    names = listing.tasks or ("",)
    tasks, guessed = _tasks(listing, source, names, task)
    rows, findings = _check_values(listing.rows, names, tasks)
    items, unread = read_all(rows, kind, limits or Limits(), progress)
    findings = [*listing.refused, *listing.remarks, *guessed, *findings, *unread]
    contents = {item.row.name: item.row.content for item in items if item.row.content is not None}
    items, copies = one_of_each(items, tasks)
    twins, remarks = find_twins(items, kind, tasks)
    items, units, leaks = without_leaks(items, twins, tasks)
    lost = {leak.path for leak in leaks}
    findings += [*copies, *(remark for remark in remarks if remark.path not in lost), *leaks]
    sides = assign(
        [item.digest for item in items],
        _strata(items, tasks),
        units,
        [item.row.split for item in items],
        seed,
    )
    if not items:
        _refuse_nothing(findings, source, kind)
    told = _told(items, sides, names, tasks)
    for name, each in told.items():
        _refuse_useless(each, name, source, kind)
        findings += _remarks_on_classes(each)
    findings += _remarks_on_inputs(told.values(), kind)
    first, *others = told
    return Dataset(
        examples=tuple(_example(item, side, names, tasks) for item, side in zip(items, sides, strict=True)),
        labels=told[first].classes,
        task=told[first].task,
        report=_report(listing, sides, findings, told, contents),
        median_side=int(np.median([item.look.side for item in items])),
        modality=listing.modality,
        names={item.digest: item.row.name for item in items},
        task_name=first,
        further=tuple(FoundTask(name=name, task=told[name].task, labels=told[name].classes) for name in others),
    )


@dataclass(frozen=True)
class Told:
    """What the examples say for one task: the texts of those that say something, their inputs and their sides."""

    task: Task
    labels: Sequence[str]
    contents: Sequence[bytes]
    sides: Sequence[Split]

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels, sorted; none for regression."""
        return tuple(sorted(set(self.labels))) if self.task == "classification" else ()


def with_label_errors(
    dataset: Dataset, examples: Sequence[Example], errors: Sequence[LabelError], labels: Sequence[str], task: str = ""
) -> Dataset:
    """``dataset`` with a report that names the labels that look wrong: ``errors`` are positions in ``examples``.

    ``task`` is the name of the task, empty where there is one.
    """
    named = f"{task}: " if task else ""
    found = tuple(
        Finding(
            kind="label_error",
            path=dataset.names[examples[error.index].digest],
            dropped=False,
            label=labels[error.given],
            detail=f"{named}looks like {labels[error.suggested]} "
            f"(probability of its own label {error.probability:.3f})",
        )
        for error in errors
    )
    return replace(dataset, report=dataset.report.adding(found))


def _told(
    items: Sequence[Item], sides: Sequence[Split], names: Sequence[str], tasks: Sequence[Task]
) -> dict[str, Told]:
    found: dict[str, Told] = {}
    for t, (name, task) in enumerate(zip(names, tasks, strict=True)):
        mine = [(item.row, side) for item, side in zip(items, sides, strict=True) if item.row.labels[t]]
        found[name] = Told(
            task, [row.labels[t] for row, _ in mine], [row.content or b"" for row, _ in mine], [s for _, s in mine]
        )
    return found


def _remarks_on_inputs(told: Iterable[Told], kind: Kind) -> list[Finding]:
    """What the modality remarks of inputs and labels, once, though it may be said for every task."""
    return list(dict.fromkeys(remark for each in told for remark in kind.remarks(each.contents, each.labels)))


def _tasks(
    listing: Listing, source: Path, names: Sequence[str], asked: Asked
) -> tuple[tuple[Task, ...], list[Finding]]:
    """What every task is: as it was asked for, else as its labels suggest; and remarks on the latter."""
    wanted: Mapping[str, Task | Literal["auto"]] = dict.fromkeys(names, asked) if isinstance(asked, str) else asked
    unknown = sorted(wanted.keys() - set(names))
    if unknown:
        choices = ", ".join(names) if listing.tasks else "it alone, without a name"
        raise InvalidInput(f"there is no task {shown(unknown[0])}", f"say of {choices} what it is")
    found: list[Task] = []
    findings: list[Finding] = []
    for t, name in enumerate(names):
        kind = wanted.get(name, "auto")
        if kind == "auto":
            kind, remarks = guess([row.labels[t] for row in listing.rows if row.labels[t]], source.is_dir(), name)
            findings += remarks
        found.append(kind)
    return tuple(found), findings


def _check_values(rows: Sequence[Row], names: Sequence[str], tasks: Sequence[Task]) -> tuple[list[Row], list[Finding]]:
    """Rows without labels of regressions that are no numbers; those that have no label then are left out."""
    good, bad = [], []
    for row in rows:
        odd = [t for t, text in enumerate(row.labels) if text and tasks[t] == "regression" and number(text) is None]
        kept = tuple("" if t in odd else text for t, text in enumerate(row.labels))
        if any(kept):
            good.append(row if not odd else replace(row, labels=kept))
        for t in odd:
            detail = f"{shown(row.labels[t])!r} is not a finite number"
            told = f"{names[t]}: {detail}" if names[t] else detail
            last = not any(kept) and t == odd[-1]
            bad.append(Finding(kind="bad_value", path=row.name, dropped=last, detail=told, label=row.labels[t]))
    return good, bad


def _strata(items: Sequence[Item], tasks: Sequence[Task]) -> list[str]:
    """What sides keep in proportion: the label, or the quantile group of the value; of several tasks all of them where
    there are enough examples of every combination, else those of the first."""
    columns = [_strata_of(items, t, task) for t, task in enumerate(tasks)]
    if len(columns) == 1:
        return columns[0]
    joint = ["\0".join(strata) for strata in zip(*columns, strict=True)]
    return joint if min(Counter(joint).values(), default=0) >= JOINT else columns[0]


def _strata_of(items: Sequence[Item], t: int, task: Task) -> list[str]:
    texts = [item.row.labels[t] for item in items]
    if task == "classification":
        return texts
    valued = [i for i, text in enumerate(texts) if text]
    order = sorted(valued, key=lambda i: (float(texts[i]), items[i].digest))
    ranks = {i: rank for rank, i in enumerate(order)}
    return [str(ranks[i] * STRATA // len(valued)) if i in ranks else "" for i in range(len(items))]


def _example(item: Item, side: Split, names: Sequence[str], tasks: Sequence[Task]) -> Example:
    row = item.row
    said = [
        None if not text else float(text) if task == "regression" else text
        for text, task in zip(row.labels, tasks, strict=True)
    ]
    return Example(
        digest=item.digest,
        path=str(row.path) if row.path is not None else "",
        content=row.content,
        split=side,
        label=said[0] if isinstance(said[0], str) else None,
        value=said[0] if isinstance(said[0], float) else None,
        group=row.group,
        subject=row.subject,
        further={name: told for name, told in zip(names[1:], said[1:], strict=True) if told is not None},
    )


def _also(example: Example) -> str:
    return "".join(f"\0{name}\0{said!r}" for name, said in sorted(example.further.items()))


def _refuse_nothing(findings: Sequence[Finding], path: Path, kind: Kind) -> None:
    counts = ", ".join(f"{kind} {count}" for kind, count in Counter(f.kind for f in findings if f.dropped).items())
    message = f"{shown(path.name)} holds no usable {kind.NOUNS[0]}: all {len(findings)} were dropped ({counts})"
    raise InvalidInput(message, kind.WANTED)


def _refuse_useless(told: Told, name: str, path: Path, kind: Kind) -> None:
    """Stop where nothing can be learned of a task."""
    what = "class" if told.task == "classification" else "value"
    targets = set(told.labels) if told.task == "classification" else {float(label) for label in told.labels}
    where = f"task {name} of {shown(path.name)}" if name else shown(path.name)
    if len(targets) < 2:
        only = f"one {what} only: {shown(next(iter(targets)))}" if targets else f"no {what}"
        message = f"{where} has {only} ({len(told.labels)} {kind.NOUNS[1]})"
        raise InvalidInput(message, f"add {kind.NOUNS[1]} of at least one other {what}")
    if "train" not in told.sides:
        raise InvalidInput(f"{where} has no training example left", "mark some lines as split train")


def _remarks_on_classes(told: Told) -> list[Finding]:
    counts = Counter(zip(told.labels, told.sides, strict=True))
    findings: list[Finding] = []
    folded: dict[str, str] = {}
    for label in told.classes:
        missing = [side for side in SIDES if not counts[label, side]]
        if missing:
            detail = f"class {shown(label)} has no example on the side {' or '.join(missing)}"
            findings.append(Finding(kind="small_class", path=label, dropped=False, detail=detail, label=label))
        twin = folded.setdefault(unicodedata.normalize("NFKC", label).casefold().strip(), label)
        if twin != label:
            detail = f"{shown(label)!r} and {shown(twin)!r} are two classes"
            findings.append(Finding(kind="similar_names", path=label, dropped=False, detail=detail, other=twin))
    return findings


def _report(
    listing: Listing,
    sides: Sequence[Split],
    findings: Sequence[Finding],
    told: Mapping[str, Told],
    contents: Mapping[str, bytes],
) -> DataReport:
    counts = Counter(sides)
    first, *_ = told
    return DataReport(
        root=str(listing.root),
        task=told[first].task,
        seen=len(listing.rows) + len(listing.refused),
        kept=len(sides),
        findings=tuple(findings),
        classes=_classes(told[first]),
        splits={side: counts[side] for side in reversed(PROTECTED)},
        modality=listing.modality,
        contents=contents,
        private=frozenset(row.name for row in listing.rows if row.subject is not None),
        tasks={
            name: TaskReport(task=each.task, labelled=len(each.labels), classes=_classes(each))
            for name, each in told.items()
            if listing.tasks
        },
    )


def _classes(told: Told) -> dict[str, dict[str, int]]:
    counts = Counter(zip(told.labels, told.sides, strict=True))
    return {label: {side: counts[label, side] for side in reversed(PROTECTED)} for label in told.classes}
