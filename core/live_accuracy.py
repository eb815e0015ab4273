"""How accurate a version is on its traffic, by labelled answers: the one definition for who shows or watches it.

Promises that answers which were chosen to be labelled because they were doubtful do not pull it down: where enough were
drawn by lot, each counts by the chance that it was offered with (``core/offers.py``); else the newest labelled answers
count alike. Knows nothing of who labels.
"""

from __future__ import annotations

from collections.abc import Sequence

from core.home import Home
from core.offers import weighted_share
from core.outcomes import Answered
from core.types import Scene

LEAST_DRAWN = 10  # labelled answers drawn by lot, from which they tell the live accuracy


def live_accuracy(home: Home, task: Scene, found: Sequence[Answered], newest: int) -> float:
    """The share of right answers among the ``newest`` of those found, of which there is at least one."""
    chances = home.offers.chances(task.name, task.task_name, [each.example for each in found])
    offered = [each for each in found if each.example in chances][-newest:]
    if sum(chances[each.example] < 1.0 for each in offered) >= LEAST_DRAWN:
        right = [each.said == each.truth for each in offered]
        return weighted_share(right, [chances[each.example] for each in offered])
    counted = found[-newest:]
    return sum(each.said == each.truth for each in counted) / len(counted)
