"""Sums on the grid are exact: any order, any split, any detour gives the very bits of one fit from scratch.

The oracle is arithmetic on whole numbers, which shares nothing with BLAS. Legend: N examples, D features, E = D + 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import CapacityReached
from core.statistics import GRID, LARGEST, MAX_UNITS, VALUE, Statistics, from_grid, to_grid

STEPS = st.one_of(st.sampled_from([-LARGEST, -1, 0, 1, LARGEST]), st.integers(-LARGEST, LARGEST))
SHARES = st.one_of(st.integers(1, 64), st.sampled_from([1, 4, 1000]))


@dataclass(frozen=True)
class Item:
    """One weighted example; ``target`` for regression only."""

    row: tuple[int, ...]
    column: str
    target: int | None
    weight: int


@st.composite
def item_lists(draw: st.DrawFn) -> tuple[int, list[Item]]:
    width, regression = draw(st.integers(1, 5)), draw(st.booleans())
    one = st.builds(
        Item,
        row=st.tuples(*[STEPS] * width),
        column=st.just(VALUE) if regression else st.sampled_from(["cat", "dog", "émeu", "value"]),
        target=STEPS if regression else st.none(),
        weight=SHARES,
    )
    return width, draw(st.lists(one, min_size=1, max_size=14))


def apply(statistics: Statistics, items: list[Item], sign: int = 1) -> None:
    if not items:
        return
    rows_ND = np.array([item.row for item in items], np.int16)
    targets = [item.target for item in items]
    targets_N = None if targets[0] is None else np.array(targets, np.int16)
    deed = statistics.add if sign > 0 else statistics.subtract
    deed(rows_ND, [item.column for item in items], targets_N, [item.weight for item in items])


def fitted(width: int, items: list[Item]) -> Statistics:
    statistics = Statistics(width)
    apply(statistics, items)
    return statistics


def bits(statistics: Statistics) -> tuple[object, ...]:
    arrays = {name: array.tobytes() for name, array in statistics.arrays().items()}
    return arrays, tuple(sorted(statistics.cross)), statistics.units


def expected_bits(width: int, items: list[Item]) -> tuple[object, ...]:
    """The same sums in Python's whole numbers."""
    gram = np.zeros((width + 1, width + 1))
    cross: dict[str, list[int]] = {}
    square: dict[str, int] = {}
    counts: dict[str, int] = {}
    rows = [(*item.row, GRID) for item in items]
    for i in range(width + 1):
        for j in range(i + 1):
            gram[i, j] = sum(t.weight * row[i] * row[j] for t, row in zip(items, rows, strict=True)) / GRID**2
    for item, row in zip(items, rows, strict=True):
        said = GRID if item.target is None else item.target
        held = cross.setdefault(item.column, [0] * (width + 1))
        cross[item.column] = [h + item.weight * said * value for h, value in zip(held, row, strict=True)]
        square[item.column] = square.get(item.column, 0) + item.weight * said**2
        counts[item.column] = counts.get(item.column, 0) + 1
    columns = sorted(cross)
    arrays = {
        "gram": gram.tobytes(),
        "cross": np.array([cross[c] for c in columns], np.float64)
        .reshape(-1, width + 1)
        .__truediv__(GRID**2)
        .tobytes(),
        "square": np.array([square[c] / GRID**2 for c in columns]).tobytes(),
        "counts": np.array([counts[c] for c in columns], np.float64).tobytes(),
    }
    return arrays, tuple(columns), sum(item.weight for item in items)


@given(item_lists())
def test_a_fit_is_the_sum_in_whole_numbers(drawn: tuple[int, list[Item]]) -> None:
    width, items = drawn
    assert bits(fitted(width, items)) == expected_bits(width, items)


@given(item_lists(), st.randoms(use_true_random=False))
def test_order_and_batches_do_not_matter(drawn: tuple[int, list[Item]], chance: Random) -> None:
    width, items = drawn
    shuffled = chance.sample(items, len(items))
    statistics = Statistics(width)
    while shuffled:
        size = chance.randint(1, len(shuffled))
        apply(statistics, shuffled[:size])
        del shuffled[:size]
    assert bits(statistics) == bits(fitted(width, items))


