"""Episodes: small scenes drawn from a larger one, and how a head is found within one so that slopes pass through it.

An episode has some classes, a few labelled rows of each (the support) and others of the same classes that ask (the
query). ``ridge`` solves the head in closed form, as what serves is solved: the limit of what steps on the head alone
(``anil``) come to under a squared error. ``prototype`` answers by the nearest mean. Each has what it learns along:
how sharp its scores are, and its penalty or its rate. Promises that the order of rows changes nothing but rounding.
Knows nothing of backbones.

Reference: Bertinetto et al., R2-D2, arXiv 1805.08136; Raghu et al., ANIL, arXiv 1909.09157; Snell, Swersky and Zemel,
prototypical networks, arXiv 1703.05175.

Legend: S support rows, Q query rows, D features, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from training.tune.losses import cross_entropy

SHARP = 10.0  # of scores, to begin with: features have length 1
PENALTY = 0.1
RATE, STEPS = 10.0, 5


@dataclass(frozen=True, kw_only=True)
class Episode:
    """Places of rows, and for each the number of its class within the episode."""

    support: tuple[int, ...]
    query: tuple[int, ...]
    support_classes: tuple[int, ...]
    query_classes: tuple[int, ...]


class Inner(torch.nn.Module):
    """Finds a head within an episode: support (S, D), their classes (S, K) and query (Q, D) to scores (Q, K)."""

    def __init__(self) -> None:
        super().__init__()
        self.sharp = torch.nn.Parameter(torch.tensor(math.log(SHARP)))

    def forward(self, support_SD: torch.Tensor, targets_SK: torch.Tensor, query_QD: torch.Tensor) -> torch.Tensor:
        """See above."""
        raise NotImplementedError


class Ridge(Inner):
    """Ridge regression with an intercept, in its dual form: as many unknowns as rows."""

    def __init__(self) -> None:
        super().__init__()
        self.penalty = torch.nn.Parameter(torch.tensor(math.log(PENALTY)))

    def forward(self, support_SD: torch.Tensor, targets_SK: torch.Tensor, query_QD: torch.Tensor) -> torch.Tensor:
        """See ``Inner``."""
        mean_D, mean_K = support_SD.mean(dim=0), targets_SK.mean(dim=0)
        centred_SD = support_SD - mean_D
        inner_SS = centred_SD @ centred_SD.T + self.penalty.exp() * torch.eye(len(support_SD)).to(support_SD)
        dual_SK = torch.linalg.solve(inner_SS, targets_SK - mean_K)
        scores_QK: torch.Tensor = self.sharp.exp() * ((query_QD - mean_D) @ (centred_SD.T @ dual_SK) + mean_K)
        return scores_QK


class Prototype(Inner):
    """Squared distances to the means of the classes."""

    def forward(self, support_SD: torch.Tensor, targets_SK: torch.Tensor, query_QD: torch.Tensor) -> torch.Tensor:
        """See ``Inner``."""
        mean_KD = targets_SK.T @ support_SD / targets_SK.sum(dim=0)[:, None]
        scores_QK: torch.Tensor = -self.sharp.exp() * (query_QD[:, None] - mean_KD[None]).square().sum(dim=2)
        return scores_QK


class Anil(Inner):
    """A few steps down the cross-entropy of the support, from a head of zeros; features stand still meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.rate = torch.nn.Parameter(torch.tensor(math.log(RATE)))

    def forward(self, support_SD: torch.Tensor, targets_SK: torch.Tensor, query_QD: torch.Tensor) -> torch.Tensor:
        """See ``Inner``."""

        def loss(weight_DK: torch.Tensor, bias_K: torch.Tensor) -> torch.Tensor:
            return cross_entropy(support_SD @ weight_DK + bias_K, targets_SK).mean()

        slope = torch.func.grad(loss, argnums=(0, 1))
        weight_DK = support_SD.new_zeros(support_SD.shape[1], targets_SK.shape[1])
        bias_K = support_SD.new_zeros(targets_SK.shape[1])
        for _ in range(STEPS):
            down_DK, down_K = slope(weight_DK, bias_K)
            weight_DK, bias_K = weight_DK - self.rate.exp() * down_DK, bias_K - self.rate.exp() * down_K
        scores_QK: torch.Tensor = self.sharp.exp() / SHARP * (query_QD @ weight_DK + bias_K)
        return scores_QK


INNER: Mapping[str, type[Inner]] = {"ridge": Ridge, "prototype": Prototype, "anil": Anil}


def draw(classes: Sequence[Sequence[int]], ways: int, shots: int, queries: int, chance: np.random.Generator) -> Episode:
    """An episode of at most ``ways`` of the classes, given as the places of their rows; each has more than ``shots``.

    >>> found = draw([range(0, 9), range(10, 19)], 5, 2, 3, np.random.default_rng(0))
    >>> len(found.support), len(found.query), set(found.support) & set(found.query)
    (4, 6, set())
    """
    support: list[tuple[int, int]] = []
    query: list[tuple[int, int]] = []
    for number, place in enumerate(chance.permutation(len(classes))[:ways].tolist()):
        rows = [(int(classes[place][row]), number) for row in chance.permutation(len(classes[place]))]
        support += rows[:shots]
        query += rows[shots : shots + queries]
    return Episode(
        support=tuple(row for row, _ in support),
        query=tuple(row for row, _ in query),
        support_classes=tuple(number for _, number in support),
        query_classes=tuple(number for _, number in query),
    )


def answered(
    inner: Inner, support_SD: torch.Tensor, query_QD: torch.Tensor, episode: Episode
) -> tuple[torch.Tensor, torch.Tensor]:
    """(Q, K) scores and targets of the query rows."""
    count = 1 + max(episode.support_classes)
    support_SK, query_QK = (
        torch.nn.functional.one_hot(torch.tensor(numbers), count).to(support_SD)
        for numbers in (episode.support_classes, episode.query_classes)
    )
    return inner(support_SD, support_SK, query_QD), query_QK
