"""The labelled rows that stand, as every version sees them: what fusions of versions are chosen and judged on.

Promises the same rows for all, features by the extractor that serves, and that no version is judged on rows that its
weights were tuned on: of tuned versions only the rows count that each of them left aside. Knows nothing of methods.

Legend: N rows, D features, K columns (1 for regression).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from core.errors import InvalidInput
from core.follow import Follower
from core.head import Row
from core.home import Home
from core.promotion import prepare
from core.statistics import from_grid
from core.types import Doubles, Example, GridRows, Scene
from training import select
from training.features import Progress
from training.merge.members import Flags, Given, Member
from training.merge.parents import Parent
from training.whose import words

FEWEST = 10  # rows that can tell anything


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Rows and what they are to each version.

    Attributes:
        examples: N standing examples, classes in turn, with their inputs.
        features: of each version, in the order of ``parents``: (N, D).
        milliseconds: of each version, a row.
        judged_N: rows that may judge.
        held: all examples that no version was tuned on; None where none was tuned at all.
    """

    scene: Scene
    parents: tuple[Parent, ...]
    examples: tuple[Example, ...]
    features: tuple[GridRows, ...] = field(repr=False)
    milliseconds: tuple[float, ...]
    judged_N: Flags = field(repr=False)
    held: frozenset[str] | None
    seed: int

    @property
    def given(self) -> Given:
        """The versions as members."""
        members = [
            Member(name=parent.name, features_ND=rows_ND, milliseconds=spent)
            for parent, rows_ND, spent in zip(self.parents, self.features, self.milliseconds, strict=True)
        ]
        task, targets_NK = self.scene.task, targets(self.scene, self.examples)
        return Given(members=members, task=task, targets_NK=targets_NK, judged_N=self.judged_N, seed=self.seed)


def bench(home: Home, scene: Scene, parents: Sequence[Parent], seed: int, progress: Progress) -> Bench:
    """Features of what stands under every version, where they are missing, and a sample of it.

    Raises:
        InvalidInput: too little stands, or too little that no version was tuned on.
    """
    followers = [_followed(home, scene, parent, progress) for parent in parents]
    common = set(followers[0].state.rows).intersection(*(follower.state.rows for follower in followers[1:]))
    subjects, _ = words(home, scene.name, common)  # a bundle keeps rows of nobody who could be erased
    listed = [
        replace(example_of(scene, row), subject=subjects.get(name))
        for name, row in followers[0].state.rows.items()
        if name in common
    ]
    held = _held(home, parents)
    read = [replace(e, content=home.evidence.input(e.digest)) for e in _drawn(scene, listed, held, seed)]
    drawn = tuple(example for example in read if example.content is not None)
    judged_N = np.array([held is None or example.digest in held for example in drawn], np.bool_)
    if judged_N.sum() < FEWEST:
        raise InvalidInput(
            f"{len(drawn)} examples of {scene.name!r} stand under all these versions and can be read, "
            f"{int(judged_N.sum())} of them unseen by every tuning; expected at least {FEWEST}",
            "label more of the scene, or adapt again with more validation rows",
        )
    return Bench(
        scene=scene,
        parents=tuple(parents),
        examples=drawn,
        features=tuple(np.stack([f.state.rows[e.digest].features for e in drawn]) for f in followers),
        milliseconds=tuple(select.latency(parent.session, parent.preprocessor, drawn[0]) for parent in parents),
        judged_N=judged_N,
        held=held,
        seed=seed,
    )


def targets(scene: Scene, examples: Sequence[Example]) -> Doubles:
    """(N, K) one-hot rows, classes sorted; or (N, 1) values on the grid's scale."""
    if scene.task == "regression":
        return np.array([[(example.value or 0.0) - scene.offset] for example in examples]) / scene.scale
    labels = [example.label or "" for example in examples]
    classes = sorted(set(labels))
    return np.eye(len(classes))[[classes.index(label) for label in labels]]


def _followed(home: Home, scene: Scene, parent: Parent, progress: Progress) -> Follower:
    prepare(home, scene.name, parent.version.version, progress)
    follower = home.follower(scene, parent.version)
    follower.catch_up()
    return follower


def example_of(scene: Scene, row: Row) -> Example:
    """A standing row as training knows examples."""
    if row.target is None:
        return Example(digest=row.example, path="", split="train", label=row.column)
    value = float(from_grid(np.array(row.target, np.int16))) * scene.scale + scene.offset
    return Example(digest=row.example, path="", split="train", value=value)


def _held(home: Home, parents: Sequence[Parent]) -> frozenset[str] | None:
    """Examples that no version was tuned on; None where none was tuned at all.

    Raises:
        InvalidInput: a tuned version does not say what it was tuned on.
    """
    lists: list[set[str]] = []
    for parent in parents:
        if not any(member.tuned for member in parent.manifest.members):
            continue
        lists.append(home.untouched.of(parent.manifest.lineage.validation))
        if not lists[-1]:
            raise InvalidInput(
                f"version {parent.name} was tuned, and the list of rows that it left aside is gone",
                "adapt it again: the list is kept with every tuned version",
            )
    return frozenset(set.intersection(*lists)) if lists else None


def _drawn(scene: Scene, listed: list[Example], held: frozenset[str] | None, seed: int) -> tuple[Example, ...]:
    """At most as many rows as a selection looks at; those that may judge first, up to half of them."""
    if held is None:
        return select.subsample(listed, scene.task, seed)
    mine = [example for example in listed if example.digest in held]
    judging = select.subsample(mine, scene.task, seed, select.SAMPLE // 2)
    taken = {example.digest for example in judging}
    others = [example for example in listed if example.digest not in held | taken]
    return (*judging, *select.subsample(others, scene.task, seed, select.SAMPLE - len(judging)))
