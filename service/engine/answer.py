"""One row of the model's output as an answer: label, confidence, margin, probabilities, for every task.

Pure functions; knows nothing of requests. K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.types import Floats, Reply, Task
from service.engine.snapshot import Snapshot


@dataclass(frozen=True, kw_only=True)
class Verdict(Reply):
    """What is answered for one instance.

    Attributes:
        probabilities: label → probability, best first; empty for regression.
        further: of several tasks, what is answered for those beside the first, by name.
    """

    probabilities: dict[str, float]
    further: Mapping[str, Verdict] = field(default_factory=dict)

    def told(self) -> dict[str, Any]:
        """As JSON, without the further tasks."""
        if self.value is not None:
            return {"value": self.value}
        return {"label": self.label, "confidence": self.confidence, "probabilities": self.probabilities}


def verdict(
    snapshot: Snapshot, outputs_K: Floats, further: Mapping[str, Floats] | None = None, top_k: int | None = None
) -> Verdict:
    """The verdict on one row of outputs: (K,) probabilities in the order of the snapshot's labels, or one value.

    ``further`` has those of the tasks beside the first, by name.
    """
    if not further:
        return _of_task(snapshot.scene.task, snapshot.labels, outputs_K, top_k, {})
    others = {
        task.task_name: _of_task(task.task, snapshot.further[task.task_name], further[task.task_name], top_k, {})
        for task in snapshot.scene.further
    }
    return _of_task(snapshot.scene.task, snapshot.labels, outputs_K, top_k, others)


def _of_task(
    task: Task, labels: Sequence[str], outputs_K: Floats, top_k: int | None, further: Mapping[str, Verdict]
) -> Verdict:
    told: list[float] = outputs_K.tolist()  # a float of Python's each: for a few classes quicker than numpy's sorting
    if task == "regression":
        return Verdict(label=None, value=told[0], confidence=1.0, margin=1.0, probabilities={}, further=further)
    order = sorted(range(len(told)), key=told.__getitem__, reverse=True)  # stable: of equals the first comes first
    best = told[order[0]]
    margin = best - told[order[1]] if len(order) > 1 else 1.0
    shown = order if top_k is None else order[:top_k]
    return Verdict(
        label=labels[order[0]],
        value=None,
        confidence=best,
        margin=margin,
        probabilities={labels[k]: told[k] for k in shown},
        further=further,
    )
