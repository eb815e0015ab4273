"""Whether a champion's live accuracy has fallen below a bound of its scene: a test that may be asked after every label.

Two bounds (``[retrain]``, ``lepton policy``), each of every task. ``least_accuracy`` is asked for as long as a version
is champion. ``fall`` is the loss that a promotion may bring: against the live accuracy before it, of the version itself
where it was a challenger, else of the one that it replaced. It is asked of the first ``WATCHED`` labelled answers, and
only where the former champion does not watch the new one as a shadow: where it does, pairs tell a worse version from a
scene that has become harder (``learner.referee``), which an accuracy alone cannot.

Of a regression an answer is right that misses by at most twice what was usual before the promotion (``core.right``): a
number that those answers fix, and none that is judged. No share of such answers is good or bad in itself, so
``least_accuracy`` is asked of classifications alone.

Promises for either bound that where no task ever was below it, one is called so with a chance of at most ``[challenge]
alpha`` in all, however often it is looked at (of ``least_accuracy`` for each ``core.outcomes.MOST`` labelled answers):
the tasks of which a bound is asked share alpha alike. Of what a queue has offered to be labelled only what it drew by
lot counts: what it chose is doubtful, which would look like a fall. A champion that came by a rollback has no bound, so
that two versions never take turns. Knows nothing of what is done about it.

``evidence_below`` bets on every chance to be right below the bound alike, anew from every ``EVERY``-th answer on, so
that a long good time before does not hide a fall: a mixture of e-processes, itself one (Shin, Ramdas and Rinaldo,
"E-detectors", arXiv 2203.03532; Ville's inequality, as in ``core.gate.evidence``).

Legend: N labelled answers, in the order of their first labels.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal, cast

import numpy as np
from scipy.special import betainc, betaln, xlog1py, xlogy

from core.errors import BadConfiguration, NotFound
from core.home import Home
from core.outcomes import MOST, Answered, answered, share
from core.registry import Alias
from core.right import near, right
from core.types import Flags, Scene

SOONEST, WATCHED = 20, 500  # labelled answers after a promotion: mistakes are often told first
LEAST, NEWEST = 50, 200  # labelled answers that tell an accuracy before it, at least and at most
EVERY = 50
_CHOSEN = 1.0  # the chance with which a queue offers what it does not draw
_HIGHEST = 700.0  # of what is raised to e

Name = Literal["least_accuracy", "fall"]
Detail = Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class Floor:
    """So large a share of a task's answers has to be right; ``within``: as ``core.right`` takes it."""

    name: Name
    least: float
    within: float | None = None


@dataclass(frozen=True, kw_only=True)
class Bound(Floor):
    """One bound, and how the champion stands against it.

    Attributes:
        task: its name; empty where the scene has one.
        right, count: of labelled answers since the promotion.
        evidence: that the share of right ones is below, or has been for a while; ``convinces``: from there on it is.
        former: the version that would come back. generation: of the champion that was looked at.
    """

    task: str
    right: int
    count: int
    evidence: float
    convinces: float
    former: str
    generation: int

    @property
    def fallen(self) -> bool:
        """Whether the evidence convinces, by enough labelled answers."""
        return self.count >= SOONEST and self.evidence >= self.convinces

    @property
    def words(self) -> str:
        """A sentence."""
        task = f"task {self.task}: " if self.task else ""
        near_it = "" if self.within is None else f" (within {self.within:.3g}, twice the usual miss before it)"
        return (
            f"{task}{self.right} of {self.count} labelled answers since the promotion are right{near_it}, "
            f"of {100 * self.least:.1f} % at least ({self.name}): evidence {self.evidence:.3g} that it is less, "
            f"and {self.convinces:.3g} convinces"
        )


def evidence_below(right_N: Flags, least: float) -> float:
    """E-value for a chance to be right that is, or has become, less than ``least`` (above 0, below 1).

    >>> told = np.array([True] * 200 + [False] * 20)
    >>> evidence_below(told[:200], 0.8) < 1, evidence_below(told, 0.8) > 1000
    (True, True)
    """
    begun = range(0, len(right_N), EVERY)
    share_J = 6 / (math.pi * np.arange(1, len(begun) + 1)) ** 2  # of the bets that begin so late; all of them sum to 1
    right_J = np.array([np.count_nonzero(right_N[start:]) for start in begun], np.float64)
    wrong_J = np.array([len(right_N) - start for start in begun], np.float64) - right_J
    below_J = betainc(right_J + 1, wrong_J + 1, least)
    with np.errstate(divide="ignore"):
        told_J = np.log(below_J) + betaln(right_J + 1, wrong_J + 1) - math.log(least)
    told_J -= xlogy(right_J, least) + xlog1py(wrong_J, -least)
    return float(1 - share_J.sum() + share_J @ np.exp(np.minimum(told_J, _HIGHEST)))


