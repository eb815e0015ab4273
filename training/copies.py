"""The same example twice: exact copies, near twins, and what of them stands on two sides.

Promises that of every content one example is kept, that a content under two labels of a task is kept nowhere for that
task, and that no content and no group is left on two sides that a user chose. Depends on contents, labels and sides;
names break ties. Knows nothing of how sides are drawn.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from core.look.html import shown
from core.types import Split, Task
from training.clean import Item, clusters, looks_alike
from training.kinds import Kind
from training.report import Finding
from training.split import PROTECTED, protected, same, unite

Tasks = Sequence[Task]  # what each label of a row is


def one_of_each(items: Sequence[Item], tasks: Tasks) -> tuple[list[Item], list[Finding]]:
    """One example for every content, ordered by digest; of copies the one on the most protected side, first by name.

    It has the labels that any of its copies has, but for tasks in which they contradict each other.
    """
    copies: defaultdict[str, list[Item]] = defaultdict(list)
    for item in items:
        copies[item.look.same].append(item)
    kept: list[Item] = []
    findings: list[Finding] = []
    for same_as in sorted(copies):
        first, *rest = sorted(copies[same_as], key=lambda p: (_rank(p.row.split), p.digest, p.row.name))
        told = [_together([p.row.labels[t] for p in (first, *rest)], task) for t, task in enumerate(tasks)]
        labels = tuple(label or "" for label in told)
        odd = [p for p in rest if _contradict(p, first, tasks)] or rest
        if not any(labels):
            findings.append(_copy(first, odd[0], "conflict"))
            findings += [_copy(p, first if p in odd else odd[0], "conflict") for p in rest]
            continue
        if None in told:
            findings.append(replace(_copy(first, odd[0], "conflict"), dropped=False))
        kept.append(first if labels == first.row.labels else replace(first, row=replace(first.row, labels=labels)))
        findings += [_copy(p, first, "leak" if p.row.split != first.row.split else "duplicate") for p in rest]
    return sorted(kept, key=lambda item: item.digest), findings


def find_twins(items: Sequence[Item], kind: Kind, tasks: Tasks) -> tuple[list[list[int]], list[Finding]]:
    """Clusters of near twins that are copies, as positions, and remarks on all clusters."""
    if not items:
        return [], []
    labels = _labels(items, tasks)
    groups: list[list[int]] = []
    findings: list[Finding] = []
    for group in clusters(kind.near([item.look for item in items])):
        first = items[group[0]].row
        if looks_alike(group, labels):
            detail = f"{len(group)} {kind.NOUNS[1]} hardly differ; they are not treated as copies"
            findings.append(Finding(kind="alike", path=first.name, dropped=False, detail=detail, label=first.label))
            continue
        groups.append(group)
        for i in group[1:]:
            row, differs = items[i].row, labels[i] != labels[group[0]]
            detail = f"labelled {shown(row.label)} here, {shown(first.label)} there" if differs else "nearly the same"
            found = "twin_conflict" if differs else "twin"
            findings.append(
                Finding(kind=found, path=row.name, dropped=False, detail=detail, label=row.label, other=first.name)
            )
    return groups, findings


def without_leaks(
    items: list[Item], twins: list[list[int]], tasks: Tasks
) -> tuple[list[Item], list[int], list[Finding]]:
    """Items without those that stand on a more protected side, too, and the unit of each that is left.

    A unit is what has to stay on one side: near twins of one label, and groups, tied through any chain.
    """
    given = [item.row.split for item in items]
    labels = _labels(items, tasks)
    groups = same([item.row.group for item in items])
    copies = [[i for i in twin if labels[i] == label] for twin in twins for label in sorted({labels[i] for i in twin})]
    lost: dict[int, str] = {}
    for reason, bonds in (("a near twin stands on the side", copies), ("its group stands on the side", groups)):
        for bond in bonds:
            best = protected(given[i] for i in bond if i not in lost)
            lost.update({i: f"{reason} {best}" for i in bond if given[i] not in (None, best) and i not in lost})
    kept_bonds = [left for bond in [*copies, *groups] if (left := [i for i in bond if i not in lost])]
    units = unite(len(items), kept_bonds)
    sides: defaultdict[int, set[Split | None]] = defaultdict(set)
    for i, unit in enumerate(units):
        sides[unit].add(given[i])
    for i, unit in enumerate(units):
        if given[i] is None and len(sides[unit] - {None}) > 1:
            lost[i] = "it ties two sides together"
    rows = {i: items[i].row for i in lost}
    findings = [Finding(kind="leak", path=r.name, dropped=True, detail=lost[i], label=r.label) for i, r in rows.items()]
    kept = [i for i in range(len(items)) if i not in lost]
    return [items[i] for i in kept], [units[i] for i in kept], findings


def _labels(items: Sequence[Item], tasks: Tasks) -> list[str]:
    """The classes of every item, in one text; empty for values."""
    classes = [t for t, task in enumerate(tasks) if task == "classification"]
    return [" / ".join(item.row.labels[t] for t in classes) for item in items]


def _contradict(one: Item, other: Item, tasks: Tasks) -> bool:
    pairs = zip(one.row.labels, other.row.labels, tasks, strict=True)
    return any(_together(pair, task) is None for *pair, task in pairs)


def _together(labels: Sequence[str], task: Task) -> str | None:
    """What copies say of a task; empty where none says anything, None where they contradict each other."""
    given = [label for label in labels if label]
    said: set[str | float] = set(given) if task == "classification" else {float(label) for label in given}
    return None if len(said) > 1 else next(iter(given), "")


def _rank(side: Split | None) -> int:
    return PROTECTED.index(side) if side else len(PROTECTED)


def _copy(item: Item, other: Item, kind: str) -> Finding:
    details = {
        "conflict": f"labelled {shown(item.row.label)} here, {shown(other.row.label)} there",
        "leak": f"stands on the side {other.row.split}, too",
        "duplicate": "the same bytes" if item.digest == other.digest else "the same once it is normalised",
    }
    name, label, detail = item.row.name, item.row.label, details[kind]
    return Finding(kind=kind, path=name, dropped=True, detail=detail, label=label, other=other.row.name)
