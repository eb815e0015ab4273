"""What was found in a data set: every input accounted for, nothing silently dropped.

Promises that ``kept + dropped == seen``, and that names chosen by strangers cannot write control characters to a
terminal. Knows nothing of how the findings were made; ``training.page`` draws the same report as a page.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from core.look.html import shown
from core.types import Task

# kind → what it means, in the order in which a report shows them
KINDS: dict[str, str] = {
    "label_error": "Label looks wrong (kept)",
    "conflict": "Same input under different labels",
    "twin_conflict": "Near twins under different labels (kept)",
    "leak": "Same input or group on a protected side, too",
    "duplicate": "Exact duplicate",
    "twin": "Near twin (kept, on one side)",
    "alike": "Inputs that hardly differ (kept)",
    "label_column": "Column that says the label (kept)",
    "constant_column": "Column of a single value (kept)",
    "corrupt": "Cannot be read as what it should be",
    "other_format": "Not in an accepted format",
    "too_large": "Larger than the limits",
    "empty": "Empty file",
    "missing": "No such file",
    "unreadable": "Cannot be read",
    "not_a_file": "Not a regular file",
    "link_loop": "Link to a folder that is read already",
    "outside": "Outside the data folder",
    "bad_name": "Name is not valid UTF-8",
    "hidden": "Hidden file",
    "no_class": "In no class folder",
    "no_input": "No input in the line",
    "nameless": "Column without a name (not used)",
    "no_label": "No label",
    "bad_value": "Label is not a finite number",
    "task": "Labels that are many numbers (kept)",
    "small_class": "Class too small to be tested (kept)",
    "similar_names": "Class names that differ only in case or spaces (kept)",
}
EXAMPLES_SHOWN = 3  # files named after each line of the terminal report


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing worth knowing about one input.

    Attributes:
        kind: a key of ``KINDS``.
        path: the file, relative to the data folder, or the line; the name of a class or of a column for what is said
            of those.
        dropped: whether this finding is why the input is not among the examples.
        detail: one sentence part for a person.
        other: the input that it was compared with.
    """

    kind: str
    path: str
    dropped: bool
    detail: str
    label: str | None = None
    other: str | None = None

    def __post_init__(self) -> None:
        """Check the kind."""
        assert self.kind in KINDS, self.kind


@dataclass(frozen=True, kw_only=True)
class TaskReport:
    """One of several tasks: what it is, how many of the examples kept have a label of it, and its classes."""

    task: Task
    labelled: int
    classes: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, kw_only=True)
class DataReport:
    """What stood in a data set and what became of it. ``classes`` maps a label to {split: examples}.

    ``task`` and ``classes`` are those of the first task; ``tasks`` has every one of several, by name. ``contents``
    holds inputs that lie in no files of their own, by name, to be shown; it is not part of the JSON. Inputs of a person
    who may be erased, ``private``, are shown nowhere: a page cannot forget.
    """

    root: str
    task: Task
    seen: int
    kept: int
    findings: tuple[Finding, ...]
    classes: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    splits: Mapping[str, int] = field(default_factory=dict)
    modality: str = "image"
    contents: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    private: frozenset[str] = field(default=frozenset(), repr=False)
    tasks: Mapping[str, TaskReport] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that every input is accounted for."""
        assert self.kept + self.dropped == self.seen, (self.kept, self.dropped, self.seen)

    @property
    def dropped(self) -> int:
        """How many of the inputs seen are not among the examples."""
        return sum(finding.dropped for finding in self.findings)

    def of(self, kind: str) -> tuple[Finding, ...]:
        """The findings of one kind."""
        return tuple(finding for finding in self.findings if finding.kind == kind)

    def adding(self, findings: tuple[Finding, ...]) -> DataReport:
        """This report with more findings."""
        return replace(self, findings=self.findings + findings)

    def to_json(self) -> dict[str, object]:
        """The report as plain JSON values; paths are relative, the place of the data is left out."""
        several = {"tasks": {name: asdict(each) for name, each in self.tasks.items()}} if self.tasks else {}
        return several | {
            "task": self.task,
            "modality": self.modality,
            "seen": self.seen,
            "kept": self.kept,
            "dropped": self.dropped,
            "splits": dict(self.splits),
            "classes": {label: dict(counts) for label, counts in self.classes.items()},
            "counts": dict(self.counts()),
            "findings": [asdict(finding) for finding in self.findings],
        }

    def counts(self) -> Counter[str]:
        """How many findings of each kind, in the order of ``KINDS``."""
        found = Counter(finding.kind for finding in self.findings)
        return Counter({kind: found[kind] for kind in KINDS if found[kind]})

    def lines(self) -> list[str]:
        """The report for a terminal, a line a thing."""
        sides = ", ".join(f"{side} {count}" for side, count in self.splits.items())
        text = [f"{self.seen} inputs seen, {self.kept} kept, {self.dropped} dropped ({sides})"]
        for name, each in self.tasks.items():
            what = f"{len(each.classes)} classes" if each.classes else each.task
            text.append(f"  {name}: {each.labelled} labelled, {what}")
        for kind, count in self.counts().items():
            findings = self.of(kind)
            dropped = sum(finding.dropped for finding in findings)
            names = ", ".join(shown(finding.path) for finding in findings[:EXAMPLES_SHOWN])
            more = ", …" if count > EXAMPLES_SHOWN else ""
            fate = f", {dropped} dropped" if dropped else ""
            text.append(f"  {KINDS[kind]}: {count}{fate}: {names}{more}")
        return text
