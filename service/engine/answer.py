"""One row of the model's output as an answer: label, confidence, margin, probabilities.

Pure functions; knows nothing of requests. K classes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from core.types import Floats
from service.engine.snapshot import Snapshot


class Verdict(NamedTuple):
    """What is answered for one instance.

    Attributes:
        margin: between the best and the second best probability, 1 where there is no second.
        probabilities: label → probability, best first; empty for regression.
    """

    label: str | None
    value: float | None
    confidence: float
    margin: float
    probabilities: dict[str, float]

    def told(self, prediction_id: str) -> dict[str, Any]:
        """As JSON."""
        if self.value is not None:
            return {"prediction_id": prediction_id, "value": self.value}
        return {
            "prediction_id": prediction_id,
            "label": self.label,
            "confidence": self.confidence,
            "probabilities": self.probabilities,
        }


def verdict(snapshot: Snapshot, outputs_K: Floats, top_k: int | None = None) -> Verdict:
    """The verdict on one row of outputs: (K,) probabilities in the order of the snapshot's labels, or one value."""
    told: list[float] = outputs_K.tolist()  # a float of Python's each: for a few classes quicker than numpy's sorting
    if snapshot.scene.task == "regression":
        return Verdict(label=None, value=told[0], confidence=1.0, margin=1.0, probabilities={})
    order = sorted(range(len(told)), key=told.__getitem__, reverse=True)  # stable: of equals the first comes first
    best = told[order[0]]
    margin = best - told[order[1]] if len(order) > 1 else 1.0
    shown = order if top_k is None else order[:top_k]
    probabilities = {snapshot.labels[k]: told[k] for k in shown}
    return Verdict(
        label=snapshot.labels[order[0]], value=None, confidence=best, margin=margin, probabilities=probabilities
    )
