"""Which labelled answers were right: those that say what stands, or, of a regression, come near it.

Near is a miss of at most twice the usual one, the median of some answers: what is near for a scene only its own answers
tell. Knows nothing of who asks, nor of what follows from it.

Legend: N labelled answers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.outcomes import Answered
from core.types import Doubles, Flags

TIMES_USUAL = 2.0


def near(rows: Sequence[Answered]) -> float:
    """The largest miss of a regression that is near, by these answers; 0 where there are none."""
    return TIMES_USUAL * float(np.median(_misses(rows))) if rows else 0.0


def right(rows: Sequence[Answered], within: float | None = None) -> Flags:
    """(N,) which of the answers were right; of a regression, those that miss by ``within`` at most.

    >>> rows = [Answered(example="", at=0.0, said=said, truth=2.0) for said in (2.0, 2.5, 1.0, 9.0)]
    >>> near(rows), right(rows, near(rows)).tolist()
    (1.5, [True, True, True, False])
    """
    if within is None:
        return np.array([row.said == row.truth for row in rows], np.bool_)
    return np.asarray(_misses(rows) <= within, np.bool_)


def _misses(rows: Sequence[Answered]) -> Doubles:
    return np.array([abs(float(row.said) - float(row.truth)) for row in rows], np.float64)
