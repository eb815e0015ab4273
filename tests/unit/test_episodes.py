"""Heads found within an episode: what they are by definition, and that slopes pass through them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training import episodes
from training.episodes import INNER, PENALTY, SHARP, Episode, Inner, Prototype, Ridge


def rows(seed: int, count: int, width: int = 8) -> torch.Tensor:
    made = torch.randn(count, width, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(made, dim=1)


TARGETS = torch.eye(3)[torch.arange(12) % 3]


def test_ridge_is_the_ridge_regression_of_the_normal_equations() -> None:
    support_SD, query_QD = rows(0, 12).double(), rows(1, 5).double()
    with torch.no_grad():
        scores_QK = Ridge()(support_SD, TARGETS.double(), query_QD) / SHARP
    ones_SD = torch.cat([support_SD, torch.ones(12, 1)], dim=1)
    penalty = PENALTY * torch.eye(9).double()
    penalty[8, 8] = 0  # the intercept is free
    weight_DK = torch.linalg.solve(ones_SD.T @ ones_SD + penalty, ones_SD.T @ TARGETS.double())
    expected_QK = torch.cat([query_QD, torch.ones(5, 1)], dim=1) @ weight_DK
    assert torch.allclose(scores_QK, expected_QK, atol=1e-6)


def test_a_prototype_answers_by_the_nearest_mean() -> None:
    support_SD, query_QD = rows(0, 12), rows(1, 20)
    with torch.no_grad():
        said_Q = Prototype()(support_SD, TARGETS, query_QD).argmax(dim=1)
    means_KD = torch.stack([support_SD[TARGETS[:, k] == 1].mean(dim=0) for k in range(3)])
    assert torch.equal(said_Q, torch.cdist(query_QD, means_KD).argmin(dim=1))


@pytest.mark.parametrize("name", INNER)
def test_order_does_not_matter_and_slopes_reach_features_and_what_is_learned_along(name: str) -> None:
    inner, support_SD, query_QD = INNER[name](), rows(0, 12).requires_grad_(), rows(1, 6).requires_grad_()
    scores_QK = inner(support_SD, TARGETS, query_QD)
    turned = torch.randperm(12, generator=torch.Generator().manual_seed(2))
    assert torch.allclose(inner(support_SD[turned], TARGETS[turned], query_QD), scores_QK, atol=1e-4)
    (scores_QK.square().sum()).backward()
    for tensor in (support_SD, query_QD, *inner.parameters()):
        assert tensor.grad is not None and tensor.grad.isfinite().all() and tensor.grad.abs().sum() > 0


@pytest.mark.parametrize("name", INNER)
def test_classes_that_lie_apart_are_told_apart(name: str) -> None:
    """Four classes along four axes, with a little noise."""
    corner_SD = torch.eye(8)[torch.arange(20) % 4] + 0.2 * rows(3, 20)
    corner_SD = torch.nn.functional.normalize(corner_SD, dim=1)
    episode = Episode(
        support=tuple(range(12)),
        query=tuple(range(12, 20)),
        support_classes=(0, 1, 2, 3) * 3,
        query_classes=(0, 1, 2, 3) * 2,
    )
    inner: Inner = INNER[name]()
    with torch.no_grad():
        scores_QK, targets_QK = episodes.answered(inner, corner_SD[:12], corner_SD[12:], episode)
    assert torch.equal(scores_QK.argmax(dim=1), targets_QK.argmax(dim=1))


@given(
    st.lists(st.integers(4, 12), min_size=2, max_size=8),
    st.integers(2, 6),
    st.integers(1, 3),
    st.integers(1, 5),
    st.integers(0, 99),
)
def test_an_episode_has_no_row_twice_and_as_many_as_asked(
    sizes: list[int], ways: int, shots: int, queries: int, seed: int
) -> None:
    ends = np.cumsum([0, *sizes]).tolist()
    classes = [range(start, stop) for start, stop in pairwise(ends)]
    found = episodes.draw(classes, ways, shots, queries, np.random.default_rng(seed))
    assert found == episodes.draw(classes, ways, shots, queries, np.random.default_rng(seed))
    both = (*found.support, *found.query)
    assert len(both) == len(set(both)) and len(found.support) == shots * min(ways, len(sizes))
    home = {row: number for number, rows_ in enumerate(classes) for row in rows_}
    for places, numbers in ((found.support, found.support_classes), (found.query, found.query_classes)):
        pairs = {(home[place], number) for place, number in zip(places, numbers, strict=True)}
        assert len({number for _, number in pairs}) == len(pairs), "a number is one class"
    assert set(found.query_classes) == set(found.support_classes)
