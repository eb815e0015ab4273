"""The test of live accuracy against a bound: a bet that nobody wins in the mean, and one that a fall loses soon."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.fall import EVERY, evidence_below
from core.types import Flags

ALPHA = 0.05
STREAMS, LABELS, LOOKS = 400, 600, 5


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
