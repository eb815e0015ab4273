"""The closed forms equal what slower, independent ways find: least squares, scikit-learn, brute-force refits.

Legend: N rows, D features, K columns, L values of λ.
"""

from __future__ import annotations

import threading

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import logsumexp
from sklearn.linear_model import Ridge
from threadpoolctl import threadpool_info

from core.calibrate import LAMBDAS, held_out_scores, leave_one_out, offsets, temperature
from core.head import fit_head
from core.solve import factorise, one_thread, solve
from core.statistics import Statistics, from_grid
from core.types import Doubles, GridRows

SHAPES = [(12, 30), (40, 7), (25, 1)]  # N < D and N > D


def problem(count: int, width: int, seed: int = 0) -> tuple[GridRows, list[str], Doubles, Doubles]:
    """Rows, labels, one-hot targets and weights."""
    noise = np.random.default_rng(seed)
    rows_ND = noise.integers(-9000, 9001, (count, width)).astype(np.int16)
    classes_N = np.arange(count) % 3
    rows_ND[:, 0] += (classes_N * 6000).astype(np.int16)
    weights_N = noise.choice([1, 4], count).astype(np.float64)
    return rows_ND, ["abc"[k] for k in classes_N], np.eye(3)[classes_N], weights_N


def lstsq_scores(rows_ND: Doubles, targets_NK: Doubles, weights_N: Doubles, lam: float, at_MD: Doubles) -> Doubles:
    """Scores at other rows of the weighted ridge regression, by least squares on the extended system."""
    mean_D = weights_N @ rows_ND / weights_N.sum()
    mean_K = weights_N @ targets_NK / weights_N.sum()
    roots_N1 = np.sqrt(weights_N)[:, None]
    width = rows_ND.shape[1]
    left = np.vstack([roots_N1 * (rows_ND - mean_D), np.sqrt(lam) * np.eye(width)])
    right = np.vstack([roots_N1 * (targets_NK - mean_K), np.zeros((width, targets_NK.shape[1]))])
    weight_DK = np.linalg.lstsq(left, right, rcond=None)[0]
    scores_MK: Doubles = (at_MD - mean_D) @ weight_DK + mean_K
    return scores_MK


def summed(rows_ND: GridRows, labels: list[str], weights_N: Doubles) -> Statistics:
    statistics = Statistics(rows_ND.shape[1])
    statistics.add(rows_ND, labels, None, [int(w) for w in weights_N])
    return statistics


@pytest.mark.parametrize(("count", "width"), SHAPES)
@pytest.mark.parametrize("lam", [1e-10, 1e-6, 1e-3, 1.0, 10.0])
def test_the_closed_form_equals_least_squares(count: int, width: int, lam: float) -> None:
    rows_ND, labels, targets_NK, weights_N = problem(count, width)
    statistics = summed(rows_ND, labels, weights_N)
    factor = factorise(statistics, lam)
    weight_DK, bias_K = solve(statistics, factor, "abc")
    assert factor.lam == lam
    reference_NK = lstsq_scores(from_grid(rows_ND), targets_NK, weights_N, lam, from_grid(rows_ND))
    np.testing.assert_allclose(from_grid(rows_ND) @ weight_DK + bias_K, reference_NK, atol=1e-6)


@pytest.mark.parametrize(("count", "width"), SHAPES)
@pytest.mark.parametrize("lam", [1e-3, 1.0, 10.0])
def test_the_closed_form_equals_scikit_learn(count: int, width: int, lam: float) -> None:
    rows_ND, labels, targets_NK, weights_N = problem(count, width, seed=1)
    statistics = summed(rows_ND, labels, weights_N)
    weight_DK, bias_K = solve(statistics, factorise(statistics, lam), "abc")
    ridge = Ridge(alpha=lam, solver="svd").fit(from_grid(rows_ND), targets_NK, sample_weight=weights_N)
    np.testing.assert_allclose(weight_DK, ridge.coef_.T, atol=1e-6)
    np.testing.assert_allclose(bias_K, ridge.intercept_, atol=1e-6)


