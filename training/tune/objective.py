"""What a step minimises: a loss for each row of a batch, by whatever the network says of it.

Promises that an objective may be put around another one. Knows nothing of optimisers or of how batches are made.

Legend: B batch, K classes.
"""

from __future__ import annotations

import torch

from core.types import Task
from training.tune import losses
from training.tune.batches import Batch
from training.tune.network import Network


class Objective(torch.nn.Module):
    """Takes a network and a batch, gives the loss of each row (B,). Its own parameters, if any, are trained along."""

    def forward(self, network: Network, batch: Batch) -> torch.Tensor:
        """See above."""
        raise NotImplementedError


class Supervised(Objective):
    """Labels alone: cross-entropy of smoothed targets and the expected cost, or the squared error."""

    def __init__(self, task: Task, smoothing: float, costs_KK: torch.Tensor | None = None) -> None:
        super().__init__()
        self.task, self.smoothing = task, smoothing
        self.costs_KK: torch.Tensor | None
        self.register_buffer("costs_KK", costs_KK, persistent=False)

    def forward(self, network: Network, batch: Batch) -> torch.Tensor:
        """(B,)."""
        return self.of(network(batch.inputs).scores_BK, batch.targets_BK)

    def of(self, scores_BK: torch.Tensor, targets_BK: torch.Tensor) -> torch.Tensor:
        """(B,) of scores that are known."""
        if self.task == "regression":
            return losses.squared_error(scores_BK, targets_BK)
        loss_B = losses.cross_entropy(scores_BK, losses.smoothed(targets_BK, self.smoothing))
        if self.costs_KK is None:
            return loss_B
        return loss_B + losses.expected_cost(scores_BK, targets_BK, self.costs_KK)
