"""The tasks of a scene as columns side by side: one linear layer answers them all, and each task knows its own.

Promises that a scene with one task has the very columns that its head has. A row that is not labelled for a task has
NaN in its columns among the targets. Knows nothing of losses.

Legend: B batch, N rows, K columns of all tasks, D features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from core.types import Doubles, Example, Floats, Head, Scene
from training.tasks import by_task


@dataclass(frozen=True, kw_only=True)
class Columns:
    """The columns from ``start`` to ``stop`` of one task; ``labels`` as its head orders them."""

    task: Scene
    labels: tuple[str, ...]
    start: int
    stop: int

    def of(self, table_BK: torch.Tensor) -> torch.Tensor:
        """The task's own columns."""
        return table_BK[:, self.start : self.stop]


def lay(scene: Scene, head: Head) -> tuple[Columns, ...]:
    """The columns of every task, in the order of the tasks."""
    laid: list[Columns] = []
    for task in scene.tasks:
        labels, start = head.of(task.task_name).labels, laid[-1].stop if laid else 0
        laid.append(Columns(task=task, labels=labels, start=start, stop=start + len(labels)))
    return tuple(laid)


def known(table_BK: torch.Tensor, columns: Columns) -> torch.Tensor:
    """(B,) whether a row of targets is labelled for the task."""
    return ~columns.of(table_BK)[:, 0].isnan()


def side_by_side(head: Head, spreads: Sequence[float]) -> tuple[Floats, Floats]:
    """(K, D) weights and (K,) biases of the heads of all tasks, each divided by its spread."""
    heads = zip((head, *head.further.values()), spreads, strict=True)
    pairs = [(each.weight.T / np.float32(spread), each.bias / np.float32(spread)) for each, spread in heads]
    return np.concatenate([weight for weight, _ in pairs]), np.concatenate([bias for _, bias in pairs])


def apart(weight_KD: Floats, bias_K: Floats, like: Head, spreads: Sequence[float]) -> Head:
    """What ``side_by_side`` joined, as heads again; all but weights and biases as in ``like``."""
    made: list[Head] = []
    start = 0
    for each, spread in zip((like, *like.further.values()), spreads, strict=True):
        stop = start + len(each.labels)
        weight_DK = np.ascontiguousarray(weight_KD[start:stop].T * np.float32(spread), np.float32)
        made.append(replace(each, weight=weight_DK, bias=bias_K[start:stop] * np.float32(spread), further={}))
        start = stop
    return replace(made[0], further=dict(zip(like.further, made[1:], strict=True)))


def targets(
    examples: Sequence[Example],
    scene: Scene,
    head: Head,
    spreads: Sequence[float],
    soft: Mapping[str, Mapping[str, Doubles]] | None = None,
) -> torch.Tensor:
    """(N, K): a one for the class, or the standardised value; NaN where a row has no label that the head knows.

    ``soft`` has what some examples are taught instead, as ``training.recipe.Context`` says.
    """
    place = {digest: row for row, digest in enumerate(dict.fromkeys(example.digest for example in examples))}
    laid = lay(scene, head)
    table_NK = torch.full((len(place), laid[-1].stop), float("nan"))
    for columns, spread, (task, mine) in zip(laid, spreads, by_task(scene, examples), strict=True):
        own_NK, mixed = columns.of(table_NK), (soft or {}).get(task.task_name, {})
        for example in mine:
            row = place[example.digest]
            if task.task == "regression":
                assert example.value is not None, "by_task gives labelled rows"
                value = mixed[example.digest].item() if example.digest in mixed else example.value
                own_NK[row] = (value - task.offset) / (spread * task.scale)
            elif example.digest in mixed:
                own_NK[row] = torch.from_numpy(mixed[example.digest]).float()
            elif example.label in columns.labels:
                own_NK[row] = 0.0
                own_NK[row, columns.labels.index(example.label)] = 1.0
    return table_NK[[place[example.digest] for example in examples]]
