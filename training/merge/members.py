"""Models that answer the same rows, as the methods of training.fuse that fuse features or logits see them.

Promises that no row is judged by a head that has seen it: scores are leave-one-out, and what is chosen on rows is
judged on others (``folds``). Knows nothing of graphs or of versions.

Legend: M members, N rows, D features, K columns (1 for regression).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from core.calibrate import leave_one_out
from core.types import Doubles, GridRows, Task
from training import select

Flags = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Member:
    """One model: its features of the rows by itself, on the grid, and what a row costs."""

    name: str
    features_ND: GridRows = field(repr=False)
    milliseconds: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a method may look at.

    Attributes:
        targets_NK: one-hot rows for classes, or the values on the grid's scale.
        judged_N: rows on which a choice may be judged: those that no member's weights were tuned on.
    """

    members: Sequence[Member]
    task: Task
    targets_NK: Doubles = field(repr=False)
    judged_N: Flags = field(repr=False)
    seed: int = 0

    @property
    def groups(self) -> list[str]:
        """The class of every judged row."""
        if self.task == "regression":
            return [""] * int(self.judged_N.sum())
        return [str(k) for k in self.targets_NK[self.judged_N].argmax(axis=1)]


@dataclass(frozen=True, kw_only=True)
class Mix:
    """What came of it.

    Attributes:
        alphas: the share of each member, exactly summing to 1; 0 where it was left out.
        widths: how many features of each member are used; fewer than it has where they are projected.
        blocks: whether every member has a head of its own.
        outcomes_N: what each judged row counts: 1 or 0, or 1 - squared error / variance.
    """

    alphas: tuple[float, ...]
    widths: tuple[int, ...]
    blocks: bool
    outcomes_N: Doubles = field(repr=False)
    tried: dict[str, float] = field(default_factory=dict)
    chosen: dict[str, float] = field(default_factory=dict)

    @property
    def kept(self) -> tuple[int, ...]:
        """Places of the members that are in it."""
        return tuple(place for place, alpha in enumerate(self.alphas) if alpha > 0)


def everything(rows: Sequence[object]) -> Flags:
    """All rows may judge."""
    return np.ones(len(rows), np.bool_)


def held_out(given: Given, features_ND: GridRows) -> Doubles:
    """(N, K) scores of every row by a head of all others."""
    return leave_one_out(features_ND, given.targets_NK, np.ones(len(features_ND))).scores_NK


def outcomes(given: Given, scores_NK: Doubles) -> Doubles:
    """What each judged row counts by these scores of all rows."""
    scores_JK, targets_JK = scores_NK[given.judged_N], given.targets_NK[given.judged_N]
    if given.task == "regression":
        spread = max(float(targets_JK.var()), np.finfo(np.float64).tiny)
        counted_J: Doubles = 1.0 - np.square(scores_JK - targets_JK)[:, 0] / spread
        return counted_J
    right_J: Doubles = (scores_JK.argmax(axis=1) == targets_JK.argmax(axis=1)).astype(np.float64)
    return right_J


def alone(given: Given, member: Member) -> Doubles:
    """What each judged row counts by one member."""
    return outcomes(given, held_out(given, member.features_ND))


def score(given: Given, outcomes_J: Doubles) -> float:
    """Mean over the classes."""
    return select.score(outcomes_J, given.groups)


def folds(given: Given, count: int) -> Iterator[tuple[Flags, Flags]]:
    """(choose, judge): splits of the judged rows, classes spread evenly; every row is judged once."""
    groups, places = np.array(given.groups), np.flatnonzero(given.judged_N)
    order = np.random.default_rng(given.seed).permutation(len(places))
    fold_J = np.empty(len(places), np.intp)
    fold_J[order[np.argsort(groups[order], kind="stable")]] = np.arange(len(places)) % count
    for number in range(count):
        judge_N = np.zeros(len(given.judged_N), np.bool_)
        judge_N[places[fold_J == number]] = True
        if judge_N.any() and (given.judged_N & ~judge_N).any():
            yield given.judged_N & ~judge_N, judge_N


def shares(parts: Sequence[float] | Doubles, steps: int = 1024) -> tuple[float, ...]:
    """Shares in whole steps, so that they sum to 1 to the last bit; the largest remainders are rounded up.

    >>> shares([1.0, 1.0, 1.0], steps=4)
    (0.5, 0.25, 0.25)
    """
    parts_M = np.maximum(np.asarray(parts, np.float64), 0.0)
    exact_M = steps * (parts_M / parts_M.sum() if parts_M.sum() > 0 else np.full(len(parts_M), 1 / len(parts_M)))
    whole_M = np.floor(exact_M)
    short = int(steps - whole_M.sum())
    whole_M[np.argsort(-(exact_M - whole_M), kind="stable")[:short]] += 1
    return tuple(float(part) / steps for part in whole_M)
