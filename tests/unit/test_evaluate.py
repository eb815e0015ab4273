"""Metrics against numbers worked out by hand or by scikit-learn."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn import metrics as peers

from core.errors import InvalidInput
from training.evaluate import (
    accuracy,
    balanced_accuracy,
    confusion,
    evaluate,
    evaluate_values,
    expected_calibration_error,
    interval,
    r2,
)

RANDOM = np.random.default_rng(0)
TRUTH = RANDOM.integers(0, 4, 300)
ANSWERS = np.where(RANDOM.random(300) < 0.7, TRUTH, RANDOM.integers(0, 4, 300))
PROBABILITIES = np.eye(4)[ANSWERS] * 0.6 + 0.1


def test_counts_agree_with_scikit_learn() -> None:
    assert accuracy(ANSWERS, TRUTH) == pytest.approx(peers.accuracy_score(TRUTH, ANSWERS))
    assert balanced_accuracy(ANSWERS, TRUTH) == pytest.approx(peers.balanced_accuracy_score(TRUTH, ANSWERS))
    assert (confusion(ANSWERS, TRUTH, 4) == peers.confusion_matrix(TRUTH, ANSWERS)).all()


def test_calibration_error_is_the_gap_between_confidence_and_accuracy() -> None:
    gap = expected_calibration_error(PROBABILITIES, TRUTH)
    assert gap == pytest.approx(abs(accuracy(ANSWERS, TRUTH) - 0.7))
    sure = np.eye(2)[[0, 1, 0, 0]]
    assert expected_calibration_error(sure, np.array([0, 1, 0, 1])) == 0.25
    split = np.array([[0.95, 0.05], [0.65, 0.35]])
    assert expected_calibration_error(split, np.array([1, 0])) == pytest.approx((0.95 + 0.35) / 2)


def test_the_interval_is_seeded_and_close_to_the_normal_one() -> None:
    right = np.arange(400) < 300
    plain = np.zeros(400, np.intp)
    low, high = interval(lambda at: float(right[at].mean()), plain, seed=3)
    assert (low, high) == interval(lambda at: float(right[at].mean()), plain, seed=3)
    width = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert low == pytest.approx(0.75 - width, abs=0.008)
    assert high == pytest.approx(0.75 + width, abs=0.008)


def test_strata_keep_their_size_in_every_draw() -> None:
    strata = np.array([0] * 9 + [1])
    assert interval(lambda at: float((strata[at] == 1).sum()), strata, seed=0, rounds=50) == (1.0, 1.0)


def test_metrics_of_a_classifier_are_complete_and_json() -> None:
    names = ["a", "b", "c", "d"]
    groups = ["east" if answer == truth else "west" for answer, truth in zip(ANSWERS, TRUTH, strict=True)]
    found = evaluate(PROBABILITIES, [names[k] for k in TRUTH], names, seed=0, groups_N=groups)
    assert found.accuracy_interval[0] < found.accuracy < found.accuracy_interval[1]
    assert found.balanced_accuracy_interval[0] < found.balanced_accuracy < found.balanced_accuracy_interval[1]
    assert [(part.name, part.accuracy) for part in found.slices] == [("west", 0.0), ("east", 1.0)]
    assert json.loads(json.dumps(found.to_json()))["confusion"] == confusion(ANSWERS, TRUTH, 4).tolist()


def test_a_label_that_the_model_does_not_know_counts_as_wrong() -> None:
    found = evaluate(np.array([[0.9, 0.1], [0.9, 0.1]]), ["a", "z"], ["a", "b"], seed=0)
    assert found.classes == ("a", "b", "z")
    assert found.recall == (1.0, None, 0.0)
    assert found.balanced_accuracy == 0.5


def test_metrics_of_values_agree_with_scikit_learn() -> None:
    values = RANDOM.normal(size=200)
    predicted = values + RANDOM.normal(size=200) * 0.3
    found = evaluate_values(predicted, values, seed=0)
    assert found.rmse == pytest.approx(peers.root_mean_squared_error(values, predicted))
    assert found.mae == pytest.approx(peers.mean_absolute_error(values, predicted))
    assert found.r2 == pytest.approx(peers.r2_score(values, predicted))
    assert found.rmse_interval[0] < found.rmse < found.rmse_interval[1]
    assert r2(np.ones(3), np.ones(3)) == 0.0


def test_nothing_to_evaluate_and_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidInput, match="no example"):
        evaluate(np.empty((0, 2)), [], ["a", "b"], seed=0)
    with pytest.raises(InvalidInput, match="do not fit"):
        evaluate(np.ones((2, 3)), ["a", "b"], ["a", "b"], seed=0)
    with pytest.raises(InvalidInput, match="do not fit"):
        evaluate_values(np.ones(2), np.ones(3), seed=0)
