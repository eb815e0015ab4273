"""A version's bundle in a folder outside the home, every digest checked (``core.export``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.export import export
from training.assignment import Assignment


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is taken where; the champion where no version is named."""

    scene: str
    out: Path
    version: str | None = None
    statistics: bool = False


def work(given: Assignment, request: Request) -> dict[str, Any]:
    """Copy the bundle; one that an earlier attempt has put there already is the one."""
    given.reporter.stage(f"copying the bundle to {request.out}")
    again = given.job.attempts > 1
    done = export(given.home, request.scene, request.version, request.out, request.statistics, again=again)
    return {"version": done.version, "out": str(done.out), "bytes": done.bytes}


def examples() -> Sequence[Request]:
    """With and without a version."""
    return (
        Request(scene="ward", out=Path("/exports/ward")),
        Request(scene="ward", out=Path("/exports/old"), version="3", statistics=True),
    )
