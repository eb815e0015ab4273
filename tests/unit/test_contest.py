"""What a comparison tells of calibration: both errors, and how far chance may have moved them apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.head import Row
from core.labels import value_of
from core.types import Doubles, Scene
from training.contest import _Answers, _calibration, _truth
from training.evaluate import expected_calibration_error

SCENE = Scene(name="s", task="classification", modality="image", labels=("a", "b"), hash_key=b"k")


def told(sure: float, count: int, seed: int = 0) -> _Answers:
    """A champion that is as sure as it may be, and a candidate ``sure`` times as sure, on so many rows."""
    chance = np.random.default_rng(seed)
    logits_N = chance.normal(0.0, 2.0, count)
    labels = ["b" if chance.random() < 1 / (1 + np.exp(-logit)) else "a" for logit in logits_N]
    none_D = np.zeros(1, np.int16)
    rows = tuple(
        Row(example=str(n), features=none_D, column=label, target=None, weight=1) for n, label in enumerate(labels)
    )

    def shares(times: float) -> Doubles:
        second_N = 1 / (1 + np.exp(-times * logits_N))
        return np.stack([1 - second_N, second_N], axis=1)

    names = tuple(row.example for row in rows)
    return _Answers(
        task=SCENE,
        names=names,
        rows=rows,
        labels=(SCENE.labels, SCENE.labels),
        truths=(_truth(rows, SCENE.labels), _truth(rows, SCENE.labels)),
        answers=(shares(1.0), shares(sure)),
        unread_N=np.zeros(count, np.bool_),
    )


def test_both_errors_are_those_of_all_rows_and_chance_falls_with_their_number() -> None:
    few, many = told(1.3, 100), told(1.3, 2500)
    (ours, theirs), chance = _calibration(few)
    truth_N = np.array([row.column == "b" for row in few.rows], np.intp)
    assert (ours, theirs) == tuple(expected_calibration_error(each, truth_N) for each in few.answers)
    assert chance > 2 * _calibration(many)[1] > 0.0


def test_the_standard_error_is_about_what_other_rows_would_show() -> None:
    differences = [theirs - ours for (ours, theirs), _ in (_calibration(told(1.3, 300, seed)) for seed in range(40))]
    assert 0.5 < _calibration(told(1.3, 300))[1] / float(np.std(differences)) < 3.0


def test_of_the_same_answers_chance_explains_nothing_and_of_no_rows_there_is_no_error() -> None:
    (ours, theirs), chance = _calibration(told(1.0, 50))
    assert ours == theirs and chance == 0.0
    assert _calibration(told(1.3, 0)) == ((0.0, 0.0), 0.0)


def test_of_a_regression_the_error_is_in_deviations_of_the_truth() -> None:
    scene = Scene(name="s", task="regression", modality="image", labels=(), hash_key=b"k", scale=64.0)
    base = told(1.0, 60)
    rows = tuple(replace(row, column="value", target=256 * n) for n, row in enumerate(base.rows))
    truths_N = np.array([value_of(scene, 256 * n) for n in range(60)])
    answers = ((truths_N + 1.0)[:, None], (truths_N + 2.0)[:, None])
    (ours, theirs), chance = _calibration(replace(base, task=scene, rows=rows, answers=answers))
    assert (ours, theirs) == pytest.approx((1 / truths_N.std(), 2 / truths_N.std()))
    assert chance == pytest.approx(0.0)
