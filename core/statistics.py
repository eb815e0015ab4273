"""Sufficient statistics of the head: exact sums over features on a 16-bit grid.

Promises that adding, subtracting and merging are exact, whatever the order: features are multiples of 2**-15 with
magnitude below 1, targets likewise, weights are whole numbers, so every partial sum is a multiple of 2**-30 that
float64 holds without rounding, up to 2**23 units of weight (refused beyond). Knows nothing of solving.

A name is a row that stands for a class without being an example of it. Its constant is 0: it says nothing of how
frequent its class is. And it says no more than roughly where examples may be: it counts as spread around its place, as
far in every direction, the constant's included (the mean of φφᵀ of such a row is φφᵀ + spread · I). So while names are
all that stands the head is the nearest name; the intercept and finer directions come with the examples.

Legend: N examples, D features, E = D + 1 (the features extended by a constant 1, which carries the intercept).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.linalg.blas import dsyrk

from core.errors import CapacityReached
from core.types import Doubles, Flags, Floats, GridRows

GRID = 2**15
LARGEST = GRID - 1
MAX_UNITS = 2**23
VALUE = "value"  # the one column of a regression head
CHUNK = 4096
SPREAD = 0.25  # of a name, in the square of a feature; a power of two


def to_grid(features: Floats | Doubles) -> GridRows:
    """Values in [-1, 1] to the nearest step of 2**-15 as int16; ties to even, clipped to ±32767."""
    return np.clip(np.rint(np.asarray(features, np.float64) * GRID), -LARGEST, LARGEST).astype(np.int16)


def from_grid(rows: GridRows) -> Doubles:
    """Grid rows of any shape to float64, exactly."""
    return rows.astype(np.float64) / GRID


def extend(rows_ND: GridRows, named_N: Flags) -> Doubles:
    """(N, D) grid rows to (N, D + 1) float64 with a last column of ones, and zeros for names."""
    extended_NE = np.empty((rows_ND.shape[0], rows_ND.shape[1] + 1))
    extended_NE[:, :-1] = from_grid(rows_ND)
    extended_NE[:, -1] = ~named_N
    return extended_NE


@dataclass
class Statistics:
    """G = Σ w φφᵀ, Q = Σ w φ yᵀ, Σ w y², counts and total weight of weighted examples, φ extended by 1.

    Attributes:
        width: D.
        gram: (E, E) float64 in Fortran order; only its lower triangle is kept, the upper one stays zero.
        cross: column name → (E,) float64; a class (y = 1), or ``"value"`` for regression.
        square: column name → Σ w y².
        counts: column name → number of examples, unweighted.
        units: total weight, in which a name counts twice, since its spread is summed, too.
    """

    width: int
    gram: Doubles = field(init=False, repr=False)
    cross: dict[str, Doubles] = field(init=False, repr=False, default_factory=dict)
    square: dict[str, float] = field(init=False, default_factory=dict)
    counts: dict[str, int] = field(init=False, default_factory=dict)
    units: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self.gram = np.zeros((self.width + 1, self.width + 1), order="F")

    def add(
        self,
        rows_ND: GridRows,
        columns: Sequence[str],
        targets_N: GridRows | None,
        weights: Sequence[int],
        named: Sequence[bool] | None = None,
    ) -> None:
        """Add N examples.

        Args:
            rows_ND: (N, D) int16 features on the grid.
            columns: N column names.
            targets_N: (N,) int16 regression targets on the grid; None for classes, where y is 1.
            weights: N whole numbers, at least 1.
            named: which of them are names; none if None.
        """
        self._apply(rows_ND, columns, targets_N, weights, named, +1)

    def subtract(
        self,
        rows_ND: GridRows,
        columns: Sequence[str],
        targets_N: GridRows | None,
        weights: Sequence[int],
        named: Sequence[bool] | None = None,
    ) -> None:
        """Undo :meth:`add` of the same examples, to the last bit."""
        self._apply(rows_ND, columns, targets_N, weights, named, -1)

    def merge(self, other: Statistics) -> None:
        """Add another site's sums: the result is that of the pooled examples (federation without an example)."""
        assert self.width == other.width, "statistics of one extractor have one width"
        self.gram += other.gram
        self._count(other.units)
        for column, cross_E in other.cross.items():
            self._column(column, cross_E, other.square[column], other.counts[column])

    def arrays(self) -> Mapping[str, Doubles]:
        """Every sum as an array, for comparing and for writing: ``gram`` and, by column, ``cross`` and the rest."""
        columns = sorted(self.cross)
        return {
            "gram": self.gram,
            "cross": np.stack([self.cross[c] for c in columns]) if columns else np.zeros((0, self.width + 1)),
            "square": np.array([self.square[c] for c in columns]),
            "counts": np.array([self.counts[c] for c in columns], np.float64),
        }

    def _apply(
        self,
        rows_ND: GridRows,
        columns: Sequence[str],
        targets_N: GridRows | None,
        weights: Sequence[int],
        named: Sequence[bool] | None,
        sign: int,
    ) -> None:
        weights_N = np.asarray(weights, np.int64)
        if weights_N.size == 0:
            return
        assert weights_N.min() >= 1, "weights are whole numbers, at least 1"
        named_N = np.zeros(len(weights_N), np.bool_) if named is None else np.asarray(named, np.bool_)
        names = int(weights_N[named_N].sum())
        self._count(sign * (int(weights_N.sum()) + names))
        places = np.arange(self.width + 1)
        self.gram[places, places] += sign * SPREAD * names
        values_N = np.ones(len(weights_N)) if targets_N is None else from_grid(targets_N)
        columns_N = np.asarray(columns, object)
        for start in range(0, len(weights_N), CHUNK):
            part = slice(start, start + CHUNK)
            self._chunk(extend(rows_ND[part], named_N[part]), columns_N[part], values_N[part], weights_N[part], sign)

    def _chunk(
        self,
        extended_NE: Doubles,
        columns_N: np.ndarray[tuple[int], np.dtype[np.object_]],
        values_N: Doubles,
        weights_N: np.ndarray[tuple[int], np.dtype[np.int64]],
        sign: int,
    ) -> None:
        for weight in np.unique(weights_N):
            part_EN = extended_NE[weights_N == weight].T
            self.gram = dsyrk(float(sign * weight), part_EN, beta=1.0, c=self.gram, lower=1, overwrite_c=1)
        for column in sorted(set(columns_N)):
            mine = columns_N == column
            weighted_N = weights_N[mine] * values_N[mine]
            cross_E = sign * (weighted_N @ extended_NE[mine])
            self._column(column, cross_E, sign * float(weighted_N @ values_N[mine]), sign * int(mine.sum()))

    def _column(self, column: str, cross_E: Doubles, square: float, count: int) -> None:
        self.cross[column] = self.cross.get(column, np.zeros(self.width + 1)) + cross_E
        self.square[column] = self.square.get(column, 0.0) + square
        self.counts[column] = self.counts.get(column, 0) + count
        assert self.counts[column] >= 0, f"more examples of {column!r} were subtracted than added"
        if self.counts[column] == 0:
            assert not self.cross[column].any(), f"what was subtracted from {column!r} is not what was added"
            del self.cross[column], self.square[column], self.counts[column]

    def _count(self, units: int) -> None:
        self.units += units
        assert self.units >= 0, "more weight was subtracted than added"
        if self.units > MAX_UNITS:
            raise CapacityReached(
                f"the labels that stand weigh {self.units}, more than the {MAX_UNITS} up to which sums are exact",
                "lower the weights in [labels], or withdraw or erase what is old",
            )