@given(item_lists(), st.randoms(use_true_random=False))
def test_what_was_taken_away_was_never_there(drawn: tuple[int, list[Item]], chance: Random) -> None:
    width, items = drawn
    stays = [chance.random() < 0.5 for _ in items]
    steps = [(chance.random(), item, 1) for item in items]
    steps += [(1 + chance.random(), item, -1) for item, stay in zip(items, stays, strict=True) if not stay]
    statistics = Statistics(width)
    for moment, item, sign in sorted(steps, key=lambda step: step[0]):
        apply(statistics, [item], sign)
        if moment > 1.5:  # a detour through what is there already
            apply(statistics, [items[0]])
            apply(statistics, [items[0]], -1)
    left = [item for item, stay in zip(items, stays, strict=True) if stay]
    assert bits(statistics) == expected_bits(width, left)


@given(item_lists(), st.randoms(use_true_random=False))
def test_merged_sites_equal_the_pooled_examples(drawn: tuple[int, list[Item]], chance: Random) -> None:
    width, items = drawn
    site = [chance.randrange(3) for _ in items]
    parts = [[item for item, at in zip(items, site, strict=True) if at == which] for which in range(3)]
    sites = [fitted(width, part) for part in parts]
    merged = Statistics(width)
    for which in chance.sample(range(3), 3):
        merged.merge(sites[which])
    apply(merged, parts[0], -1)
    assert bits(merged) == expected_bits(width, [*parts[1], *parts[2]])


@given(item_lists())
def test_columns_vanish_at_zero(drawn: tuple[int, list[Item]]) -> None:
    width, items = drawn
    statistics = fitted(width, items)
    apply(statistics, items, -1)
    assert bits(statistics) == bits(Statistics(width))
    assert statistics.cross == statistics.square == statistics.counts == {}


def test_sums_stay_exact_up_to_the_last_unit_of_weight() -> None:
    heavy = [
        Item((LARGEST, -LARGEST), "cat", None, MAX_UNITS - 3),
        Item((-LARGEST, 1), "dog", None, 1),
        Item((1, -1), "dog", None, 2),
    ]
    statistics = fitted(2, heavy)
    assert bits(statistics) == expected_bits(2, heavy)
    apply(statistics, heavy[:1], -1)
    assert bits(statistics) == expected_bits(2, heavy[1:])


def test_one_unit_more_is_refused() -> None:
    statistics = fitted(1, [Item((1,), "cat", None, MAX_UNITS)])
    with pytest.raises(CapacityReached, match="weigh"):
        apply(statistics, [Item((1,), "cat", None, 1)])


def test_a_fit_of_more_rows_than_a_chunk_is_exact() -> None:
    rows_ND = np.random.default_rng(1).integers(-LARGEST, LARGEST + 1, (5000, 3)).astype(np.int16)
    items = [Item(tuple(int(v) for v in row), "cat", None, 1 + n % 4) for n, row in enumerate(rows_ND)]
    assert bits(fitted(3, items)) == expected_bits(3, items)


@pytest.mark.parametrize("weight", [0, -1])
def test_a_weight_below_one_is_refused(weight: int) -> None:
    with pytest.raises(AssertionError, match="at least 1"):
        apply(Statistics(1), [Item((1,), "cat", None, weight)])


def test_subtracting_what_was_not_added_is_refused() -> None:
    with pytest.raises(AssertionError, match="not what was added"):
        apply(fitted(1, [Item((5,), "cat", None, 1)]), [Item((6,), "cat", None, 1)], -1)


@given(st.integers(-LARGEST, LARGEST))
def test_the_grid_gives_back_its_own_steps(step: int) -> None:
    assert to_grid(from_grid(np.array([step], np.int16))) == step


def test_the_grid_clips_at_its_ends_and_rounds_ties_to_even() -> None:
    values = np.array([1.0, -1.0, 7.0, 0.5 / GRID, 1.5 / GRID, 2.5 / GRID])
    assert to_grid(values).tolist() == [LARGEST, -LARGEST, LARGEST, 0, 2, 2]
