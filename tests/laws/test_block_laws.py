"""A head of blocks is that of each block alone, mixed; and it forgets as exactly as a head without blocks.

Legend: N rows, D features, K classes, M blocks.
"""

from __future__ import annotations

from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.head import HeadState, Row
from core.statistics import from_grid
from core.types import Block, Task
from tests.homes import told
from tests.laws.test_head_laws import CLASSES, KEY, LAMS, drawn_row, wander

TASKS = st.sampled_from(["classification", "regression"])


def blocks_of(widths: list[int], alphas: list[float]) -> tuple[Block, ...]:
    ends = np.cumsum([0, *widths]).tolist()
    return tuple(Block(start=a, stop=b, alpha=alpha) for a, b, alpha in zip(ends, ends[1:], alphas, strict=False))


BLOCKS = [blocks_of([3, 2], [0.25, 0.75]), blocks_of([1, 4, 2], [0.5, 0.125, 0.375]), blocks_of([2, 2], [0.9, 0.1])]


def empty(width: int, task: Task, blocks: tuple[Block, ...] = ()) -> HeadState:
    declared = ("dog", "cat") if task == "classification" else ()
    return HeadState(width, task=task, declared=declared, key=KEY, blocks=blocks)


def filled(blocks: tuple[Block, ...], task: Task, count: int, seed: int) -> HeadState:
    chance, width = Random(seed), blocks[-1].stop
    state = empty(width, task, blocks)
    state.add([drawn_row(chance, str(n), width, task) for n in range(count)])
    return state


@settings(max_examples=40)
@given(st.randoms(use_true_random=False), st.sampled_from(BLOCKS), TASKS, st.sampled_from(LAMS))
def test_any_history_gives_the_head_of_a_fit_from_scratch(
    chance: Random, blocks: tuple[Block, ...], task: Task, lam: float | None
) -> None:
    state = empty(blocks[-1].stop, task, blocks)
    wander(chance, state, steps=chance.randint(1, 25))
    fresh = empty(blocks[-1].stop, task, blocks)
    rows = list(state.rows.values())
    fresh.add(chance.sample(rows, len(rows)))
    assert told(state.solve(lam=lam)) == told(fresh.solve(lam=lam))


@settings(max_examples=30)
@given(st.randoms(use_true_random=False), TASKS, st.sampled_from(LAMS))
def test_one_block_is_a_head_without_blocks(chance: Random, task: Task, lam: float | None) -> None:
    plain = empty(4, task)
    wander(chance, plain, steps=chance.randint(1, 20))
    blocked = empty(4, task, blocks_of([4], [1.0]))
    blocked.add(plain.rows.values())
    assert told(plain.solve(lam=lam)) == told(blocked.solve(lam=lam))


@pytest.mark.parametrize("task", ["classification", "regression"])
@pytest.mark.parametrize("blocks", BLOCKS)
def test_each_block_has_the_sums_the_penalty_and_the_scores_that_it_has_alone(
    blocks: tuple[Block, ...], task: Task
) -> None:
    state = filled(blocks, task, 60, seed=3)
    head = state.solve(cooled=1.0)
    assert head is not None
    names = list(state.rows)[:20]
    alone = []
    for place, block in enumerate(blocks):
        one = empty(block.stop - block.start, task)
        one.add(replace(row, features=row.features[block.start : block.stop]) for row in state.rows.values())
        for name, array in one.statistics.arrays().items():
            assert array.tobytes() == state.parts[place].arrays()[name].tobytes()
        assert (one.held_out(names, head.labels)[0] == state.held_out(names, head.labels)[place]).all()
        made = one.solve(cooled=1.0)
        assert made is not None
        alone.append(made)
        rows_N = slice(block.start, block.stop)
        np.testing.assert_allclose(head.weight[rows_N], block.alpha * made.weight, rtol=1e-6)
    assert head.lam == pytest.approx(sum(b.alpha * one.lam for b, one in zip(blocks, alone, strict=True)))
    np.testing.assert_allclose(
        head.bias, sum(b.alpha * one.bias for b, one in zip(blocks, alone, strict=True)), rtol=1e-5, atol=1e-7
    )


def test_the_mixed_scores_are_the_mean_of_the_blocks_scores_by_their_shares() -> None:
    blocks = BLOCKS[1]
    state = filled(blocks, "classification", 50, seed=5)
    head = state.solve(cooled=1.0)  # no class is moved then
    assert head is not None
    rows_ND = np.stack([row.features for row in state.rows.values()])
    whole_NK = from_grid(rows_ND) @ head.weight + head.bias
    mixed_NK = np.zeros_like(whole_NK)
    for block in blocks:
        one = empty(block.stop - block.start, "classification")
        one.add(replace(row, features=row.features[block.start : block.stop]) for row in state.rows.values())
        made = one.solve(cooled=1.0)
        assert made is not None
        mixed_NK += block.alpha * (from_grid(rows_ND[:, block.start : block.stop]) @ made.weight + made.bias)
    np.testing.assert_allclose(whole_NK, mixed_NK, atol=1e-5)


def test_a_block_that_tells_nothing_of_the_classes_does_not_disturb_one_that_does() -> None:
    noise = np.random.default_rng(9)
    rows = []
    for n in range(40):
        features = noise.integers(-9000, 9001, 6).astype(np.int16)
        features[0] = 30000 if n % 2 else -30000
        rows.append(Row(str(n), features, CLASSES[n % 2], None, 1))
    state = HeadState(6, key=KEY, blocks=blocks_of([3, 3], [1.0, 0.0]))
    state.add(rows)
    head = state.solve()
    assert head is not None
    assert not head.weight[3:].any()


@pytest.mark.parametrize("blocks", [blocks_of([3, 2], [0.5, 0.5])[:1], blocks_of([2, 4], [0.5, 0.5])])
def test_blocks_that_do_not_cover_the_features_are_refused(blocks: tuple[Block, ...]) -> None:
    with pytest.raises(AssertionError, match="do not cover 5 features"):
        empty(5, "classification", blocks)
