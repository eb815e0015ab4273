"""Inputs: Kolmogorov-Smirnov tests on seeded random directions of the features.

When to use: always; it needs no labels and sees changes of light, device or wording before accuracy falls. Limit: a
change that leaves features alone (the same pictures, other truths) is not seen; with thousands of inputs a window even
harmless changes are. Reference: Lopes, Reid and Hobson, "The two-dimensional Kolmogorov-Smirnov test" (2007); random
directions after Rabanser, Günnemann and Lipton, "Failing loudly" (arXiv 1810.11953).

>>> reference, same, moved = examples(np.random.default_rng(0))
>>> compare(reference, same, 0.001).drifted, compare(reference, moved, 0.001).drifted
(False, True)
"""

from __future__ import annotations

import numpy as np
from scipy.stats import ks_2samp

from core.statistics import from_grid, to_grid
from core.types import Doubles
from learner.windows import Reading, Window, by_p

DIRECTIONS = 16
_SEED = 20211
_FEWEST = 20


def compare(reference: Window, current: Window, level: float) -> Reading | None:
    """The direction that moved most, its p-value multiplied by the number of directions (Bonferroni)."""
    before_ND, now_ND = reference.features_ND, current.features_ND
    if min(len(before_ND), len(now_ND)) < _FEWEST or before_ND.shape[1] != now_ND.shape[1]:
        return None
    directions_DJ = _directions(before_ND.shape[1])
    before_NJ, now_NJ = from_grid(before_ND) @ directions_DJ, from_grid(now_ND) @ directions_DJ
    tests = [ks_2samp(before_NJ[:, j], now_NJ[:, j], method="asymp") for j in range(directions_DJ.shape[1])]
    j = int(np.argmin([test.pvalue for test in tests]))
    share = float(np.mean(before_NJ[:, j] <= np.median(now_NJ[:, j])))
    words = f"inputs moved: half of the new ones lie beyond {100 * max(share, 1 - share):.0f} % of the old ones"
    return by_p(min(1.0, len(tests) * float(tests[j].pvalue)), level, words)


def examples(rng: np.random.Generator) -> tuple[Window, Window, Window]:
    """Features around nought, and such that are shifted along one of them."""
    spread = rng.normal(0, 0.1, (3, 200, 8))
    spread[2, :, 0] += 0.2
    before, same, moved = (Window(features_ND=to_grid(rows)) for rows in spread)
    return before, same, moved


def _directions(width: int) -> Doubles:
    """(D, J) unit vectors, always the same."""
    drawn_DJ = np.random.default_rng(_SEED).normal(size=(width, min(DIRECTIONS, width)))
    return np.asarray(drawn_DJ / np.linalg.norm(drawn_DJ, axis=0))
