"""How strong the penalty is and how sure the head may be: λ, the temperature and the offsets, by leave-one-out.

Promises that all are functions of the rows given, to the bit on one machine. Knows nothing of where rows come from.

Sources: leave-one-out residuals of ridge regression in closed form, Allen's PRESS (Technometrics 16, 1974);
temperature scaling, Guo et al. (arXiv 1706.04599), with Platt's smoothed targets (1999), so that a handful of
separable examples does not make the head certain; with an offset for each class, Alexandari et al. (arXiv 1901.06852).

A name (core.statistics) is left out with its place and its label; the spread of all names stays.

Legend: N rows of the sample, D features, K columns, L values of λ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigh
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp, softmax

from core.solve import Factor, one_thread
from core.statistics import SPREAD, from_grid
from core.types import Doubles, Flags, GridRows

LAMBDAS = 2.0 ** np.arange(-10, 13)  # from unit-length features to standardised ones, whose squared length is D
COLDEST, HOTTEST = 0.01, 10.0
OFFSET_STEPS = 12
WIDEST_PRIOR = 1.0  # precision of the prior of an offset, at least
LEAST_SLACK = 1e-9  # of 1 - leverage, below which a row decides its own prediction alone

Classes = np.ndarray[tuple[int], np.dtype[np.intp]]


@dataclass(frozen=True)
class LeaveOneOut:
    """λ chosen by leave-one-out, and what every row would have been answered without itself.

    Attributes:
        lam: the chosen λ.
        scores_NK: leave-one-out scores at that λ.
        errors_L: weighted mean squared leave-one-out error at each of ``LAMBDAS``.
    """

    lam: float
    scores_NK: Doubles
    errors_L: Doubles


def leave_one_out(
    features_ND: GridRows, targets_NK: Doubles, weights_N: Doubles, named_N: Flags | None = None
) -> LeaveOneOut:
    """Ridge regression on N rows, leaving each out once, at every λ, through one eigendecomposition of the dual.

    Args:
        features_ND: (N, D) int16 on the grid, N ≥ 2.
        targets_NK: (N, K) targets; one-hot rows for classes.
        weights_N: (N,) positive weights.
        named_N: which rows are names (core.statistics); none if None.
    """
    with one_thread():
        roots_N = np.sqrt(weights_N)
        rows_ND = from_grid(features_ND)
        centred = _Centring.of(weights_N, named_N)
        centred_ND = centred(roots_N[:, None] * rows_ND)
        centred_NK = centred(roots_N[:, None] * targets_NK)
        values_N, vectors_NN = eigh(centred_ND @ centred_ND.T, driver="evd", check_finite=False)
        values_N = np.maximum(values_N, 0.0)
        rotated_NK = vectors_NN.T @ centred_NK
        outer_NN = centred(vectors_NN)
        squares_NN, apart_NK = np.square(outer_NN), centred(centred_NK)
        errors_L = np.empty(len(LAMBDAS))
        residuals = []
        for index, lam in enumerate(LAMBDAS):
            shrink_N = values_N / (values_N + (lam + centred.spread))
            slack_N = centred.slack_N - squares_NN @ shrink_N
            left_NK = apart_NK - outer_NN @ (shrink_N[:, None] * rotated_NK)
            left_NK /= np.maximum(slack_N, LEAST_SLACK)[:, None]
            errors_L[index] = float(np.square(left_NK).sum() / weights_N.sum())
            residuals.append(left_NK)
        best = int(np.argmin(errors_L))
        return LeaveOneOut(float(LAMBDAS[best]), targets_NK - residuals[best] / roots_N[:, None], errors_L)


def held_out_scores(
    factor: Factor,
    scores_NK: Doubles,
    features_ND: GridRows,
    targets_NK: Doubles,
    weights_N: Doubles,
    named_N: Flags | None = None,
) -> Doubles:
    """(N, K) leave-one-out scores of rows that are part of a larger fit, from that fit's own factor and scores."""
    constants_N = _constants(named_N, len(weights_N))
    leverage_N = factor.leverage(from_grid(features_ND), weights_N, constants_N)
    slack_N = np.maximum(1.0 - leverage_N, LEAST_SLACK)
    held_NK: Doubles = (scores_NK - leverage_N[:, None] * targets_NK) / slack_N[:, None]
    return held_NK


