"""Heads beside each other on draws of labels: the closed form and a tuned logistic regression, judged alike.

Promises that the peer gets what a careful user would give it: its regularisation tuned by inner cross-validation on the
same labels (log loss, which served it better than accuracy). Knows nothing of where features come from.

Legend: N examples, D features, K classes, R rank of the labelled rows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold

from core.head import fit_head
from core.statistics import from_grid
from core.types import Doubles, GridRows
from training.evaluate import balanced_accuracy, expected_calibration_error

FOLDS = 5

Names = NDArray[np.str_]
Flags = NDArray[np.bool_]
Probabilities = NDArray[np.floating]
Answers = tuple[Probabilities, Names]  # (N, K), and the K classes


@dataclass(frozen=True, kw_only=True)
class Score:
    """One head on one draw: shares between 0 and 1, and seconds to fit."""

    balanced: float
    ece: float
    seconds: float


def shots(labels_N: Names, each: int, seed: int, groups_N: Names | None = None) -> tuple[Flags, Flags]:
    """(taken, left): up to ``each`` examples a class, and those that may test: no group of theirs was taken."""
    order = np.random.default_rng(seed).permutation(len(labels_N))  # more shots take those of fewer along
    taken_N = np.zeros(len(labels_N), np.bool_)
    for label in np.unique(labels_N):
        mine = order[labels_N[order] == label]
        if groups_N is not None:
            mine = mine[np.sort(np.unique(groups_N[mine], return_index=True)[1])]  # one of each group
        taken_N[mine[:each]] = True
    left_N = ~taken_N if groups_N is None else ~np.isin(groups_N, groups_N[taken_N])
    return taken_N, left_N


def closed_form(taken_ND: GridRows, labels: Names, test_ND: GridRows, weights: Sequence[int] | None = None) -> Answers:
    """Ours: probabilities of the rows to be tested."""
    head = fit_head(taken_ND, labels.tolist(), weights=weights)
    scores_NK = from_grid(test_ND) @ head.weight + head.bias
    shares_NK = np.exp(scores_NK - scores_NK.max(axis=1, keepdims=True))
    return shares_NK / shares_NK.sum(axis=1, keepdims=True), np.array(head.labels)


def logistic(taken_ND: Doubles, labels: Names, test_ND: Doubles, penalties: NDArray[np.float64], seed: int) -> Answers:
    """Tuned logistic regression, in the span of the labelled rows.

    The optimum under an L2 penalty lies in that span, so the rotation changes its result in nothing but speed.
    """
    _, _, basis_RD = np.linalg.svd(taken_ND, full_matrices=False)
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    model = LogisticRegression(max_iter=2000)
    search = GridSearchCV(model, {"C": penalties}, scoring="neg_log_loss", cv=folds)
    search.fit(taken_ND @ basis_RD.T, labels)
    return search.predict_proba(test_ND @ basis_RD.T), search.classes_


def score(fit: Callable[[], Answers], truth: Names) -> Score:
    """Fit and judge one head."""
    started = time.perf_counter()
    probabilities_NK, classes = fit()
    seconds = time.perf_counter() - started
    truth_N = np.searchsorted(classes, truth)
    return Score(
        balanced=balanced_accuracy(probabilities_NK.argmax(axis=1), truth_N),
        ece=expected_calibration_error(probabilities_NK, truth_N),
        seconds=seconds,
    )


def mean_told(values: Doubles, sign: str = "") -> str:
    """Mean with half its interval, in words; of one draw the value alone. ``sign`` as a format has it.

    >>> mean_told(np.array([1.0, 2.0, 3.0])), mean_told(np.array([1.0]), "+")
    ('2.0 ± 2.5', '+1.0')
    """
    if len(values) < 2:
        return f"{values[0]:{sign}.1f}"
    mean, half = mean_and_half(values)
    return f"{mean:{sign}.1f} ± {half:.1f}"


def mean_and_half(values: Doubles) -> tuple[float, float]:
    """Mean over draws and half its 95 % interval (Student)."""
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return float(values.mean()), float(half)
