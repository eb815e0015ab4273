"""The whole road from data to a registered version (``training.pipeline``)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training import pipeline
from training.assignment import Assignment
from training.pipeline import Request


def work(given: Assignment, request: Request) -> dict[str, Any]:
    """Adapt; where an attempt before has come as far as registering, that version is the one."""
    report = pipeline.report_of(given.home, request.scene)
    if given.versions:
        version = given.home.registry.version(request.scene, given.versions[-1])
    else:
        version = pipeline.adapt(given.home, request, given.reporter).version
    return {
        "version": version.version,
        "number": version.number,
        "metrics": version.manifest["metrics"],
        "report": str(report),
    }


def examples() -> Sequence[Request]:
    """A scene from data, and one from names."""
    return (
        Request(scene="ward", data=Path("/data/ward"), backbones=("efficientnet_lite0",), budget=60.0),
        Request(scene="home", names=Path("/data/labels.txt"), new_labels="accept"),
    )
