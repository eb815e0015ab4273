"""Registered versions to a new one (``training.merge.versions``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from training.assignment import Assignment
from training.merge import versions
from training.merge.versions import Request


def work(given: Assignment, request: Request) -> dict[str, Any]:
    """Fuse; where an attempt before has come as far as registering, that version is the one."""
    if given.versions:
        version = given.home.registry.version(request.scene, given.versions[-1])
        return {"version": version.version, "number": version.number, "reason": ""}
    done = versions.fuse(given.home, request, given.reporter)
    if done.version is None:
        return {"version": None, "number": None, "reason": done.verdict.words}
    return {"version": done.version.version, "number": done.version.number, "reason": done.verdict.words}


def examples() -> Sequence[Request]:
    """By what pays, and by a method with its own time."""
    return (
        Request(scene="ward", versions=("1", "2")),
        Request(scene="ward", versions=("1", "2", "3"), method="distill", budget=60.0),
    )
