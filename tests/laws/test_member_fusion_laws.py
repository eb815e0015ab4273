"""Every method that fuses features or logits x every law, found by listing the folder.

Legend: M members, N rows, D features, K columns.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import plugins
from core.statistics import to_grid
from core.types import Task
from exporters.transform import combine
from training.fuse import features, logits
from training.merge.members import Given, Member, alone, folds, held_out, score, shares

PACKAGE = "training.fuse"
METHODS = [
    pytest.param(module, config, id=f"{name}-{config}")
    for name in plugins.names(PACKAGE)
    if (module := plugins.load(PACKAGE, name)).SPACE == "features"
    for config in module.examples()
]
TASKS: list[Task] = ["classification", "regression"]
SEEDS = st.integers(0, 2**32 - 1)


def given_of(seed: int, task: Task, count: int = 3, rows: int = 36, blind: bool = False) -> Given:
    """Members that each see another part of what decides, and noise; with ``blind``, a last one that sees nothing."""
    noise = np.random.default_rng(seed)
    cause_NC = noise.standard_normal((rows, count))
    members = []
    for place in range(count):
        seen_ND = 0.7 * noise.standard_normal((rows, 4 + place))
        if not (blind and place == count - 1):
            seen_ND[:, 0] += 2.0 * cause_NC[:, place]
        unit_ND = seen_ND / np.linalg.norm(seen_ND, axis=1, keepdims=True)
        members.append(Member(name=f"m{place}", features_ND=to_grid(unit_ND), milliseconds=1.0 + place))
    seen = cause_NC[:, : count - 1] if blind else cause_NC
    if task == "regression":
        targets_NK = np.tanh(seen.sum(axis=1))[:, None]
    else:
        targets_NK = np.eye(seen.shape[1])[seen.argmax(axis=1)]
    judged_N = np.arange(rows) % 3 > 0
    return Given(members=members, task=task, targets_NK=targets_NK, judged_N=judged_N, seed=seed % 7)


def test_the_folder_offers_what_is_promised() -> None:
    offered = {name for name in plugins.names(PACKAGE) if plugins.load(PACKAGE, name).SPACE == "features"}
    assert offered == {"features", "logits"}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("module", "config"), METHODS)
@settings(max_examples=4)
@given(seed=SEEDS)
def test_shares_sum_to_one_to_the_last_bit_and_nothing_given_is_changed(
    module: ModuleType, config: Any, task: Task, seed: int
) -> None:
    one = given_of(seed, task)
    before = [member.features_ND.copy() for member in one.members]
    found = module.fuse(one, config)
    assert sum(found.alphas) == 1.0 == math.fsum(found.alphas)
    assert min(found.alphas) >= 0 and len(found.alphas) == len(found.widths) == 3
    assert found.outcomes_N.shape == (int(one.judged_N.sum()),)
    assert np.isfinite(found.outcomes_N).all()
    assert all(0 < width <= m.features_ND.shape[1] for width, m in zip(found.widths, one.members, strict=True))
    assert all(np.array_equal(m.features_ND, held) for m, held in zip(one.members, before, strict=True))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("module", "config"), METHODS)
def test_the_same_rows_give_the_same_fusion(module: ModuleType, config: Any, task: Task) -> None:
    first, second = (module.fuse(given_of(3, task), config) for _ in range(2))
    assert (first.alphas, first.widths, first.tried, first.chosen) == (
        second.alphas,
        second.widths,
        second.tried,
        second.chosen,
    )


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("module", "config"), METHODS)
def test_members_that_each_know_a_part_are_better_together(module: ModuleType, config: Any, task: Task) -> None:
    gains = []
    for seed in range(3):
        one = given_of(seed, task, rows=120)
        found = module.fuse(one, config)
        gains.append(score(one, found.outcomes_N) - max(score(one, alone(one, m)) for m in one.members))
    assert np.mean(gains) > 0.01


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("module", "config"), METHODS)
def test_copies_of_one_member_answer_as_it_does(module: ModuleType, config: Any, task: Task) -> None:
    one = given_of(1, task)
    copies = Given(
        members=[one.members[0]] * 2, task=task, targets_NK=one.targets_NK, judged_N=one.judged_N, seed=one.seed
    )
    found = module.fuse(copies, config)
    if found.widths[0] == one.members[0].features_ND.shape[1]:  # a projection of either copy is another member
        expected_N = alone(one, one.members[0])
        assert np.abs(found.outcomes_N - expected_N).mean() < (0.02 if task == "regression" else 0.05)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize(("module", "config"), [case for case in METHODS if case.values[0].SYMMETRIC])  # type: ignore[union-attr]
def test_the_order_of_the_members_does_not_matter(module: ModuleType, config: Any, task: Task) -> None:
    one = given_of(2, task, rows=60)
    order = [2, 0, 1]
    other = Given(
        members=[one.members[place] for place in order],
        task=task,
        targets_NK=one.targets_NK,
        judged_N=one.judged_N,
        seed=one.seed,
    )
    first, second = module.fuse(one, config), module.fuse(other, config)
    assert [first.alphas[place] for place in order] == pytest.approx(second.alphas, abs=2 / 1024)
    assert score(one, first.outcomes_N) == pytest.approx(score(other, second.outcomes_N), abs=1e-3)


@pytest.mark.parametrize("task", TASKS)
def test_a_member_that_sees_nothing_is_left_out_where_it_has_to_pay(task: Task) -> None:
    one = given_of(4, task, rows=150, blind=True)
    strict = features.fuse(one, features.Config(worth=0.01, least=1))
    assert strict.alphas[-1] == 0
    assert logits.fuse(one).alphas[-1] < 0.1
    assert features.fuse(one, features.Config(least=3)).alphas.count(0.0) == 0


@settings(max_examples=10)
@given(seed=SEEDS, task=st.sampled_from(TASKS))
def test_on_the_rows_it_is_chosen_on_no_share_is_worse_than_the_best_member(seed: int, task: Task) -> None:
    one = given_of(seed, task)
    scores_MNK = np.stack([held_out(one, member.features_ND) for member in one.members])
    loss = logits._squared if task == "regression" else logits._log_loss
    convex = logits._convex_squared if task == "regression" else logits._convex_log_loss
    singles = [loss(scores_NK, one.targets_NK) for scores_NK in scores_MNK]
    for alphas in (logits.greedy(scores_MNK, one.targets_NK, loss, 8), convex(scores_MNK, one.targets_NK)):
        assert loss(logits.mix(scores_MNK, alphas), one.targets_NK) <= min(singles) + 2e-4


def test_the_convex_shares_are_the_optimum() -> None:
    one = given_of(6, "classification", count=2, rows=90)
    scores_MNK = np.stack([held_out(one, member.features_ND) for member in one.members])
    first, _ = logits._convex_log_loss(scores_MNK, one.targets_NK)
    line = np.linspace(0, 1, 201)
    losses = [logits._log_loss(logits.mix(scores_MNK, (a, 1 - a)), one.targets_NK) for a in line]
    assert abs(first - line[int(np.argmin(losses))]) < 0.02


def test_wide_members_are_projected_to_their_part_of_what_is_allowed() -> None:
    assert features.widths([1280, 1280], [0, 1], 2048) == [1024, 1024]
    assert features.widths([1280, 1280, 384], [0, 2], 2048) == [1280, 1280, 384]
    assert features.widths([3000, 10], [0, 1], 2048) == [2041, 6]
    one = given_of(0, "classification")
    rows_ND = features.joined(one.members[:2], [2, 5])
    assert rows_ND.shape == (36, 7)
    plain_ND = features.joined(one.members[:2], [4, 5])
    expected = to_grid(combine([m.features_ND / 2**15 for m in one.members[:2]]))
    assert np.array_equal(plain_ND, expected)


def test_every_judged_row_is_judged_once_by_what_was_chosen_without_it() -> None:
    one = given_of(0, "classification", rows=40)
    seen = np.zeros(40, int)
    for choose_N, judge_N in folds(one, 5):
        assert not (choose_N & judge_N).any() and ((choose_N | judge_N) == one.judged_N).all()
        seen += judge_N
    assert (seen == one.judged_N).all()


@settings(max_examples=60)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=9))
def test_shares_are_whole_steps_that_sum_to_one(parts: list[float]) -> None:
    found = shares(parts)
    assert sum(found) == 1.0
    assert all((1024 * share).is_integer() and share >= 0 for share in found)
    if sum(parts) > 0:
        assert all(abs(a - b / sum(parts)) < 1 / 1024 + 1e-9 for a, b in zip(found, parts, strict=True))
