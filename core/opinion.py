"""What labelled rows say of one of them without whoever labelled it: answers that nobody can vouch for himself.

Ridge regression on a sample of the rows that stand, as the head's λ is chosen on. A row of the sample is answered
without itself; a row whose label hangs on one annotator, where there are several, without all of that annotator's
rows (annotators in up to ``FOLDS`` groups, left out together), as long as enough rows of others can answer. Promises a
function of the rows given. Knows nothing of what is done about labels that are contradicted.

What an answer is, and when it contradicts a label, say ``core/class_opinion.py`` and ``core/value_opinion.py``.

Legend: N rows of the sample, M rows asked about, D features, K columns.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from scipy.linalg import cho_factor, cho_solve, solve_triangular

from core.ballots import Ballot, Held
from core.calibrate import LEAST_SLACK, leave_one_out
from core.head import SERVED_FROM
from core.label_settings import HygieneSettings
from core.solve import one_thread
from core.statistics import from_grid
from core.types import Doubles, Flags

FOLDS = 8


class Opinion(ABC):
    """What a sample of ballots says.

    Args:
        ballots: the sample, of examples (not of names).
        targets_NK: what they say.
        annotators: all that are to be grouped, sorted.
    """

    _needed = SERVED_FROM  # rows of others, for an answer without an annotator

    def __init__(self, ballots: Sequence[Ballot], targets_NK: Doubles, annotators: Sequence[str]):
        self._folds = {name: place % FOLDS for place, name in enumerate(annotators)} if len(annotators) > 1 else {}
        self._ballots = {ballot.example: n for n, ballot in enumerate(ballots)}
        self._weights_N = np.array([ballot.weight for ballot in ballots], np.float64)
        grid_ND = np.stack([ballot.row.features for ballot in ballots])
        with one_thread():
            found = leave_one_out(grid_ND, targets_NK, self._weights_N)
            rows_ND = from_grid(grid_ND)
            self._fit = _Fit(rows_ND, rows_ND @ rows_ND.T, targets_NK, self._weights_N, found.lam)
        self._scores_NK = found.scores_NK
        self._without: dict[int, _Fit] = {}

    def told(self, ballots: Sequence[Ballot]) -> Doubles:
        """(M, K) answers to ballots that are known and settled, each without whoever it hangs on."""
        told_MK = np.empty((len(ballots), self._scores_NK.shape[1]))
        groups: dict[int, list[int]] = {}
        for m, ballot in enumerate(ballots):
            groups.setdefault(self._left_out(ballot), []).append(m)
        with one_thread():
            for fold, places in sorted(groups.items()):
                fit = self._of(fold)
                for m in places:  # one by one: the last bit must not depend on who else is asked about
                    told_MK[m] = self._answer(fit.scores(from_grid(ballots[m].row.features)))
        for m in groups.get(-1, []):
            if ballots[m].example in self._ballots:
                told_MK[m] = self._own_NK[self._ballots[ballots[m].example]]
        return told_MK

    def odds(self, ballot: Ballot) -> float:
        """Leverage over one less leverage, at the weight that the ballot has; in proportion to it."""
        return self._odds(ballot, -1)

    @abstractmethod
    def settled(self, ballot: Ballot) -> Ballot:
        """A ballot with those who say its label, as this opinion tells labels apart."""

    @abstractmethod
    def knows(self, ballot: Ballot) -> bool:
        """Whether anything can be said of a ballot."""

    @abstractmethod
    def doubt(self, ballot: Ballot, told_K: Doubles, settings: HygieneSettings) -> Held | None:
        """Why a ballot waits of which ``told`` has told so much, or None."""

    @abstractmethod
    def _answer(self, scores_XK: Doubles) -> Doubles:
        """Scores as answers."""

    @abstractmethod
    def _alike(self, ballot: Ballot) -> Flags:
        """(N,) which rows of the sample can answer for a ballot, if they are others'."""

    def _learn(self, settled: Sequence[Ballot]) -> None:
        """Take note of whose the sample is, once answers can be told; nothing is told before."""
        self._own_NK = self._answer(self._scores_NK)
        self._owner_N = np.array([self._fold(ballot) for ballot in settled])

    def _odds(self, ballot: Ballot, fold: int) -> float:
        """The same in the fit without a group, which is the ballot's, or none."""
        with one_thread():
            reach = ballot.weight * self._of(fold).reach(from_grid(ballot.row.features))
        return reach / max(1.0 - reach, LEAST_SLACK) if fold < 0 and ballot.example in self._ballots else reach

    def _fold(self, ballot: Ballot) -> int:
        """The group that a ballot hangs on; -1 for none."""
        if len(ballot.supporters) != 1:
            return -1
        return self._folds.get(next(iter(ballot.supporters)), -1)

    def _left_out(self, ballot: Ballot) -> int:
        """The group that is left out to answer a ballot; -1: itself alone, as too few others can answer."""
        fold = self._fold(ballot)
        others_N = (self._owner_N != fold) & self._alike(ballot)
        return fold if fold >= 0 and others_N.sum() >= self._needed else -1

    def _of(self, fold: int) -> _Fit:
        if fold < 0:
            return self._fit
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

    def missed(self) -> tuple[Doubles, Doubles]:
        """(N, K) by how much the rows' own targets are missed, each without itself, and (N,) one less its leverage."""
        rows_ND, _, targets_NK, weights_N, lam = self._told
        inverse_NN = solve_triangular(self._factor[0], np.eye(len(weights_N)), lower=True, check_finite=False)
        slack_N = lam * np.square(inverse_NN).sum(axis=0) - weights_N / self._total
        slack_N = np.maximum(slack_N, LEAST_SLACK)
        missed_NK: Doubles = (targets_NK - rows_ND @ self._weight_DK - self._bias_K) / slack_N[:, None]
        return missed_NK, slack_N

    def without(self, gone_N: Flags) -> _Fit:
        """The fit of the other rows, at the same λ."""
        rows_ND, gram_NN, targets_NK, weights_N, lam = self._told
        kept_N = np.flatnonzero(~gone_N)
        return _Fit(rows_ND[kept_N], gram_NN[np.ix_(kept_N, kept_N)], targets_NK[kept_N], weights_N[kept_N], lam)
