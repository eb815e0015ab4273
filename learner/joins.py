"""Labels that came before their prediction: joined when it appears in the log, given up after a time.

Promises that a join is an event with its own sequence. Knows nothing of heads.
"""

from __future__ import annotations

from core.evidence import Evidence
from core.home import Home
from core.types import Prediction


def join_waiting(home: Home, now: float) -> tuple[int, int]:
    """Join what can be joined, give up what has waited too long; returns how many of each."""
    waiting = home.ledger.waiting()
    if not waiting:
        return 0, 0
    found = home.predictions.find(label.prediction_id for label in waiting)
    joined = 0
    for label in waiting:
        prediction = found.get(label.prediction_id)
        if prediction is not None and home.ledger.join(label.event_id, evidence_of(home, prediction)) is not None:
            joined += 1
    return joined, home.ledger.orphan(now - home.settings.learner.orphan_seconds)


def evidence_of(home: Home, prediction: Prediction) -> Evidence:
    """What a logged prediction brings into the ledger; its input becomes a blob where the log kept it."""
    media = prediction.media
    if prediction.instance is None:
        media = ""
    else:
        home.artifacts.put(prediction.instance)
    return Evidence(example=prediction.example, features={prediction.extractor: prediction.features}, media=media)
