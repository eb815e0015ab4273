"""What drift detectors compare, and what they say.

Knows nothing of where predictions lie or of what is done about drift.

Legend: N answered inputs, D features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from core.types import Doubles, GridRows

Cell = str | float | bool | None


@dataclass(frozen=True, kw_only=True)
class Window:
    """Answered inputs in the order in which they came, or labelled answers.

    Attributes:
        features_ND: int16 on the grid. confidence_N: of the answers. labels: the answers, of a classifier.
        values_N: the answers, of a regression. columns: column name → cells, of tables.
        wrong_N: 1 where a labelled answer was wrong, else 0 (for regressions: more wrong than usual); in the order of
            the labels.
    """

    features_ND: GridRows = field(default_factory=lambda: np.zeros((0, 0), np.int16))
    confidence_N: Doubles = field(default_factory=lambda: np.zeros(0))
    labels: tuple[str, ...] = ()
    values_N: Doubles = field(default_factory=lambda: np.zeros(0))
    columns: Mapping[str, tuple[Cell, ...]] = field(default_factory=dict)
    wrong_N: NDArray[np.int8] = field(default_factory=lambda: np.zeros(0, np.int8))


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What one detector says of two windows.

    Attributes:
        value: its statistic over the limit of that: above 1 is drift.
        words: what moved, for a person.
    """

    value: float
    words: str

    @property
    def drifted(self) -> bool:
        """Whether the limit was passed."""
        return self.value > 1.0


def by_p(p: float, level: float, words: str) -> Reading:
    """The reading of a test: log p over log level, so that 1 is where p reaches the level.

    >>> by_p(0.001, 0.001, "").value, by_p(1.0, 0.001, "").value
    (1.0, 0.0)
    """
    smallest = np.finfo(np.float64).tiny
    return Reading(value=float(np.log(max(p, smallest)) / np.log(level)) + 0.0, words=words)
