"""Which nodes of a model stay in float: those that harm its features most when they alone are lowered.

Promises that nothing is kept where lowering everything is good enough, and that what is kept was measured to be worth
it: candidates are ranked by the harm each does alone, and the worst are kept, twice as many each time, until the rest
is good enough or a quarter of them (or three) is kept. Knows nothing of precisions, graphs or rows.

>>> harm = {"a": 0.0, "b": 0.3, "c": 0.01, "d": 0.0}
>>> likeness = lambda kept: 1 - sum(each for name, each in harm.items() if name not in kept)
>>> choose(list(harm), likeness, 0.95, lambda done, total: None)
Choice(kept=frozenset({'b'}), likeness=0.99)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

MOST_TRIALS = 64  # runs of neighbours are tried together where there are more candidates
MOST_KEPT = 0.25  # of them: beyond it, lowering the rest is hardly worth another set of features
FEW = 3  # that may stay where candidates are few; never all


@dataclass(frozen=True)
class Choice:
    """What stays in float, and how like the original the features then are (1: the same)."""

    kept: frozenset[str]
    likeness: float


def choose(
    candidates: Sequence[str],
    likeness: Callable[[frozenset[str]], float],
    wanted: float,
    progress: Callable[[int, int], None],
) -> Choice:
    """Keep as few candidates as the likeness that is wanted allows.

    Args:
        candidates: in the order of the graph.
        likeness: of the model in which all candidates but those given are lowered.
        progress: called with (done, total) trials, where there are any.
    """
    everything = frozenset(candidates)
    best = Choice(frozenset(), likeness(frozenset()))
    if best.likeness >= wanted or len(candidates) < 2:
        return best
    groups = _groups(candidates)
    alone = []
    for place, group in enumerate(groups):
        progress(place, len(groups))
        alone.append(likeness(everything - group))
    worst = sorted(range(len(groups)), key=lambda place: (alone[place], place))
    most = max(int(MOST_KEPT * len(groups)), min(FEW, len(groups) - 1))
    count = 1
    while best.likeness < wanted and count <= most:
        kept = frozenset[str]().union(*(groups[place] for place in worst[:count]))
        best = max(best, Choice(kept, likeness(kept)), key=lambda choice: choice.likeness)
        count = 2 * count if 2 * count <= most or count == most else most
    return best


def _groups(candidates: Sequence[str]) -> list[frozenset[str]]:
    size = -(-len(candidates) // MOST_TRIALS)
    return [frozenset(candidates[start : start + size]) for start in range(0, len(candidates), size)]
