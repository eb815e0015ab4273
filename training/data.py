"""Labelled inputs to clean, split examples, and a report of what was found.

Promises that every input met is an example or a finding that says why not; that no content and no group stands on two
sides; and the same examples for the same contents and seed. Knows nothing of features: labels that look wrong are added
to the report by ``with_label_errors`` once a model has an opinion. Nothing is dropped for looking wrong.

A ``group`` column keeps its groups on one side; without one, a ``subject`` column does (a person's inputs on both
sides would flatter the test). Near twins stay on one side, too, where the split is ours; where it is the user's, the
copy on the less protected side is dropped.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from core.errors import InvalidInput
from core.preprocess import Limits
from core.types import Example, Split, Task
from training import kinds
from training.clean import Item, LabelError, read_all
from training.copies import find_twins, one_of_each, without_leaks
from training.kinds import Kind
from training.listing import Listing, Row, read
from training.report import DataReport, Finding, shown
from training.split import PROTECTED, assign
from training.task import guess, number

STRATA = 5  # quantile groups that keep a regression's sides alike


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Clean, split examples. ``labels`` are sorted, empty for regression; ``median_side`` is in pixels, of pictures."""

    examples: tuple[Example, ...]
    labels: tuple[str, ...]
    task: Task
    report: DataReport
    median_side: int
    modality: str = "image"
    names: Mapping[str, str] = field(default_factory=dict, repr=False)

    def of(self, split: Split) -> tuple[Example, ...]:
        """The examples of one side."""
        return tuple(example for example in self.examples if example.split == split)

    @property
    def digest(self) -> str:
        """SHA-256 of contents, labels and sides: the same for the same examples, wherever they lie."""
        told = "\n".join(f"{e.digest}\0{e.split}\0{e.label!r}\0{e.value!r}" for e in self.examples)
        return hashlib.sha256(told.encode()).hexdigest()


