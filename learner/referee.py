"""Challenges that evidence judges: promoted, rolled back or ended as soon as labelled answers show who is better.

Promises that a challenger which is no better is promoted with a chance of at most ``[challenge] alpha``, however often
it is looked at (e-values, see ``core.gate.evidence``), and that what was decided stands in the audit with its numbers.
After a promotion the former champion goes on as a shadow for a probation: where evidence speaks for it, it comes back.
It does, too, where live accuracy has fallen below a bound of the scene (``core.fall``). A challenge of several tasks is
decided by the first one, unless the newcomer is worse in another: that is enough against it. A shadow that is better,
but may have lost more than the gate's margin in a class, waits for more labels; so does one whose evidence is of the
gate, until live traffic has confirmed it.
Knows nothing of how versions are made, nor of challenges that people judge.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from core.challenges import Challenge
from core.fall import Bound
from core.gate import Policy, not_worse
from core.home import Home
from core.outcomes import Comparison, brought, compare_all, outcomes
from core.paired import Outcomes, joined
from core.promotion import promote, watch_over
from core.registry import short

CONFIRMED = 50  # labelled answers of a shadow, at least, that has brought evidence along

logger = logging.getLogger(__name__)

Verdict = Literal["promote", "end", "wait", "rollback"]


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """What was decided of a challenge, or of a champion, and why; ``version`` is the challenger, or who comes back."""

    scene: str
    version: str
    verdict: Verdict
    words: str


def verdict(challenge: Challenge, told: Comparison, alpha: float, probation_labels: int) -> tuple[Verdict, str]:
    """What the labelled answers so far amount to; of a probation, ``promote`` brings the former champion back."""
    numbers = f"right alone: the challenger {told.wins} times, the champion {told.losses} times"
    if any(told.brought):
        numbers += ", and {} and {} times on fresh labels that the gate saw".format(*told.brought)
    if told.evidence["champion"] >= 1 / alpha:
        return "end", f"evidence {told.evidence['champion']:.3g} speaks for the champion; {numbers}"
    if told.evidence["challenger"] >= 1 / alpha:
        return "promote", f"evidence {told.evidence['challenger']:.3g} speaks for the challenger; {numbers}"
    if challenge.probation and told.paired >= probation_labels:
        return "end", f"the probation is over after {told.paired} labelled answers of both; {numbers}"
    return "wait", numbers


def overall(
    challenge: Challenge, told: Mapping[str, Comparison], alpha: float, probation_labels: int
) -> tuple[Verdict, str]:
    """What ``verdict`` says of the first task, unless the newcomer, who in a probation is the champion, is worse in
    another."""
    first, *others = told
    known: Literal["challenger", "champion"] = "challenger" if challenge.probation else "champion"
    for name in others:
        if told[name].evidence[known] >= 1 / alpha:
            words = f"evidence {told[name].evidence[known]:.3g} speaks for the {known} in task {name}"
            return "promote" if challenge.probation else "end", words
    return verdict(challenge, told[first], alpha, probation_labels)


def judge(home: Home, challenge: Challenge) -> Ruling:
    """Look at a challenge that evidence judges, and do what it says."""
    champion = home.registry.champion(challenge.scene)
    if champion is None or challenge.judge != "evidence":
        return Ruling(scene=challenge.scene, version=challenge.version, verdict="wait", words="people judge it")
    asked, told = home.settings.challenge, compare_all(home, challenge, champion.version)
    said, words = overall(challenge, told, asked.alpha, asked.probation_labels)
    if said == "promote" and not challenge.probation:
        first = next(iter(told.values()))
        lacking = _few(first) or _losses(home, challenge, champion.version)
        said, words = ("wait", f"{words}; {lacking}") if lacking else (said, words)
    if said == "end":
        home.challenges.end(challenge.scene, words)
    elif said == "promote":
        action = "rollback" if challenge.probation else "promote"
        promote(
            home, challenge.scene, challenge.version, expected_generation=champion.generation, action=action, why=words
        )
        if not challenge.probation and (why := watch_over(home, challenge.scene, champion.version)):
            logger.warning("scene %s: no probation of the new champion: %s", challenge.scene, why)
    if said != "wait":
        logger.warning("scene %s, challenger %s: %s: %s", challenge.scene, challenge.version[:12], said, words)
    return Ruling(scene=challenge.scene, version=challenge.version, verdict=said, words=words)


def _few(told: Comparison) -> str:
    """Why a shadow waits for live labels though it brought evidence along, in words."""
    if not any(told.brought) or told.paired >= CONFIRMED:
        return ""
    return f"{told.paired} labelled answers of both, of {CONFIRMED} at least"


def _losses(home: Home, challenge: Challenge, champion: str) -> str:
    """In what part of the labelled answers of both, those that the gate saw among them, a shadow may be worse by more
    than the gate allows, in words."""
    policy = Policy(margin=home.policies.of(challenge.scene).margin)
    scene = home.registry.scene(challenge.scene)
    rows = [row for row in outcomes(home, challenge, champion) if None not in {row.champion, row.challenger}]
    if challenge.mode != "shadow" or scene.task != "classification" or len(rows) < policy.least:
        return ""
    both = Outcomes(
        truth=[str(row.truth) for row in rows],
        champion=np.array([row.champion == row.truth for row in rows]),
        candidate=np.array([row.challenger == row.truth for row in rows]),
    )
    both = joined(both, brought(home, challenge, champion))
    checks = not_worse("live", both, policy, np.random.default_rng(0))
    return "; ".join(check.words for check in checks if not check.holds)


def guard(home: Home, scene: str, asked: Sequence[Bound]) -> Ruling | None:
    """Bring the former champion back where live accuracy has fallen below one of the bounds; None where it stays."""
    broken = next((bound for bound in asked if bound.fallen), None)
    if broken is None:
        return None
    promote(home, scene, broken.former, expected_generation=broken.generation, action="rollback", why=broken.words)
    logger.warning("scene %s: %s comes back: %s", scene, short(broken.former), broken.words)
    return Ruling(scene=scene, version=broken.former, verdict="rollback", words=broken.words)
