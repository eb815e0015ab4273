"""Versions of a scene fused into a new one, where that pays (``training.merge.versions``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from training.assignment import Assignment
from training.merge import versions
from training.merge.versions import Request


def work(given: Assignment, request: Request) -> dict[str, Any]:
    """Fuse; where an attempt before has come as far as registering, that version is the one."""
    if given.versions:
        made = given.home.registry.version(request.scene, given.versions[-1])
        return {"accepted": True, "version": made.version, "number": made.number}
    fused = versions.fuse(given.home, request, given.reporter)
    told = {"accepted": fused.verdict.accepted, "reason": fused.verdict.words}
    return told if fused.version is None else told | {"version": fused.version.version, "number": fused.version.number}


def examples() -> Sequence[Request]:
    """By whatever pays, and by one method."""
    return (
        Request(scene="ward", versions=("1", "2")),
        Request(scene="ward", versions=("1", "2", "3"), method="logits", budget=60.0),
    )
