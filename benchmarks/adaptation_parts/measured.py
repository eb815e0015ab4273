"""What a part of the benchmark hands back: rows, claims, and curves where they say more than a table.

Knows nothing of what is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.draws import mean_and_half
from benchmarks.report import Claim, Row
from core.types import Doubles


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One line of a panel: ``values_SN`` are shares from 0 to 1 of each of S seeds at N places ``at_N``."""

    panel: str
    name: str
    along: str  # what the places are
    at_N: Sequence[float]
    values_SN: Doubles = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a part found."""

    rows: Sequence[Row]
    claims: Sequence[Claim]
    curves: Sequence[Curve] = ()


def draw(curves: Sequence[Curve], file: Path) -> None:
    """Panels side by side, each line with its 95 % interval over seeds."""
    from matplotlib.figure import Figure

    panels = list(dict.fromkeys(curve.panel for curve in curves))
    figure = Figure(figsize=(5.2 * len(panels), 3.8), layout="constrained")
    for panel, axis in zip(panels, figure.subplots(1, len(panels), squeeze=False)[0], strict=True):
        for curve in (each for each in curves if each.panel == panel):
            _line(axis, curve)
        axis.set_title(panel, fontsize=10)
        axis.set_ylabel("accuracy, %")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    figure.savefig(file, dpi=110)


def _line(axis: Any, curve: Curve) -> None:
    values_SN = 100 * curve.values_SN
    (line,) = axis.plot(curve.at_N, values_SN.mean(axis=0), label=curve.name)
    if len(values_SN) > 1:
        told_N2 = np.array([mean_and_half(values_S) for values_S in values_SN.T])
        low_N, high_N = told_N2[:, 0] - told_N2[:, 1], told_N2[:, 0] + told_N2[:, 1]
        axis.fill_between(curve.at_N, low_N.clip(min=0), high_N.clip(max=100), color=line.get_color(), alpha=0.15, lw=0)
    axis.set_xlabel(curve.along)
