"""The test of live accuracy against a bound: a bet that nobody wins in the mean, and one that a fall loses soon.

Legend: S streams, N labels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from core.fall import EVERY, LEAST, SOONEST, evidence_below
from core.outcomes import Answered, share
from core.right import near, right
from core.types import Doubles, Flags

ALPHA = 0.05
STREAMS, LABELS, LOOKS = 400, 600, 5
SCENES, SHORT, SURE = 200, 150, 0.98

Draw = Callable[[np.random.Generator, int], Doubles]


def ever(streams_SN: Flags, least: float) -> float:
    """Share of streams in which evidence convinces at any of the looks, one every few labels."""
    prefixes = range(LOOKS, streams_SN.shape[1] + 1, LOOKS)
    convinced = [any(evidence_below(row_N[:count], least) >= 1 / ALPHA for count in prefixes) for row_N in streams_SN]
    return float(np.mean(convinced))


@given(
    past=st.lists(st.booleans(), max_size=2 * EVERY + 3),
    least=st.floats(0.01, 0.99),
    truth=st.floats(0.0, 1.0),
)
def test_whatever_came_before_the_next_label_is_a_fair_bet_at_the_bound_and_a_bad_one_above_it(
    past: list[bool], least: float, truth: float
) -> None:
    """Martingale at the bound, supermartingale above: by Ville's inequality the level holds at any look."""
    now = evidence_below(np.array(past, np.bool_), least)
    right, wrong = (evidence_below(np.array([*past, said], np.bool_), least) for said in (True, False))
    assert least * right + (1 - least) * wrong == pytest.approx(now, rel=1e-9)
    above = max(truth, least)
    assert above * right + (1 - above) * wrong <= now * (1 + 1e-9)


@pytest.mark.parametrize("least", [0.6, 0.9])
def test_where_nothing_falls_looking_all_the_time_finds_a_fall_no_more_often_than_alpha(least: float) -> None:
    streams_SN = np.random.default_rng(0).random((STREAMS, LABELS)) < least
    assert ever(streams_SN, least) <= ALPHA


@pytest.mark.parametrize("before", [0, 300])
def test_a_planted_fall_is_found_soon_however_long_all_was_well(before: int) -> None:
    """From 90 to 60 % right, with a bound of 80 %, within 200 labels of the fall."""
    chance = np.random.default_rng(1)
    streams_SN = np.concatenate([chance.random((100, before)) < 0.9, chance.random((100, 200)) < 0.6], axis=1)
    assert ever(streams_SN, 0.8) >= 0.95
    assert ever(streams_SN[:, :before], 0.8) <= ALPHA


def falls(right_N: Flags, least: float, tasks: int) -> bool:
    """Whether evidence convinces after any label, in a scene of so many tasks."""
    counts = range(SOONEST, len(right_N) + 1)
    return any(evidence_below(right_N[:count], least) >= tasks / ALPHA for count in counts)


@pytest.mark.parametrize("leasts", [(0.6, 0.8, 0.95), (0.8, 0.8, 0.8)])
def test_of_several_tasks_none_of_which_falls_any_is_called_fallen_no_more_often_than_alpha(
    leasts: tuple[float, ...],
) -> None:
    """After every label, at the bound itself; by the exact upper end of the share's interval."""
    wrong = 0
    for seed in range(SCENES):
        drawn = np.random.default_rng(seed)
        wrong += any(falls(drawn.random(SHORT) < least, least, len(leasts)) for least in leasts)
    assert binomtest(wrong, SCENES).proportion_ci(SURE, method="exact").high <= ALPHA


def rows(misses_N: Doubles) -> list[Answered]:
    return [Answered(example="", at=0.0, said=float(miss), truth=0.0) for miss in misses_N]


def fallen(before: Draw, after: Draw, count: int, fall: float) -> int:
    """Of so many scenes how many fall, whose misses are drawn so before a promotion and after it, one task of two."""
    found = 0
    for seed in range(count):
        drawn = np.random.default_rng(seed)
        known = rows(before(drawn, LEAST))
        within = near(known)
        low = share(int(right(known, within).sum()), LEAST).low
        assert low is not None
        found += falls(right(rows(after(drawn, SHORT)), within), low - fall, 2)
    return found


def bell(drawn: np.random.Generator, count: int) -> Doubles:
    return np.asarray(drawn.normal(size=count), np.float64)


def heavy(drawn: np.random.Generator, count: int) -> Doubles:
    return np.asarray(drawn.lognormal(size=count), np.float64)


@pytest.mark.parametrize("draw", [bell, heavy])
def test_a_regression_that_misses_as_it_did_falls_no_more_often_than_alpha(draw: Draw) -> None:
    """With nothing that is borne, and the least that may be known of the time before."""
    wrong = fallen(draw, draw, SCENES, 0.0)
    assert binomtest(wrong, SCENES).proportion_ci(SURE, method="exact").high <= ALPHA


@pytest.mark.parametrize("worse", ["shifted", "noisy"])
def test_a_regression_that_is_shifted_or_noisy_is_found(worse: str) -> None:
    def after(drawn: np.random.Generator, count: int) -> Doubles:
        return bell(drawn, count) + 2.0 if worse == "shifted" else 3.0 * bell(drawn, count)

    found = fallen(bell, after, 60, 0.1)
    assert binomtest(found, 60).proportion_ci(SURE, method="exact").low >= 0.85


@given(
    misses=st.lists(st.integers(-1000, 1000), min_size=1, max_size=40),
    others=st.lists(st.integers(-1000, 1000), max_size=40),
    unit=st.sampled_from([2.0**-9, 0.5, 8.0, 2.0**20]),
)
def test_what_is_near_is_told_alike_in_any_unit_and_is_at_least_half_of_what_tells_it(
    misses: list[int], others: list[int], unit: float
) -> None:
    known, judged = np.array(misses, np.float64), np.array(others, np.float64)
    within = near(rows(known))
    assert near(rows(unit * known)) == unit * within
    assert np.array_equal(right(rows(judged), within), right(rows(unit * judged), unit * within))
    assert 2 * right(rows(known), within).sum() >= len(known)
