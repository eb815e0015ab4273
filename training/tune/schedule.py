"""The learning rate of a step: it rises from nothing, then falls as a cosine (Loshchilov and Hutter, arXiv 1608.03983).

A pure function of the step.
"""

from __future__ import annotations

import math


def factor(step: int, steps: int, warmup: float) -> float:
    """Factor on the rate in step ``step`` of ``steps``, from 0; above 0 everywhere.

    >>> [round(factor(step, 10, 0.2), 2) for step in (0, 1, 2, 6, 9)]
    [0.5, 1.0, 1.0, 0.5, 0.04]
    """
    rising = math.ceil(warmup * steps)
    if step < rising:
        return (step + 1) / rising
    through = (step - rising) / max(1, steps - rising)
    return 0.5 * (1 + math.cos(math.pi * min(through, 1.0)))
