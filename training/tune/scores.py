"""How good the trained head is on rows that it was not trained on: a loss to stop by, and a figure for people.

Pure functions.

Legend: N rows, K classes (1 for regression).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from core.types import Task
from training.evaluate import balanced_accuracy, r2
from training.tune import columns
from training.tune.columns import Columns
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


def of_tasks(laid: Sequence[Columns], scores_NK: torch.Tensor, targets_NK: torch.Tensor) -> tuple[float, float]:
    """The mean of both over the tasks that have a labelled row."""
    told = []
    for each in laid:
        known_N = columns.known(targets_NK, each)
        if bool(known_N.any()):
            told.append(loss_and_score(each.task.task, each.of(scores_NK)[known_N], each.of(targets_NK)[known_N]))
    return sum(loss for loss, _ in told) / len(told), sum(score for _, score in told) / len(told)
