"""What is minimised, row by row: cross-entropy with smoothed targets and costs, or a squared error.

Promises a loss for each row, so that weights, halved batches and several processes change nothing but rounding. Pure
functions; knows nothing of networks.

Label smoothing: Szegedy et al., arXiv 1512.00567. Class weights: inverse frequencies, mean 1 over rows.

Legend: N rows, B batch, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch.nn import functional

from core.errors import InvalidInput


def cross_entropy(scores_BK: torch.Tensor, targets_BK: torch.Tensor) -> torch.Tensor:
    """(B,) of logits against shares that sum to 1.

    >>> cross_entropy(torch.zeros(1, 4), torch.tensor([[1.0, 0, 0, 0]])).item() == torch.log(torch.tensor(4.0)).item()
    True
    """
    return -(targets_BK * functional.log_softmax(scores_BK, dim=1)).sum(dim=1)


def expected_cost(scores_BK: torch.Tensor, targets_BK: torch.Tensor, costs_KK: torch.Tensor) -> torch.Tensor:
    """(B,) mean cost of an answer drawn from the probabilities; ``costs_KK`` has truths in rows."""
    return ((targets_BK @ costs_KK) * functional.softmax(scores_BK, dim=1)).sum(dim=1)


def squared_error(scores_BK: torch.Tensor, targets_BK: torch.Tensor) -> torch.Tensor:
    """(B,) mean squared error of standardised values."""
    return (scores_BK - targets_BK).square().mean(dim=1)


def smoothed(targets_BK: torch.Tensor, share: float) -> torch.Tensor:
    """Targets of which ``share`` is spread evenly over all classes.

    >>> smoothed(torch.tensor([[1.0, 0.0]]), 0.1)
    tensor([[0.9500, 0.0500]])
    """
    return (1.0 - share) * targets_BK + share / targets_BK.shape[1]


def balanced(targets_NK: torch.Tensor) -> torch.Tensor:
    """(N,) weights by which every class counts the same; their mean is 1.

    >>> balanced(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    tensor([0.7500, 0.7500, 1.5000])
    """
    counts_K = targets_NK.sum(dim=0)
    weight_K = len(targets_NK) / (counts_K.clamp(min=1.0) * (counts_K > 0).sum())
    return targets_NK @ weight_K


def cost_table(costs: Mapping[str, Mapping[str, float]], labels: Sequence[str]) -> torch.Tensor:
    """(K, K) costs, truths in rows; what is not named costs nothing.

    Raises:
        InvalidInput: a label that is not among ``labels``.
    """
    named = {*costs, *(answer for row in costs.values() for answer in row)}
    unknown = sorted(named - set(labels))
    if unknown:
        raise InvalidInput(
            f"costs names the label {unknown[0]!r}, which the training rows do not have",
            f"choose among {', '.join(labels)}",
        )
    table_KK = torch.zeros(len(labels), len(labels))
    for truth, row in costs.items():
        for answer, cost in row.items():
            table_KK[labels.index(truth), labels.index(answer)] = cost
    return table_KK
