"""Probabilities made as sure as other rows tell: no row's own truth counts, and no answer changes.

Legend: N rows, K classes.
"""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from core.calibrate import by_halves
from core.types import Doubles
from training.evaluate import Indices, expected_calibration_error

LEAST = 8
SEEDS = st.integers(0, 10_000)


def drawn(seed: int, count: int, sure: float) -> tuple[Doubles, Indices, Doubles]:
    """Probabilities that are ``sure`` times as sure as they may be, what is true, and weights."""
    chance = np.random.default_rng(seed)
    logits_NK = chance.normal(0.0, 1.5, (count, 3))
    truth_N = np.array([chance.choice(3, p=shares_K) for shares_K in softmax(logits_NK, axis=1)], np.intp)
    return softmax(sure * logits_NK, axis=1), truth_N, chance.choice([1.0, 4.0], count)


@given(SEEDS, st.integers(2 * LEAST, 60), st.sampled_from([0.2, 1.0, 5.0]))
def test_they_are_probabilities_whose_order_in_each_row_stays(seed: int, count: int, sure: float) -> None:
    shares_NK, truth_N, weights_N = drawn(seed, count, sure)
    told_NK = by_halves(shares_NK, truth_N, weights_N, LEAST)
    np.testing.assert_allclose(told_NK.sum(axis=1), 1.0)
    np.testing.assert_array_equal(told_NK.argmax(axis=1), shares_NK.argmax(axis=1))


@given(SEEDS, st.integers(2 * LEAST, 60), st.integers(0, 1))
def test_the_truth_of_a_row_and_of_its_half_is_never_asked_for_its_own_answer(seed: int, count: int, half: int) -> None:
    shares_NK, truth_N, weights_N = drawn(seed, count, 2.0)
    other_N = truth_N.copy()
    other_N[half::2] = np.random.default_rng(seed + 1).integers(0, 3, len(other_N[half::2]))
    told_NK, again_NK = (by_halves(shares_NK, each_N, weights_N, LEAST) for each_N in (truth_N, other_N))
    np.testing.assert_array_equal(told_NK[half::2], again_NK[half::2])


@given(SEEDS, st.integers(2 * LEAST, 60))
def test_a_row_without_truth_tells_nothing(seed: int, count: int) -> None:
    shares_NK, truth_N, weights_N = drawn(seed, count + 2, 2.0)
    truth_N[-2:] = -1
    told_NK = by_halves(shares_NK, truth_N, weights_N, LEAST)
    without_NK = by_halves(shares_NK[:-2], truth_N[:-2], weights_N[:-2], LEAST)
    np.testing.assert_array_equal(told_NK[:-2], without_NK)


@given(SEEDS, st.integers(0, 2 * LEAST - 1))
def test_too_few_rows_change_nothing(seed: int, count: int) -> None:
    shares_NK, truth_N, weights_N = drawn(seed, count, 5.0)
    np.testing.assert_array_equal(by_halves(shares_NK, truth_N, weights_N, LEAST), shares_NK)


@given(SEEDS, st.sampled_from([0.3, 3.0]))
def test_answers_that_are_too_sure_or_not_sure_enough_become_calibrated(seed: int, sure: float) -> None:
    shares_NK, truth_N, weights_N = drawn(seed, 2000, sure)
    told_NK = by_halves(shares_NK, truth_N, weights_N, LEAST)
    assert expected_calibration_error(told_NK, truth_N) < 0.06
    assert expected_calibration_error(told_NK, truth_N) < expected_calibration_error(shares_NK, truth_N)