def temperature(scores_NK: Doubles, classes_N: Classes, weights_N: Doubles) -> float:
    """The T that minimises the weighted negative log likelihood of softmax(scores / T), targets smoothed.

    Args:
        scores_NK: held-out scores.
        classes_N: true columns.
        weights_N: positive weights.
    """
    count, columns = scores_NK.shape
    if count == 0 or columns < 2:
        return 1.0
    smoothing = 1.0 / (count + 2.0)
    targets_NK = np.full(scores_NK.shape, smoothing / (columns - 1))
    targets_NK[np.arange(count), classes_N] = 1.0 - smoothing

    def loss(log_temperature: float) -> float:
        logits_NK = scores_NK / np.exp(log_temperature)
        nll_N = logsumexp(logits_NK, axis=1) - (targets_NK * logits_NK).sum(axis=1)
        return float(weights_N @ nll_N / weights_N.sum())

    found = minimize_scalar(loss, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


def offsets(logits_NK: Doubles, targets_NK: Doubles, weights_N: Doubles) -> Doubles:
    """(K,) what is to be added to held-out logits, so that each class is answered about as often as it stands.

    Least squares puts the border between a class of many rows and one of few too near to the few; this moves it towards
    where the likelihood is largest. How far is told by an empirical Bayes prior: its variance is what the differences
    between how often classes stand and how often they are answered have beyond chance, so that where chance explains
    them nothing moves. A step is Newton's, with an upper bound in place of the curvature; a dozen come within a few
    hundredths of where they lead.

    Args:
        targets_NK: one-hot rows. weights_N: positive weights, of which only the ratios count.
    """
    offsets_K = np.zeros(targets_NK.shape[1])
    if not len(weights_N):
        return offsets_K
    counts_N = weights_N / weights_N.mean()
    wanted_K = counts_N @ targets_NK
    shares_NK = softmax(logits_NK, axis=1)
    chance_K = counts_N @ (shares_NK * (1.0 - shares_NK))
    beyond = float((np.square(wanted_K - counts_N @ shares_NK) - chance_K).sum())
    if beyond <= 0.0:
        return offsets_K
    precision = max(float(np.square(chance_K).sum()) / beyond, WIDEST_PRIOR)
    for _ in range(OFFSET_STEPS):
        told_K = counts_N @ softmax(logits_NK + offsets_K, axis=1)
        offsets_K += (wanted_K - told_K - precision * offsets_K) / (told_K + precision)
    centred_K: Doubles = offsets_K - offsets_K.mean()
    return centred_K


def calibrated(scores_NK: Doubles, targets_NK: Doubles, weights_N: Doubles) -> Doubles:
    """(N, K) held-out scores as the logits that a head would answer with: cooled and moved."""
    logits_NK = scores_NK / temperature(scores_NK, targets_NK.argmax(axis=1), weights_N)
    moved_NK: Doubles = logits_NK + offsets(logits_NK, targets_NK, weights_N)
    return moved_NK


def by_halves(shares_NK: Doubles, classes_N: Classes, weights_N: Doubles, least: int) -> Doubles:
    """(N, K) probabilities with a temperature that is told by others: of every second row by those between (two-fold
    cross-fitting, Chernozhukov et al., arXiv 1608.00060). As they are where less than ``least`` would tell one.

    Args:
        shares_NK: probabilities that no row has had a part in.
        classes_N: true columns; -1 where there is none, which tells nothing.
        weights_N: positive weights.
    """
    half_N = np.arange(len(classes_N)) % 2
    tellers = [np.flatnonzero((half_N == other) & (classes_N >= 0)) for other in (1, 0)]
    if min(map(len, tellers)) < least:
        return shares_NK
    logits_NK = np.log(np.maximum(shares_NK, np.finfo(np.float64).tiny))
    cooled_2 = np.array([temperature(logits_NK[at], classes_N[at], weights_N[at]) for at in tellers])
    told_NK: Doubles = softmax(logits_NK / cooled_2[half_N][:, None], axis=1)
    return told_NK


def _constants(named_N: Flags | None, count: int) -> Doubles:
    """(N,) 1, and 0 for names."""
    return np.ones(count) if named_N is None else (~named_N).astype(np.float64)


@dataclass(frozen=True)
class _Centring:
    """What takes the intercept out of weighted rows: I - u uᵀ, as a product of two equal factors, of which this is one.

    Without names u has unit length, and both factors are the projection itself.
    """

    unit_N: Doubles
    kept: float  # of what lies along u
    slack_N: Doubles  # 1 - u²
    spread: float

    @staticmethod
    def of(weights_N: Doubles, named_N: Flags | None) -> _Centring:
        constants_N = _constants(named_N, len(weights_N))
        examples = float(weights_N @ constants_N)
        spread = SPREAD * (float(weights_N.sum()) - examples)
        root_N = np.sqrt(weights_N) * constants_N
        unit_N = root_N / np.sqrt(examples or 1.0)
        slack_N = 1.0 - root_N**2 / (examples + spread)
        return _Centring(unit_N, float(np.sqrt(spread / (examples + spread))), slack_N, spread)

    def __call__(self, rows_NX: Doubles) -> Doubles:
        centred_NX: Doubles = rows_NX - np.outer((1.0 - self.kept) * self.unit_N, self.unit_N @ rows_NX)
        return centred_NX