def load(
    path: Path,
    *,
    label: str | None = None,
    modality: str | None = None,
    task: Task | Literal["auto"] = "auto",
    seed: int = 0,
    limits: Limits | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Read, clean and split a folder of class folders or a table (CSV, JSON lines, Parquet).

    Args:
        label: the table's label column, default ``label``.
        modality: what the inputs are; None follows the files or the columns.
        task: ``auto`` follows the labels, as ``training.task`` says.
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
    task: Task | Literal["auto"] = "auto",
    seed: int = 0,
    limits: Limits | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Clean and split what is listed, of ``source``. Arguments and errors as ``load`` says."""
    kind = kinds.kind(listing.modality)
    guessed, remarked = guess([row.label for row in listing.rows], source.is_dir())
    chosen: Task = guessed if task == "auto" else task
    rows, findings = _check_values(listing.rows, chosen)
    items, unread = read_all(rows, kind, limits or Limits(), progress)
    findings = [*listing.refused, *listing.remarks, *findings, *unread]
    contents = {item.row.name: item.row.content for item in items if item.row.content is not None}
    items, copies = one_of_each(items, chosen)
    twins, remarks = find_twins(items, kind, chosen)
    items, units, leaks = without_leaks(items, twins, chosen)
    lost = {leak.path for leak in leaks}
    findings += [*copies, *(remark for remark in remarks if remark.path not in lost), *leaks]
    sides = assign(
        [item.digest for item in items],
        _strata(items, chosen),
        units,
        [item.row.split for item in items],
        seed,
    )
    examples = [_example(item, side, chosen) for item, side in zip(items, sides, strict=True)]
    _refuse_useless(examples, findings, source, chosen, kind)
    findings += [*(remarked if task == "auto" else []), *_remarks_on_classes(examples, chosen)]
    findings += kind.remarks([item.row.content or b"" for item in items], [item.row.label for item in items])
    return Dataset(
        examples=tuple(examples),
        labels=tuple(sorted({example.label for example in examples if example.label is not None})),
        task=chosen,
        report=_report(listing, examples, findings, chosen, contents),
        median_side=int(np.median([item.look.side for item in items])),
        modality=listing.modality,
        names={item.digest: item.row.name for item in items},
    )


def with_label_errors(
    dataset: Dataset, examples: Sequence[Example], errors: Sequence[LabelError], labels: Sequence[str]
) -> Dataset:
    """``dataset`` with a report that names the labels that look wrong: ``errors`` are positions in ``examples``."""
    found = tuple(
        Finding(
            kind="label_error",
            path=dataset.names[examples[error.index].digest],
            dropped=False,
            label=labels[error.given],
            detail=f"looks like {labels[error.suggested]} (probability of its own label {error.probability:.3f})",
        )
        for error in errors
    )
    return replace(dataset, report=dataset.report.adding(found))


def _check_values(rows: Sequence[Row], task: Task) -> tuple[list[Row], list[Finding]]:
    if task == "classification":
        return list(rows), []
    good, bad = [], []
    for row in rows:
        if number(row.label) is not None:
            good.append(row)
            continue
        detail = f"{shown(row.label)!r} is not a finite number"
        bad.append(Finding(kind="bad_value", path=row.name, dropped=True, detail=detail, label=row.label))
    return good, bad


def _strata(items: Sequence[Item], task: Task) -> list[str]:
    """What sides keep in proportion: the label, or the quantile group of the value."""
    if task == "classification":
        return [item.row.label for item in items]
    order = sorted(range(len(items)), key=lambda i: (float(items[i].row.label), items[i].digest))
    ranks = {i: rank for rank, i in enumerate(order)}
    return [str(ranks[i] * STRATA // len(items)) for i in range(len(items))]


def _example(item: Item, side: Split, task: Task) -> Example:
    row = item.row
    return Example(
        digest=item.digest,
        path=str(row.path) if row.path is not None else "",
        content=row.content,
        split=side,
        label=row.label if task == "classification" else None,
        value=float(row.label) if task == "regression" else None,
        group=row.group,
        subject=row.subject,
    )


def _refuse_useless(
    examples: Sequence[Example], findings: Sequence[Finding], path: Path, task: Task, kind: Kind
) -> None:
    """Stop where nothing can be learned."""
    if not examples:
        kinds = ", ".join(f"{kind} {count}" for kind, count in Counter(f.kind for f in findings if f.dropped).items())
        message = f"{shown(path.name)} holds no usable {kind.NOUNS[0]}: all {len(findings)} were dropped ({kinds})"
        raise InvalidInput(message, kind.WANTED)
    targets = {example.label if task == "classification" else example.value for example in examples}
    if len(targets) < 2:
        what = "class" if task == "classification" else "value"
        message = f"{shown(path.name)} has one {what} only: {shown(targets.pop())} ({len(examples)} {kind.NOUNS[1]})"
        raise InvalidInput(message, f"add {kind.NOUNS[1]} of at least one other {what}")
    if not any(example.split == "train" for example in examples):
        raise InvalidInput(f"{shown(path.name)} has no training example left", "mark some lines as split train")


def _remarks_on_classes(examples: Sequence[Example], task: Task) -> list[Finding]:
    if task == "regression":
        return []
    counts = Counter((example.label or "", example.split) for example in examples)
    findings: list[Finding] = []
    folded: dict[str, str] = {}
    for label in sorted({label for label, _ in counts}):
        missing = [side for side in ("train", "test") if not counts[label, side]]
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
    examples: Sequence[Example],
    findings: Sequence[Finding],
    task: Task,
    contents: Mapping[str, bytes],
) -> DataReport:
    classes: dict[str, dict[str, int]] = {}
    for example in examples:
        if example.label is not None:
            row = classes.setdefault(example.label, {side: 0 for side in reversed(PROTECTED)})
            row[example.split] += 1
    sides = Counter(example.split for example in examples)
    return DataReport(
        root=str(listing.root),
        task=task,
        seen=len(listing.rows) + len(listing.refused),
        kept=len(examples),
        findings=tuple(findings),
        classes=dict(sorted(classes.items())),
        splits={side: sides[side] for side in reversed(PROTECTED)},
        modality=listing.modality,
        contents=contents,
    )