def bounds(home: Home, name: str) -> tuple[Bound, ...]:
    """What the champion of a scene must not fall below just now; nothing where there is no version to go back to."""
    scene, alias = home.registry.scene(name), home.registry.champion(name)
    if alias is None:
        return ()
    former, watched = _since(home, name, alias)
    if not former:
        return ()
    asked = [(task, floor) for task in scene.tasks for floor in _floors(home, task, alias, former, watched)]
    tasks = Counter(floor.name for _, floor in asked)
    return tuple(
        _bound(home, task, floor, alias, former, tasks[floor.name] / home.settings.challenge.alpha)
        for task, floor in asked
    )


def check_bounds(scene: Scene, changes: Mapping[str, object]) -> None:
    """Whether a policy's bounds can be asked of a scene.

    Raises:
        BadConfiguration: they cannot.
    """
    if changes.get("least_accuracy") and all(task.task == "regression" for task in scene.tasks):
        raise BadConfiguration(
            f"retrain.least_accuracy is {changes['least_accuracy']!r}, but scene {scene.name!r} has values alone, and "
            "none of them is right or wrong in itself",
            "leave it at 0; fall bounds how many more of its answers may miss by more than twice the usual",
        )


def _since(home: Home, name: str, alias: Alias) -> tuple[str, bool]:
    """The version before a champion that was promoted, where it may come back; and whether one has watched it since."""
    rows = [row for row in home.registry.history(name) if cast("float", row["at"]) >= alias.updated_at]
    promoted = any(row["action"] == "promote" and row["generation"] == alias.generation for row in rows)
    try:
        former = home.registry.previous_champion(name) if promoted else ""
    except NotFound:
        former = ""
    watched = any(row["action"] == "challenge" and cast("Detail", row["detail"]).get("probation") for row in rows)
    return "" if former in home.certificates.tainted(name) else former, watched


def _floors(home: Home, task: Scene, alias: Alias, former: str, watched: bool) -> list[Floor]:
    """What is asked of one task."""
    policy, found = home.policies.of(task.name), list[Floor]()
    if policy.least_accuracy and task.task == "classification":
        found.append(Floor(name="least_accuracy", least=policy.least_accuracy))
    before = _before(home, task, alias, former) if policy.fall < 1 and not watched else []
    if before:
        within = near(before) if task.task == "regression" else None
        low = share(int(right(before, within).sum()), len(before)).low
        if low is not None and low > policy.fall:
            found.append(Floor(name="fall", least=low - policy.fall, within=within))
    return found


def _before(home: Home, task: Scene, alias: Alias, former: str) -> list[Answered]:
    """The newest labelled answers before the promotion that tell how it was; none where too little was labelled."""
    for version in (alias.version, former):
        rows = _rows(home, task, version, NEWEST, until=alias.updated_at)
        if len(rows) >= LEAST:
            return rows
    return []


def _bound(home: Home, task: Scene, floor: Floor, alias: Alias, former: str, convinces: float) -> Bound:
    if floor.name == "fall":
        rows = _rows(home, task, alias.version, WATCHED, since=alias.updated_at, oldest=True)
    else:
        rows = _rows(home, task, alias.version, since=alias.updated_at)
    right_N = right(rows, floor.within)
    return Bound(
        **asdict(floor),
        task=task.task_name,
        right=int(right_N.sum()),
        count=len(rows),
        evidence=evidence_below(right_N, floor.least),
        convinces=convinces,
        former=former,
        generation=alias.generation,
    )


def _rows(
    home: Home,
    task: Scene,
    version: str,
    count: int = MOST,
    *,
    since: float = 0.0,
    until: float = math.inf,
    oldest: bool = False,
) -> list[Answered]:
    """Labelled answers of a version that no queue has offered, or that it drew by lot: the newest, or the oldest."""
    name, rows = task.task_name, list[Answered]()
    for most in sorted({min(2 * count, MOST), MOST}):  # a few are mostly enough, and cheap to read
        told = answered(home, task.name, version, most, task=name or None, since=since, until=until, oldest=oldest)
        chances = home.offers.chances(task.name, name, [row.example for row in told])
        rows = [row for row in told if chances.get(row.example) != _CHOSEN]
        if len(rows) >= count:
            break
    return rows[:count] if oldest else rows[-count:]
