"""What labelled rows say of one of them without whoever labelled it: probabilities that nobody can vouch for himself.

Ridge regression on a sample of the rows that stand, as the head's λ is chosen on. A row of the sample is answered
without itself; a row whose label hangs on one annotator, where there are several, without all of that annotator's
rows (annotators in up to ``FOLDS`` groups, left out together), as long as others have shown its class. Promises a
function of the rows given. Knows nothing of what is done about labels that are contradicted.

Confident learning: Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in dataset labels",
Journal of Artificial Intelligence Research 70 (2021), arXiv 1911.00068.

Legend: N rows of the sample, M rows asked about, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.special import softmax

from core.calibrate import LEAST_SLACK, leave_one_out, temperature
from core.head import SERVED_FROM, Row
from core.solve import one_thread
from core.statistics import from_grid
from core.types import Doubles, Flags

FOLDS = 8
ANYBODY = ""  # the annotator of labels that name none: each of them is somebody else's


@dataclass(frozen=True, eq=False)
class Ballot:
    """A row that stands, and who says so.

    Attributes:
        supporters: annotators who say its label. disputed: others say something else. released: it was looked at.
    """

    row: Row
    supporters: frozenset[str]
    disputed: bool = False
    released: bool = False

    @property
    def example(self) -> str:
        """Which one it is."""
        return self.row.example

    @property
    def weight(self) -> int:
        """What it weighs."""
        return self.row.weight

    def same(self, other: Ballot) -> bool:
        """Whether both say the same of their example, and the same people say it."""
        alike = (self.supporters, self.disputed, self.released) == (other.supporters, other.disputed, other.released)
        return alike and self.row.same(other.row)

    def digest(self, key: bytes) -> bytes:
        """Keyed hash of features and label."""
        return self.row.digest(key)


class Opinion:
    """What a sample of ballots says.

    Args:
        ballots: the sample, of examples (not of names), at least two of each of ``columns`` and of no other class.
        columns: K classes, two at least.
        annotators: all that are to be grouped, sorted.
    """

    def __init__(self, ballots: Sequence[Ballot], columns: Sequence[str], annotators: Sequence[str]):
        self._place = {label: k for k, label in enumerate(columns)}
        self._folds = {name: place % FOLDS for place, name in enumerate(annotators)} if len(annotators) > 1 else {}
        self._ballots = {ballot.example: n for n, ballot in enumerate(ballots)}
        grid_ND = np.stack([ballot.row.features for ballot in ballots])
        classes_N = np.array([self._place[ballot.row.column] for ballot in ballots])
        weights_N = np.array([ballot.weight for ballot in ballots], np.float64)
        targets_NK = np.eye(len(columns))[classes_N]
        with one_thread():
            found = leave_one_out(grid_ND, targets_NK, weights_N)
            self._temperature = temperature(found.scores_NK, classes_N, weights_N)
            self._out_NK = softmax(found.scores_NK / self._temperature, axis=1)
            rows_ND = from_grid(grid_ND)
            self._fit = _Fit(rows_ND, rows_ND @ rows_ND.T, targets_NK, weights_N, found.lam)
        self.threshold_K: Doubles = np.array([self._out_NK[classes_N == k, k].mean() for k in range(len(columns))])
        self._owner_N = np.array([self._fold(ballot) for ballot in ballots])
        self._classes_N = classes_N
        self._without: dict[int, _Fit] = {}

    def knows(self, label: str) -> bool:
        """Whether the sample has shown this class."""
        return label in self._place

    def place(self, label: str) -> int:
        """The column of a class."""
        return self._place[label]

    def label(self, place: int) -> str:
        """The class of a column."""
        return list(self._place)[place]

    def probabilities(self, ballots: Sequence[Ballot]) -> Doubles:
        """(M, K) of ballots whose class is known, each without whoever it hangs on."""
        told_MK = np.empty((len(ballots), len(self._place)))
        groups: dict[int, list[int]] = {}
        for m, ballot in enumerate(ballots):
            groups.setdefault(self._left_out(ballot), []).append(m)
        with one_thread():
            for fold, places in sorted(groups.items()):
                fit = self._fit if fold < 0 else self._of(fold)
                for m in places:  # one by one: the last bit must not depend on who else is asked about
                    told_MK[m] = softmax(fit.scores(from_grid(ballots[m].row.features)) / self._temperature)
        for m in groups.get(-1, []):
            if ballots[m].example in self._ballots:
                told_MK[m] = self._out_NK[self._ballots[ballots[m].example]]
        return told_MK

    def odds(self, ballot: Ballot) -> float:
        """Leverage over one less leverage, at the weight that the ballot has; in proportion to it."""
        with one_thread():
            reach = ballot.weight * self._fit.reach(from_grid(ballot.row.features))
        return reach / max(1.0 - reach, LEAST_SLACK) if ballot.example in self._ballots else reach

    def _fold(self, ballot: Ballot) -> int:
        """The group that a ballot hangs on; -1 for none."""
        if len(ballot.supporters) != 1:
            return -1
        return self._folds.get(next(iter(ballot.supporters)), -1)

    def _left_out(self, ballot: Ballot) -> int:
        """The group that is left out to answer a ballot; -1: itself alone, as others have not shown its class."""
        fold = self._fold(ballot)
        others_N = (self._owner_N != fold) & (self._classes_N == self._place[ballot.row.column])
        return fold if fold >= 0 and others_N.sum() >= SERVED_FROM else -1

    def _of(self, fold: int) -> _Fit:
        if fold not in self._without:
            self._without[fold] = self._fit.without(self._owner_N == fold)
        return self._without[fold]


class _Fit:
    """Ridge regression in the dual, the intercept not penalised."""

    def __init__(self, rows_ND: Doubles, gram_NN: Doubles, targets_NK: Doubles, weights_N: Doubles, lam: float):
        self._told = rows_ND, gram_NN, targets_NK, weights_N, lam
        shares_N = weights_N / weights_N.sum()
        self._roots_N = np.sqrt(weights_N)
        self._lam, self._total = lam, float(weights_N.sum())
        self._mean_D: Doubles = shares_N @ rows_ND
        inner_N = gram_NN @ shares_N
        centred_NN = gram_NN - inner_N[:, None] - inner_N[None, :] + shares_N @ inner_N
        centred_NN *= np.outer(self._roots_N, self._roots_N)
        centred_NN[np.diag_indices_from(centred_NN)] += lam
        self._factor = cho_factor(centred_NN, lower=True, overwrite_a=True, check_finite=False)
        middle_K = shares_N @ targets_NK
        dual_NK = cho_solve(self._factor, self._roots_N[:, None] * (targets_NK - middle_K), check_finite=False)
        dual_NK *= self._roots_N[:, None]
        self._weight_DK = rows_ND.T @ dual_NK - np.outer(self._mean_D, dual_NK.sum(axis=0))
        self._bias_K = middle_K - self._mean_D @ self._weight_DK

    def scores(self, row_D: Doubles) -> Doubles:
        """(K,)."""
        scores_K: Doubles = row_D @ self._weight_DK + self._bias_K
        return scores_K

    def reach(self, row_D: Doubles) -> float:
        """What a row's own target would count in its own answer, for one unit of weight."""
        rows_ND, *_ = self._told
        centred_D = row_D - self._mean_D
        seen_N = self._roots_N * (rows_ND @ centred_D - self._mean_D @ centred_D)
        taken = float(seen_N @ cho_solve(self._factor, seen_N, check_finite=False))
        return max(float(centred_D @ centred_D) - taken, 0.0) / self._lam + 1.0 / self._total

    def without(self, gone_N: Flags) -> _Fit:
        """The fit of the other rows, at the same λ."""
        rows_ND, gram_NN, targets_NK, weights_N, lam = self._told
        kept_N = np.flatnonzero(~gone_N)
        return _Fit(rows_ND[kept_N], gram_NN[np.ix_(kept_N, kept_N)], targets_NK[kept_N], weights_N[kept_N], lam)


def off_diagonal(told_K: Doubles, threshold_K: Doubles, said: int) -> int | None:
    """The class that a label should be, where confident learning takes it for wrong: another class is as probable as it
    usually is where it is right, and more so than the label; None otherwise.

    >>> off_diagonal(np.array([0.1, 0.9]), np.array([0.8, 0.8]), 0), off_diagonal(np.array([0.5, 0.5]), np.ones(2), 0)
    (1, None)
    """
    over_K = np.where(told_K >= threshold_K, told_K, -1.0)
    best = int(over_K.argmax())
    return best if over_K[best] > 0 and best != said and told_K[best] > told_K[said] else None


def columns_of(ballots: Mapping[str, Ballot], sample: Sequence[str]) -> tuple[str, ...]:
    """Classes with enough examples in the sample, sorted."""
    counts: dict[str, int] = {}
    for example in sample:
        if not ballots[example].row.named:
            counts[ballots[example].row.column] = counts.get(ballots[example].row.column, 0) + 1
    return tuple(sorted(label for label, count in counts.items() if count >= SERVED_FROM))
