"""How far answers miss that a head gives without the row itself, and how far they do as a rule.

A class is missed by 0 or 1, a value by how far its answer is off, on the scale of the grid. The *usual miss* of values
is a robust standard deviation: 1.4826 medians, or three quarters of the root mean square where that is more. The
median, because wrong labels hardly move it; the root mean square, because where most values are one and the same
(counts, mostly 0) the median is next to nothing, and whatever is learned would be a miss.

Knows nothing of where heads come from.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.head import HeadState
from core.statistics import from_grid
from core.types import Doubles, Head

MEDIANS = 1.4826  # in a standard deviation of a normal miss
LEAST_OF_SQUARE = 0.75


def missed(state: HeadState, head: Head, examples: Sequence[str]) -> dict[str, float]:
    """Example → by how much ``head``, which ``state`` solved, misses what stands for it, had it not seen it."""
    if not examples:
        return {}
    told_NK, rows = state.answered(examples, head), [state.rows[example] for example in examples]
    if state.task == "regression":
        misses_N = np.abs(told_NK[:, 0] - from_grid(np.array([row.target for row in rows], np.int16)))
        return dict(zip(examples, misses_N.tolist(), strict=True))
    told = zip(rows, told_NK.argmax(axis=1), strict=True)
    return {row.example: float(head.labels[k] != row.column) for row, k in told}


def usual(misses_N: Doubles) -> float:
    """The usual miss of values; 0 without any.

    >>> usual(np.array([1.0, 1.0, 2.0, 3.0, 3.0])), usual(np.array([0.0, 0.0, 0.0, 4.0]))
    (2.9652, 1.5)
    """
    if not len(misses_N):
        return 0.0
    square = float(np.sqrt(np.square(misses_N).mean()))
    return max(MEDIANS * float(np.median(np.abs(misses_N))), LEAST_OF_SQUARE * square)
