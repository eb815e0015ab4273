"""What every benchmark prints and writes: one table, the machine, the claims and whether they hold.

Promises the JSON of the contract, ``{"machine", "rows", "claims"}``, without host names or paths, and exit code 1 where
a claim fails. Knows nothing of what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

PACKAGES = ("numpy", "scipy", "onnxruntime-gpu", "torch", "timm", "scikit-learn", "bentoml", "fastapi", "sqlalchemy")

Cell = str | int | float | None
Row = Mapping[str, Cell]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One promise: what it says, what was measured, what the bound is, and whether it holds."""

    claim: str
    value: float
    bound: float
    holds: bool


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a benchmark was called."""

    quick: bool
    json: Path | None
    picture: Path | None = None
    size: int = 0


class Clock:
    """Seconds since it was made: those of the clock, and those of the processor in this process."""

    def __init__(self) -> None:
        self._begun, self._busy = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        """Both."""
        return time.perf_counter() - self._begun, time.process_time() - self._busy


def options(description: str, argv: Sequence[str] | None = None, *, picture: bool = False, size: int = 0) -> Options:
    """Read ``[--quick] [--json FILE]``, ``[--picture FILE]`` of a benchmark that draws one, and ``[--size PIXELS]``
    where there is a usual ``size``."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, within 5 minutes on 2 cores")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write machine, rows and claims to FILE")
    if picture:
        parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the result into FILE (PNG)")
    if size:
        parser.add_argument(
            "--size", type=int, default=size, metavar="PIXELS", help="side of the pictures (%(default)s)"
        )
    given = parser.parse_args(argv)
    return Options(
        quick=given.quick,
        json=given.json,
        picture=given.picture if picture else None,
        size=given.size if size else 0,
    )


def machine() -> dict[str, object]:
    """Processor, memory and versions: what a number depends on, and nothing that names the host."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "processor": _processor(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
    }


def finish(title: str, rows: Sequence[Row], claims: Sequence[Claim], file: Path | None = None) -> int:
    """Print the table and the claims, write the JSON, and give the exit code."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    console.print(_table(title, rows))
    for claim in claims:
        mark = "[green]holds[/]" if claim.holds else "[red]DOES NOT HOLD[/]"
        console.print(f"{mark}  {escape(claim.claim)}: {claim.value:.4g} (bound {claim.bound:.4g})")
    if file:
        told = {"machine": machine(), "rows": [dict(row) for row in rows], "claims": [asdict(c) for c in claims]}
        file.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return 0 if all(claim.holds for claim in claims) else 1


def _table(title: str, rows: Sequence[Row]) -> Table:
    table = Table(title=escape(title))
    names = list(dict.fromkeys(name for row in rows for name in row))
    for name in names:
        numeric = all(isinstance(row.get(name), int | float | None) for row in rows)
        table.add_column(escape(name), justify="right" if numeric else "left")
    for row in rows:
        table.add_row(*(_cell(row.get(name)) for name in names))
    return table


def _cell(value: Cell) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """The model as Linux names it, else what Python knows."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
