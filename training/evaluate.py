"""How good answers are: accuracy with intervals, calibration, confusion, slices; error and R² for values.

Promises pure functions of answers and truths, the same numbers for the same seed. Knows nothing of models or files.

Legend: N examples, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput

BINS = 15
ROUNDS = 1000
LEVEL = 0.95

Indices = NDArray[np.intp]
Reals = NDArray[np.floating]
Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Slice:
    """One group: its name, examples, accuracy and the 95 % interval of that."""

    name: str
    examples: int
    accuracy: float
    interval: Interval


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Of a classifier on labelled examples, intervals at 95 %.

    Attributes:
        classes: row names of ``confusion`` (truths) and, as far as the model knows them, its columns (answers).
        recall: share of each true class that was answered right, None where the class does not occur.
        calibration_error: expected calibration error over 15 bins.
    """

    examples: int
    accuracy: float
    accuracy_interval: Interval
    balanced_accuracy: float
    balanced_accuracy_interval: Interval
    calibration_error: float
    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    recall: tuple[float | None, ...]
    slices: tuple[Slice, ...] = field(default=())

    def to_json(self) -> dict[str, object]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class ValueMetrics:
    """Of a regression on examples with values, in the unit of the values; intervals at 95 %."""

    examples: int
    rmse: float
    rmse_interval: Interval
    mae: float
    r2: float

    def to_json(self) -> dict[str, object]:
        """Plain JSON values."""
        return asdict(self)


def accuracy(predicted_N: Indices, labels_N: Indices) -> float:
    """Share of right answers.

    >>> accuracy(np.array([0, 1, 1, 1]), np.array([0, 1, 1, 0]))
    0.75
    """
    return float(np.mean(predicted_N == labels_N))


def balanced_accuracy(predicted_N: Indices, labels_N: Indices) -> float:
    """Mean over the classes that occur of the share of right answers, so that a big class does not hide a small one.

    >>> balanced_accuracy(np.array([0, 0, 0, 0]), np.array([0, 0, 0, 1]))
    0.5
    """
    _, class_N = np.unique(labels_N, return_inverse=True)
    counts = np.bincount(class_N)
    return float(np.mean(np.bincount(class_N, weights=predicted_N == labels_N) / counts))


def expected_calibration_error(probabilities_NK: Reals, labels_N: Indices, bins: int = BINS) -> float:
    """Mean gap between confidence and accuracy over equal-width bins (Guo et al. 2017, arXiv 1706.04599).

    >>> expected_calibration_error(np.array([[0.8, 0.2], [0.8, 0.2]]), np.array([0, 1]))
    0.3
    """
    confidence_N = probabilities_NK.max(axis=1)
    right_N = probabilities_NK.argmax(axis=1) == labels_N
    bin_N = np.clip(np.ceil(confidence_N * bins).astype(np.intp) - 1, 0, bins - 1)
    gaps = np.bincount(bin_N, weights=right_N, minlength=bins) - np.bincount(bin_N, confidence_N, minlength=bins)
    return round(float(np.abs(gaps).sum()) / len(labels_N), 12)


def confusion(predicted_N: Indices, labels_N: Indices, count: int) -> NDArray[np.int64]:
    """(count, count) table: truths in rows, answers in columns."""
    return np.bincount(labels_N * count + predicted_N, minlength=count * count).reshape(count, count)


def interval(
    statistic: Callable[[Indices], float], strata_N: Indices, seed: int, rounds: int = ROUNDS, level: float = LEVEL
) -> Interval:
    """Percentile bootstrap interval, drawn within strata so that every class keeps its size.

    Args:
        statistic: of the examples at the positions it is given.
        strata_N: the class of each example; all zeros for a plain bootstrap.

    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.
    """
    random = np.random.default_rng(seed)
    places = [np.flatnonzero(strata_N == stratum) for stratum in np.unique(strata_N)]
    values = [statistic(np.concatenate([random.choice(place, len(place)) for place in places])) for _ in range(rounds)]
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def rmse(predicted_N: Reals, values_N: Reals) -> float:
    """Root of the mean squared error, in the unit of the values."""
    return float(np.sqrt(np.mean((predicted_N - values_N) ** 2)))