@pytest.mark.parametrize(("count", "width"), SHAPES)
def test_a_penalty_too_small_for_float64_grows_until_it_holds(count: int, width: int) -> None:
    rows_ND, labels, _, weights_N = problem(count, width)
    statistics = summed(np.repeat(rows_ND, 3, axis=1), labels, weights_N)
    factor = factorise(statistics, 1e-30)
    assert 1e-30 < factor.lam < 1e-9
    assert np.isfinite(solve(statistics, factor, "abc")[0]).all()


@pytest.mark.parametrize(("count", "width"), SHAPES)
def test_leave_one_out_equals_refits_without_each_row(count: int, width: int) -> None:
    rows_ND, _, targets_NK, weights_N = problem(count, width, seed=2)
    found = leave_one_out(rows_ND, targets_NK, weights_N)
    values_ND = from_grid(rows_ND)
    errors_L = []
    for lam in LAMBDAS:
        left_NK = np.empty_like(targets_NK)
        for n in range(count):
            others = np.arange(count) != n
            told = (values_ND[others], targets_NK[others], weights_N[others], float(lam), values_ND[n : n + 1])
            left_NK[n] = lstsq_scores(*told)[0]
        errors_L.append((weights_N @ np.square(targets_NK - left_NK)).sum() / weights_N.sum())
        if lam == found.lam:
            np.testing.assert_allclose(found.scores_NK, left_NK, atol=1e-6)
    np.testing.assert_allclose(found.errors_L, errors_L, rtol=1e-6)
    assert found.lam == LAMBDAS[int(np.argmin(errors_L))]


