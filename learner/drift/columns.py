"""Columns of a table: the population stability index of each, over deciles of numbers or over categories.

When to use: tables; it names the column that moved. Limit: columns are looked at one by one, a change of how they go
together is left to ``inputs``. The usual limit of 0.25 is raised for small windows, where chance alone reaches it:
without a change the index times n m / (n + m) is about chi-squared with one degree less than bins. Reference: Yurdakul,
"Statistical properties of the population stability index" (2018).

>>> reference, same, moved = examples(np.random.default_rng(0))
>>> compare(reference, same, 0.001).drifted, compare(reference, moved, 0.001).drifted
(False, True)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TypeGuard

import numpy as np
from scipy.stats import chi2

from core.types import Doubles
from learner.windows import Cell, Reading, Window

USUAL = 0.25  # the index above which a population is commonly called another one
_BINS = 10
_CATEGORIES = 20  # of which the rarest go together
_FEWEST = 20
_MISSING = "(missing)"


def compare(reference: Window, current: Window, level: float) -> Reading | None:
    """The column with the largest index over its limit, the level shared among columns (Bonferroni)."""
    names = [name for name in reference.columns if name in current.columns]
    readings = []
    for name in names:
        before, now = reference.columns[name], current.columns[name]
        if min(len(before), len(now)) >= _FEWEST:
            readings.append(_column(name, before, now, level / len(names)))
    return max(readings, key=lambda reading: reading.value, default=None)


def examples(rng: np.random.Generator) -> tuple[Window, Window, Window]:
    """A number and a category, and the number shifted."""
    windows = []
    for shift in (0.0, 0.0, 1.5):
        numbers = tuple((rng.normal(size=300) + shift).tolist())
        windows.append(Window(columns={"age": numbers, "sex": tuple(rng.choice(["f", "m"], 300).tolist())}))
    return windows[0], windows[1], windows[2]


def _column(name: str, before: Sequence[Cell], now: Sequence[Cell], level: float) -> Reading:
    shares_B, now_B = _shares(before, now)
    index = float(np.sum((now_B - shares_B) * np.log(now_B / shares_B)))
    chance = float(chi2.isf(level, max(1, len(shares_B) - 1))) * (1 / len(before) + 1 / len(now))
    words = f"column {name[:60]!r} moved: {_told(before)} before, {_told(now)} now (stability index {index:.2f})"
    return Reading(value=index / max(USUAL, chance), words=words)


def _shares(before: Sequence[Cell], now: Sequence[Cell]) -> tuple[Doubles, Doubles]:
    """Shares of both in common bins, half an input added to each so that none is empty."""
    numbers = [float(cell) for cell in before if _number(cell)]
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, _BINS + 1)[1:-1])) if numbers else np.zeros(0)

    def bin_of(cell: Cell) -> str:
        if cell is None:
            return _MISSING
        return f"bin {np.searchsorted(edges, float(cell))}" if _number(cell) else f"word {cell}"

    counts, news = Counter(map(bin_of, before)), Counter(map(bin_of, now))
    kept = [name for name, _ in (counts + news).most_common(_CATEGORIES)]
    told = [[count[name] for name in kept] + [count.total() - sum(count[n] for n in kept)] for count in (counts, news)]
    table_2B = np.array(told, np.float64)
    table_2B = table_2B[:, table_2B.sum(axis=0) > 0] + 0.5
    shares_2B = table_2B / table_2B.sum(axis=1, keepdims=True)
    return shares_2B[0], shares_2B[1]


def _number(cell: Cell) -> TypeGuard[float]:
    return isinstance(cell, int | float) and not isinstance(cell, bool)


def _told(cells: Sequence[Cell]) -> str:
    numbers = [float(cell) for cell in cells if _number(cell)]
    if 2 * len(numbers) >= len(cells):
        return f"median {np.median(numbers):.4g}"
    name, count = Counter(_MISSING if cell is None else str(cell) for cell in cells).most_common(1)[0]
    return f"{100 * count / len(cells):.0f} % {name[:30]!r}"