def mae(predicted_N: Reals, values_N: Reals) -> float:
    """Mean absolute error, in the unit of the values."""
    return float(np.mean(np.abs(predicted_N - values_N)))


def r2(predicted_N: Reals, values_N: Reals) -> float:
    """Share of the variance explained; 0 for the mean, below 0 for worse, and 0 where all values are equal."""
    spread = float(np.sum((values_N - values_N.mean()) ** 2))
    return 1.0 - float(np.sum((predicted_N - values_N) ** 2)) / spread if spread else 0.0


def slices(predicted_N: Indices, labels_N: Indices, groups_N: Sequence[str | None], seed: int) -> tuple[Slice, ...]:
    """Accuracy of every group, worst first; examples without a group are left out."""
    right_N = predicted_N == labels_N
    found: list[Slice] = []
    for name in sorted({group for group in groups_N if group is not None}):
        inside = right_N[[group == name for group in groups_N]]
        bounds = interval(_mean_of(inside), np.zeros(len(inside), np.intp), seed)
        found.append(Slice(name=name, examples=len(inside), accuracy=float(inside.mean()), interval=bounds))
    return tuple(sorted(found, key=lambda slice_: slice_.accuracy))


def _mean_of(right_N: NDArray[np.bool_]) -> Callable[[Indices], float]:
    return lambda at: float(right_N[at].mean())


def evaluate(
    probabilities_NK: Reals,
    labels_N: Sequence[str],
    classes: Sequence[str],
    seed: int,
    groups_N: Sequence[str | None] | None = None,
) -> Metrics:
    """Metrics of a classifier.

    Args:
        probabilities_NK: its answers, columns in the order of ``classes``.
        labels_N: the truths; a label that is not among ``classes`` counts as a class that was never answered.
        groups_N: names for ``slices``.

    Raises:
        InvalidInput: no example, or shapes that do not fit.
    """
    _check(probabilities_NK.shape, (len(labels_N), len(classes)))
    known = (*classes, *sorted(set(labels_N) - set(classes)))
    column = {name: k for k, name in enumerate(known)}
    truth_N = np.array([column[label] for label in labels_N], np.intp)
    predicted_N = probabilities_NK.argmax(axis=1)
    table = confusion(predicted_N, truth_N, len(known))
    sizes = table.sum(axis=1)
    return Metrics(
        examples=len(labels_N),
        accuracy=accuracy(predicted_N, truth_N),
        accuracy_interval=interval(lambda at: accuracy(predicted_N[at], truth_N[at]), truth_N, seed),
        balanced_accuracy=balanced_accuracy(predicted_N, truth_N),
        balanced_accuracy_interval=interval(lambda at: balanced_accuracy(predicted_N[at], truth_N[at]), truth_N, seed),
        calibration_error=expected_calibration_error(probabilities_NK, truth_N),
        classes=known,
        confusion=tuple(tuple(int(n) for n in row) for row in table),
        recall=tuple(float(table[k, k] / n) if n else None for k, n in enumerate(sizes)),
        slices=slices(predicted_N, truth_N, groups_N, seed) if groups_N else (),
    )


def evaluate_values(predicted_N: Reals, values_N: Reals, seed: int) -> ValueMetrics:
    """Metrics of a regression.

    Raises:
        InvalidInput: no example, or shapes that do not fit.
    """
    _check(predicted_N.shape, values_N.shape)
    everything = np.zeros(len(values_N), np.intp)
    return ValueMetrics(
        examples=len(values_N),
        rmse=rmse(predicted_N, values_N),
        rmse_interval=interval(lambda at: rmse(predicted_N[at], values_N[at]), everything, seed),
        mae=mae(predicted_N, values_N),
        r2=r2(predicted_N, values_N),
    )


def _check(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if not expected[0]:
        raise InvalidInput("there is no example to evaluate on", "give labelled examples")
    if shape != expected:
        raise InvalidInput(f"answers of shape {shape} do not fit the truths", f"give an array of shape {expected}")
