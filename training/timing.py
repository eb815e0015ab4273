"""How long a call takes on a machine that does other work, too.

Promises the time of an undisturbed turn, as long as one of ``PATIENCE`` turns in a row is undisturbed, to a hundredth.
Several calls take turns, so that what is slow for a while is slow for all. Knows nothing of models.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

WARM = 3  # turns that do not count
PATIENCE, MOST = 20, 300  # turns in a row that bring nothing quicker, and turns at the most
QUICKER = 0.99  # of the quickest turn so far: less is no news


def quickest(asked: Sequence[Callable[[], object]], clock: Callable[[], float] = time.perf_counter) -> list[float]:
    """Seconds of each call: the quickest of turns that go on until they bring no quicker one.

    >>> [seconds < 1 for seconds in quickest([lambda: sum(range(9)), dict])]
    [True, True]
    """
    for _ in range(WARM):
        for ask in asked:
            ask()
    best, vain = [float("inf")] * len(asked), 0
    for _ in range(MOST):
        news = False
        for place, ask in enumerate(asked):
            begun = clock()
            ask()
            took = clock() - begun
            news |= took < QUICKER * best[place]
            best[place] = min(best[place], took)
        vain = 0 if news else vain + 1
        if vain == PATIENCE:
            break
    return best
