"""What a head is worth: metrics with intervals on the test side, and leave-one-out on what it was solved from.

Promises that no row is judged by a head that has seen it. Knows nothing of models or files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from scipy.special import softmax

from core.bundle import Metric
from core.statistics import from_grid
from core.types import Doubles, Example, GridRows, Head, Scene
from training import evaluate
from training.evaluate import Indices, interval


def answers(scene: Scene, head: Head, features_ND: GridRows) -> Doubles:
    """(N, K) probabilities, or (N, 1) values, of a head on features."""
    scores_NK = from_grid(features_ND) @ head.weight.astype(np.float64) + head.bias
    if scene.task == "regression":
        return np.asarray(scores_NK * scene.scale + scene.offset)
    return np.asarray(softmax(scores_NK, axis=1))


def of_classes(
    probabilities_NK: Doubles, labels_N: Sequence[str], classes: Sequence[str], seed: int
) -> dict[str, Metric]:
    """Accuracy, balanced accuracy and calibration error of a classifier."""
    told = evaluate.evaluate(probabilities_NK, labels_N, classes, seed)
    column = {name: k for k, name in enumerate(told.classes)}
    truth_N = np.array([column[label] for label in labels_N], np.intp)

    def error(at_N: Indices) -> float:
        return evaluate.expected_calibration_error(probabilities_NK[at_N], truth_N[at_N])

    return {
        "accuracy": _metric(told.accuracy, told.accuracy_interval, len(labels_N)),
        "balanced_accuracy": _metric(told.balanced_accuracy, told.balanced_accuracy_interval, len(labels_N)),
        "calibration_error": _metric(told.calibration_error, interval(error, truth_N, seed), len(labels_N)),
    }


def of_values(predicted_N: Doubles, values_N: Doubles, seed: int) -> dict[str, Metric]:
    """RMSE, mean absolute error and R² of a regression, in the unit of the values."""
    whole_N = np.zeros(len(values_N), np.intp)
    judged: dict[str, Callable[[Doubles, Doubles], float]] = {
        "rmse": evaluate.rmse,
        "mae": evaluate.mae,
        "r2": evaluate.r2,
    }

    def one(judge: Callable[[Doubles, Doubles], float]) -> Metric:
        bounds = interval(lambda at: judge(predicted_N[at], values_N[at]), whole_N, seed)
        return _metric(judge(predicted_N, values_N), bounds, len(values_N))

    return {name: one(judge) for name, judge in judged.items()}


def of_examples(
    scene: Scene, answers_NK: Doubles, examples: Sequence[Example], classes: Sequence[str], seed: int
) -> dict[str, Metric]:
    """The metrics that fit the scene's task; empty where there is no example."""
    if not examples:
        return {}
    if scene.task == "regression":
        return of_values(answers_NK[:, 0], np.array([e.value for e in examples], np.float64), seed)
    return of_classes(answers_NK, [e.label or "" for e in examples], classes, seed)


def _metric(value: float, bounds: tuple[float, float], rows: int) -> Metric:
    return Metric(value=value, low=bounds[0], high=bounds[1], rows=rows)
