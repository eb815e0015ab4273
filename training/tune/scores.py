"""How good the trained head is on rows that it was not trained on: a loss to stop by, and a figure for people.

Pure functions.

Legend: N rows, K classes (1 for regression).
"""

from __future__ import annotations

import torch

from core.types import Task
from training.evaluate import balanced_accuracy, r2
from training.tune.losses import cross_entropy, squared_error


def loss_and_score(task: Task, scores_NK: torch.Tensor, targets_NK: torch.Tensor) -> tuple[float, float]:
    """Cross-entropy and balanced accuracy, or the squared error (of standardised values) and R squared.

    >>> loss_and_score("classification", torch.tensor([[20.0, 0.0]]), torch.tensor([[1.0, 0.0]]))[1]
    1.0
    """
    if task == "regression":
        return float(squared_error(scores_NK, targets_NK).mean()), r2(scores_NK.numpy()[:, 0], targets_NK.numpy()[:, 0])
    loss = float(cross_entropy(scores_NK, targets_NK).mean())
    return loss, balanced_accuracy(scores_NK.argmax(dim=1).numpy(), targets_NK.argmax(dim=1).numpy())