@pytest.mark.parametrize(("count", "width"), SHAPES)
@pytest.mark.parametrize("lam", [1e-3, 0.3, 10.0])
def test_held_out_scores_equal_refits_of_the_whole_without_each_row(count: int, width: int, lam: float) -> None:
    rows_ND, labels, targets_NK, weights_N = problem(count, width, seed=3)
    statistics = summed(rows_ND, labels, weights_N)
    factor = factorise(statistics, lam)
    weight_DK, bias_K = solve(statistics, factor, "abc")
    values_ND, part = from_grid(rows_ND), slice(0, count // 2)
    scores_NK = values_ND[part] @ weight_DK + bias_K
    held_NK = held_out_scores(factor, scores_NK, rows_ND[part], targets_NK[part], weights_N[part])
    for n in range(count // 2):
        others = np.arange(count) != n
        told = (values_ND[others], targets_NK[others], weights_N[others], lam, values_ND[n : n + 1])
        np.testing.assert_allclose(held_NK[n], lstsq_scores(*told)[0], atol=1e-6)


@pytest.mark.parametrize(("classes", "share"), [(2, 0.1), (2, 0.5), (7, 0.3)])
def test_the_offsets_are_where_the_likelihood_is_largest_under_their_prior(classes: int, share: float) -> None:
    noise = np.random.default_rng(5)
    classes_N = np.where(noise.random(200) < share, 1, noise.integers(0, classes, 200))
    targets_NK = np.eye(classes)[classes_N]
    logits_NK = 2 * targets_NK + noise.standard_normal((200, classes)) + np.linspace(-1, 1, classes)
    weights_N = noise.choice([1.0, 4.0], 200)
    counts_N = weights_N / weights_N.mean()
    shares_NK = np.exp(logits_NK - logsumexp(logits_NK, axis=1, keepdims=True))
    chance_K = (counts_N[:, None] * shares_NK * (1 - shares_NK)).sum(axis=0)
    beyond = (np.square((counts_N[:, None] * (targets_NK - shares_NK)).sum(axis=0)) - chance_K).sum()
    precision = max(1.0, np.square(chance_K).sum() / beyond)

    def loss(offsets_K: Doubles) -> float:
        moved_NK = logits_NK + offsets_K
        nll_N = logsumexp(moved_NK, axis=1) - (targets_NK * moved_NK).sum(axis=1)
        return float(counts_N @ nll_N + 0.5 * precision * offsets_K @ offsets_K)

    found_K = offsets(logits_NK, targets_NK, weights_N)
    best_K = minimize(loss, np.zeros(classes)).x
    assert beyond > 0
    assert np.abs(found_K).max() > 0.3
    np.testing.assert_allclose(found_K, best_K - best_K.mean(), atol=0.05)
    np.testing.assert_allclose(found_K, offsets(logits_NK, targets_NK, 4 * weights_N), atol=1e-12)


def test_nothing_is_moved_where_chance_explains_what_is_seen() -> None:
    assert not offsets(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0)).any()
    assert not offsets(np.zeros((6, 3)), np.eye(3)[[0, 1, 2] * 2], np.ones(6)).any()
    assert not offsets(np.zeros((6, 3)), np.eye(3)[[0, 1, 2, 0, 1, 0]], np.ones(6)).any()
    assert offsets(np.zeros((60, 3)), np.eye(3)[[0, 1, 2, 0, 0, 0] * 10], np.ones(60))[0] > 0.5


@pytest.mark.parametrize("spread", [0.02, 0.3, 3.0])
def test_the_temperature_minimises_the_smoothed_loss(spread: float) -> None:
    noise = np.random.default_rng(4)
    classes_N = noise.integers(0, 3, 60)
    scores_NK = spread * (np.eye(3)[classes_N] + 0.7 * noise.standard_normal((60, 3)))
    weights_N = noise.choice([1.0, 4.0], 60)
    found = temperature(scores_NK, classes_N, weights_N)

    def loss(t: float) -> float:
        likelihood_NK = np.exp(scores_NK / t) / np.exp(scores_NK / t).sum(axis=1, keepdims=True)
        smoothed_NK = np.where(np.eye(3)[classes_N] > 0, 1 - 1 / 62, 1 / 62 / 2)
        return float(-(weights_N @ (smoothed_NK * np.log(likelihood_NK)).sum(axis=1)))

    assert 0.01 < found < 10
    tried = [loss(found * factor) for factor in np.geomspace(0.5, 2.0, 41)]
    assert loss(found) <= min(tried) * (1 + 1e-6)


def test_one_class_has_nothing_to_be_unsure_of() -> None:
    assert temperature(np.ones((5, 1)), np.zeros(5, np.intp), np.ones(5)) == 1.0
    head = fit_head(np.arange(15).reshape(5, 3).astype(np.int16), ["cat"] * 5)
    assert head.labels == ("cat",) and head.temperature == 1.0


def test_a_handful_of_separable_rows_does_not_make_the_head_certain() -> None:
    rows_ND = np.array([[20000, 0]] * 3 + [[0, 20000]] * 3, np.int16)
    head = fit_head(rows_ND, ["cat"] * 3 + ["dog"] * 3)
    logits_NK = from_grid(rows_ND) @ head.weight + head.bias
    sure_N = 1 / (1 + np.exp(-np.abs(logits_NK[:, 0] - logits_NK[:, 1])))
    assert (sure_N > 0.6).all() and (sure_N < 0.95).all()


def test_a_thread_that_leaves_does_not_lift_the_limit_for_another() -> None:
    first_is_in, second_is_in = threading.Event(), threading.Event()
    seen: list[int] = []

    def first() -> None:
        with one_thread():
            first_is_in.set()
            second_is_in.wait(0.3)  # it cannot come in while this one is

    def second() -> None:
        first_is_in.wait(5)
        with one_thread():
            second_is_in.set()
            leaver.join(5)
            seen.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")

    before = threadpool_info()
    leaver, stayer = threading.Thread(target=first), threading.Thread(target=second)
    leaver.start()
    stayer.start()
    stayer.join(10)
    assert seen and set(seen) == {1}
    assert threadpool_info() == before
