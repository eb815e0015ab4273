"""Rows that stand for a class by its name alone: exact sums, and the nearest name where nothing else stands."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.calibrate import LAMBDAS, held_out_scores, leave_one_out
from core.head import HeadState, Row
from core.solve import factorise, solve
from core.statistics import GRID, SPREAD, Statistics, from_grid, to_grid
from core.types import Doubles, Flags, GridRows

Problem = tuple[GridRows, list[str], Doubles, Doubles, Flags]
LAM = 0.25


def problem(count: int, width: int, seed: int = 0) -> Problem:
    """Rows, labels, one-hot targets, weights, and which of them are names: every third."""
    noise = np.random.default_rng(seed)
    classes_N = np.arange(count) % 2
    rows_ND = noise.integers(-9000, 9001, (count, width)).astype(np.int16)
    weights_N = noise.choice([1, 4], count).astype(np.float64)
    return rows_ND, ["ab"[k] for k in classes_N], np.eye(2)[classes_N], weights_N, np.arange(count) % 3 == 0


def summed(told: Problem) -> Statistics:
    rows_ND, labels, _, weights_N, named_N = told
    statistics = Statistics(rows_ND.shape[1])
    statistics.add(rows_ND, labels, None, [int(w) for w in weights_N], named_N.tolist())
    return statistics


def refitted(told: Problem, lam: float, others: Flags) -> tuple[Doubles, Doubles]:
    """Weights and bias by plain normal equations over (features, constant), the spread of all names kept."""
    rows_ND, _, targets_NK, weights_N, named_N = told
    spread = SPREAD * weights_N[named_N].sum()
    extended_NE = np.column_stack([from_grid(rows_ND), ~named_N])[others]
    left_EE = extended_NE.T @ (weights_N[others, None] * extended_NE)
    left_EE += np.diag([lam + spread] * rows_ND.shape[1] + [spread])
    right_EK = extended_NE.T @ (weights_N[others, None] * targets_NK[others])
    solved_EK = np.linalg.solve(left_EE, right_EK).astype(np.float64)
    return solved_EK[:-1], solved_EK[-1]


@pytest.mark.parametrize(("count", "width"), [(12, 5), (9, 30)])
def test_the_head_is_that_of_the_normal_equations_with_spread(count: int, width: int) -> None:
    told = problem(count, width)
    statistics = summed(told)
    found = solve(statistics, factorise(statistics, LAM), "ab")
    for one, other in zip(found, refitted(told, LAM, np.ones(count, np.bool_)), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-9)


@pytest.mark.parametrize(("count", "width"), [(12, 5), (9, 30)])
def test_leaving_one_out_equals_refits_without_its_place_and_label(count: int, width: int) -> None:
    told = problem(count, width, seed=1)
    rows_ND, _, targets_NK, weights_N, named_N = told
    found = leave_one_out(rows_ND, targets_NK, weights_N, named_N)
    statistics = summed(told)
    factor = factorise(statistics, found.lam)
    weight_DK, bias_K = solve(statistics, factor, "ab")
    scores_NK = from_grid(rows_ND) @ weight_DK + np.outer(~named_N, bias_K)
    held_NK = held_out_scores(factor, scores_NK, rows_ND, targets_NK, weights_N, named_N)
    left_NK = np.empty_like(targets_NK)
    for n in range(count):
        weight_DK, bias_K = refitted(told, found.lam, np.arange(count) != n)
        left_NK[n] = from_grid(rows_ND[n]) @ weight_DK + bias_K * ~named_N[n]
    np.testing.assert_allclose(found.scores_NK, left_NK, atol=1e-9)
    np.testing.assert_allclose(held_NK, left_NK, atol=1e-9)
    errors = (weights_N @ np.square(targets_NK - left_NK)).sum() / weights_N.sum()
    assert found.errors_L[list(LAMBDAS).index(found.lam)] == pytest.approx(errors)


@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 12))
def test_names_come_and_go_without_a_trace(seed: int, width: int, count: int) -> None:
    told = problem(count, width, seed)
    rows_ND, labels, _, weights_N, named_N = told
    statistics, weights = summed(told), [int(w) for w in weights_N]
    bits = {name: array.tobytes() for name, array in statistics.arrays().items()}
    statistics.add(rows_ND[::-1], labels, None, weights, [True] * count)
    statistics.subtract(rows_ND[::-1], labels, None, weights, [True] * count)
    assert {name: array.tobytes() for name, array in statistics.arrays().items()} == bits
    statistics.subtract(rows_ND, labels, None, weights, named_N.tolist())
    assert not statistics.gram.any()
    assert statistics.units == 0


def test_with_names_alone_the_nearest_name_answers_and_examples_bring_the_intercept() -> None:
    width, noise = 64, np.random.default_rng(2)
    names_KD = noise.standard_normal((5, width))
    names_KD /= np.linalg.norm(names_KD, axis=1, keepdims=True)
    asked_ND = names_KD[np.arange(200) % 5] + 0.15 * noise.standard_normal((200, width))
    asked_ND = asked_ND / np.linalg.norm(asked_ND, axis=1, keepdims=True)
    state = HeadState(width, key=b"key")
    state.add(
        Row(f"{name} {copy}", to_grid(row_D), name, None, 8, named=True)
        for name, row_D in zip("abcde", names_KD, strict=True)
        for copy in range(2)
    )
    head = state.solve()
    assert head is not None
    assert not head.bias.any()
    nearest_N = (asked_ND @ names_KD.T).argmax(axis=1)
    assert ((asked_ND @ head.weight).argmax(axis=1) == nearest_N).mean() > 0.97
    state.add(Row(f"seen {n}", to_grid(asked_ND[n]), "a", None, 4) for n in range(3))
    taught = state.solve()
    assert taught is not None
    assert taught.bias.argmax() == 0


def test_the_sums_with_names_stay_within_what_is_exact() -> None:
    statistics = Statistics(1)
    statistics.add(np.array([[GRID - 1]], np.int16), ["a"], None, [4], [True])
    assert statistics.units == 8
