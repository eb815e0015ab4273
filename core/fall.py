"""Whether a champion's live accuracy has fallen below a bound of its scene: a test that may be asked after every label.

Two bounds (``[retrain]``, ``lepton policy``). ``least_accuracy`` is asked for as long as a version is champion.
``fall`` is the loss that a promotion may bring: against the live accuracy before it, of the version itself where it was
a challenger, else of the one that it replaced. It is asked of the first ``WATCHED`` labelled answers, and only where
the former champion does not watch the new one as a shadow: where it does, pairs tell a worse version from a scene that
has become harder (``learner.referee``), which an accuracy alone cannot.

Promises that an accuracy which never was below a bound is called so with a chance of at most ``[challenge] alpha``,
however often it is looked at (of ``least_accuracy`` for each ``core.outcomes.MOST`` labelled answers). Of what a queue
has offered to be labelled only what it drew by lot counts: what it chose is doubtful, which would look like a fall. A
champion that came by a rollback has no bound, so that two versions never take turns. Classification alone, and of
several tasks the first. Knows nothing of what is done about it.

``evidence_below`` bets on every chance to be right below the bound alike, anew from every ``EVERY``-th answer on, so
that a long good time before does not hide a fall: a mixture of e-processes, itself one (Shin, Ramdas and Rinaldo,
"E-detectors", arXiv 2203.03532; Ville's inequality, as in ``core.gate.evidence``).

Legend: N labelled answers, in the order of their first labels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from scipy.special import betainc, betaln, xlog1py, xlogy

from core.errors import NotFound
from core.home import Home
from core.outcomes import Answered, answered, measure
from core.registry import Alias
from core.types import Flags, Scene

SOONEST, WATCHED = 20, 500  # labelled answers after a promotion: mistakes are often told first
LEAST, NEWEST = 50, 200  # labelled answers that tell an accuracy before it, at least and at most
EVERY = 50
_CHOSEN = 1.0  # the chance with which a queue offers what it does not draw
_MOST = 700.0  # of what is raised to e

Name = Literal["least_accuracy", "fall"]
Detail = Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class Bound:
    """One bound, and how the champion stands against it.

    Attributes:
        least: the accuracy. right, count: of labelled answers since the promotion.
        evidence: that the accuracy is below, or has been for a while; ``convinces``: from there on it is.
        former: the version that would come back. generation: of the champion that was looked at.
    """

    name: Name
    least: float
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
        return (
            f"{self.right} of {self.count} labelled answers since the promotion are right, of {100 * self.least:.1f} % "
            f"at least ({self.name}): evidence {self.evidence:.3g} that it is less, and {self.convinces:.3g} convinces"
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
    return float(1 - share_J.sum() + share_J @ np.exp(np.minimum(told_J, _MOST)))


def bounds(home: Home, name: str) -> tuple[Bound, ...]:
    """What the champion of a scene must not fall below just now; nothing where there is no version to go back to."""
    scene, alias = home.registry.scene(name), home.registry.champion(name)
    if alias is None or scene.task != "classification":
        return ()
    former, watched = _since(home, name, alias)
    asked = home.policies.of(name)
    compares = asked.fall < 1 and not watched
    if not former or not (asked.least_accuracy or compares):
        return ()
    rows = _counted(home, scene, answered(home, name, alias.version, since=alias.updated_at))
    found = [_bound(home, "least_accuracy", asked.least_accuracy, rows, former, alias)] if asked.least_accuracy else []
    before = _before(home, scene, alias, former) if compares else None
    if before is not None and before > asked.fall:
        found.append(_bound(home, "fall", before - asked.fall, rows[:WATCHED], former, alias))
    return tuple(found)


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


def _before(home: Home, scene: Scene, alias: Alias, former: str) -> float | None:
    """Live accuracy before the promotion, the lower end of its interval; None where too little was labelled."""
    for version in (alias.version, former):
        rows = _counted(home, scene, answered(home, scene.name, version, until=alias.updated_at))[-NEWEST:]
        if len(rows) >= LEAST:
            return measure(scene.task, [(row.said, row.truth) for row in rows]).low
    return None


def _bound(home: Home, name: Name, least: float, rows: Sequence[Answered], former: str, alias: Alias) -> Bound:
    right_N = np.array([row.said == row.truth for row in rows], np.bool_)
    return Bound(
        name=name,
        least=least,
        right=int(right_N.sum()),
        count=len(rows),
        evidence=evidence_below(right_N, least),
        convinces=1 / home.settings.challenge.alpha,
        former=former,
        generation=alias.generation,
    )


def _counted(home: Home, scene: Scene, rows: Sequence[Answered]) -> list[Answered]:
    """Those that no queue has offered, or that it drew by lot."""
    chances = home.offers.chances(scene.name, scene.task_name, [row.example for row in rows])
    return [row for row in rows if chances.get(row.example) != _CHOSEN]
