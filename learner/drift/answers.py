"""Answers: whether the mix of predicted classes, or the distribution of predicted values, is still what it was.

When to use: always; it needs no labels. Limit: it cannot tell whether the world or the model moved. A new head changes
answers too: windows across a large change of labels will show it. Reference: the chi-squared test of homogeneity
(Pearson 1900), two samples of Kolmogorov and Smirnov for values.

>>> reference, same, moved = examples(np.random.default_rng(0))
>>> compare(reference, same, 0.001).drifted, compare(reference, moved, 0.001).drifted
(False, True)
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from scipy.stats import chi2_contingency, ks_2samp

from learner.windows import Reading, Window, by_p

_FEWEST = 20
_RARE = 5  # answers of both windows together, below which classes are counted as one


def compare(reference: Window, current: Window, level: float) -> Reading | None:
    """The class whose share moved most is named."""
    if min(len(reference.values_N), len(current.values_N)) >= _FEWEST:
        test = ks_2samp(reference.values_N, current.values_N, method="asymp")
        before, now = float(np.median(reference.values_N)), float(np.median(current.values_N))
        return by_p(float(test.pvalue), level, f"answers moved: their median went from {before:.4g} to {now:.4g}")
    if min(len(reference.labels), len(current.labels)) < _FEWEST:
        return None
    before_by_label, now_by_label = Counter(reference.labels), Counter(current.labels)
    table = _table(before_by_label, now_by_label)
    if table.shape[1] < 2:
        return by_p(1.0, level, "all answers are of one class, as before")
    return by_p(float(chi2_contingency(table, correction=False).pvalue), level, _words(before_by_label, now_by_label))


def examples(rng: np.random.Generator) -> tuple[Window, Window, Window]:
    """Three classes in equal shares, and one of them grown."""
    shares = ([0.34, 0.33, 0.33], [0.34, 0.33, 0.33], [0.7, 0.2, 0.1])
    before, same, moved = (Window(labels=tuple(rng.choice(list("abc"), 200, p=p).tolist())) for p in shares)
    return before, same, moved


def _table(before: Counter[str], now: Counter[str]) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """(2, K) counts; rare classes together in one column."""
    names = sorted(before.keys() | now.keys())
    common = [name for name in names if before[name] + now[name] >= 2 * _RARE]
    columns = [(before[name], now[name]) for name in common]
    rest = (before.total() - sum(c[0] for c in columns), now.total() - sum(c[1] for c in columns))
    columns += [rest] if sum(rest) else []
    return np.array(columns, np.int64).reshape(-1, 2).T


def _words(before: Counter[str], now: Counter[str]) -> str:
    def moved(name: str) -> float:
        return now[name] / now.total() - before[name] / before.total()

    name = max(sorted(before.keys() | now.keys()), key=lambda name: abs(moved(name)))
    shares = f"{100 * before[name] / before.total():.0f} % to {100 * now[name] / now.total():.0f} %"
    return f"answers moved: {name[:60]!r} went from {shares} of them"
