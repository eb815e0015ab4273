"""Confidence: whether answers are as sure as they were (two samples of Kolmogorov and Smirnov).

When to use: always with classifiers; a model that meets what it does not know is less sure. Limit: a model can be
surely wrong, and learning makes it surer. Reference: Hendrycks and Gimpel, "A baseline for detecting misclassified and
out-of-distribution examples" (arXiv 1610.02136).

>>> reference, same, moved = examples(np.random.default_rng(0))
>>> compare(reference, same, 0.001).drifted, compare(reference, moved, 0.001).drifted
(False, True)
"""

from __future__ import annotations

import numpy as np
from scipy.stats import ks_2samp

from learner.windows import Reading, Window, by_p

_FEWEST = 20


def compare(reference: Window, current: Window, level: float) -> Reading | None:
    """The mean confidence before and now is told."""
    before_N, now_N = reference.confidence_N, current.confidence_N
    if min(len(before_N), len(now_N)) < _FEWEST or not reference.labels:
        return None
    words = f"confidence moved: its mean went from {100 * before_N.mean():.0f} % to {100 * now_N.mean():.0f} %"
    return by_p(float(ks_2samp(before_N, now_N, method="asymp").pvalue), level, words)


def examples(rng: np.random.Generator) -> tuple[Window, Window, Window]:
    """Sure answers, and unsure ones."""
    drawn = (rng.beta(8, 2, 200), rng.beta(8, 2, 200), rng.beta(4, 4, 200))
    before, same, moved = (Window(confidence_N=sure_N, labels=("a",) * len(sure_N)) for sure_N in drawn)
    return before, same, moved
