"""One cycle of retraining (``training.incremental``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from training import incremental
from training.assignment import Assignment
from training.incremental import Request


def work(given: Assignment, request: Request) -> dict[str, Any]:
    """Retrain; where an attempt before has come as far as registering, that version goes on from there."""
    home = given.home
    home.decisions.job = given.job.id
    if given.versions:
        made = home.registry.version(request.scene, given.versions[-1])
        done = incremental.settle(home, request, made, given.reporter)
    else:
        done = incremental.retrain(home, request, given.reporter)
    told: dict[str, Any] = {"outcome": done.outcome, "words": done.words, "reasons": list(done.reasons)}
    told |= {} if done.decision is None else {"decision": done.decision.id}
    return told if done.version is None else told | {"version": done.version.version, "number": done.version.number}


def examples() -> Sequence[Request]:
    """As the policy says, and with everything named."""
    return (
        Request(scene="ward"),
        Request(scene="ward", budget=600.0, seed=1, start="champion", recipe="finetune", settings={"epochs": 5}),
    )
