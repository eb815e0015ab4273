"""Errors on labelled traffic: adaptive windowing over the stream of right and wrong answers.

When to use: where labels come back; it is the only detector that sees the truth move. Limit: labels that are asked for
because the model is unsure show more errors than there are; it sees what is labelled. Only a rise is drift.
Reference: Bifet and Gavaldà, "Learning from time-changing data with adaptive windowing" (2007); the implementation is
river's.

>>> reference, same, moved = examples(np.random.default_rng(0))
>>> compare(reference, same, 0.001).drifted, compare(reference, moved, 0.001).drifted
(False, True)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from learner.windows import Reading, Window

_FEWEST = 10


def compare(reference: Window, current: Window, level: float) -> Reading | None:
    """Whether the window adapts, upwards, while ``current`` follows ``reference``."""
    from river import drift  # brings pandas and scikit-learn where they are; not at the start of the learner

    before_N, now_N = reference.wrong_N, current.wrong_N
    if len(before_N) < _FEWEST or len(now_N) == 0:
        return None
    detector: Any = drift.ADWIN(delta=level, clock=1)  # type: ignore[no-untyped-call]
    for wrong in before_N.tolist():
        detector.update(wrong)
    rose = False
    for wrong in now_N.tolist():
        mean = detector.estimation
        detector.update(wrong)
        rose = rose or (detector.drift_detected and detector.estimation > mean)
    words = f"errors rose: {100 * before_N.mean():.0f} % of labelled answers were wrong, now {100 * now_N.mean():.0f} %"
    return Reading(value=_value(before_N, now_N, rose), words=words)


def examples(rng: np.random.Generator) -> tuple[Window, Window, Window]:
    """A tenth wrong, and half wrong."""
    shares = ((400, 0.1), (200, 0.1), (200, 0.5))
    before, same, moved = (Window(wrong_N=(rng.random(n) < p).astype(np.int8)) for n, p in shares)
    return before, same, moved


def _value(
    before_N: np.ndarray[tuple[int, ...], np.dtype[np.int8]],
    now_N: np.ndarray[tuple[int, ...], np.dtype[np.int8]],
    rose: bool,
) -> float:
    """Above 1 where the window adapted; below, how far the rate rose towards twice what it was, as an indication."""
    before, now = (before_N.sum() + 1) / (len(before_N) + 2), (now_N.sum() + 1) / (len(now_N) + 2)
    ratio = max(0.0, float(now / before) - 1.0)
    return 1.0 + ratio if rose else min(1.0, ratio)
