"""A fusion that could be registered, and the rule by which it is.

The rule: a fusion is taken only where its score on the rows that judge is not below that of the best member alone on
the very same rows. Where the method is left to choose (``auto``), it must also pay for its time: one that answers
slower than the best member has to be more than a point better and told from it by a paired bootstrap.

Knows nothing of how a fusion came about.

Legend: J judged rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from core.bundle import Fusion, Member, Share
from core.types import Doubles
from exporters.parity import Parity
from training import select
from training.assemble import Assembly
from training.merge.members import Given, alone, score

WORTH = 0.01  # of the score, for which a slower answer is taken
METRICS = {"classification": "leave-one-out balanced accuracy", "regression": "leave-one-out R squared"}


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What a method makes of the versions.

    Attributes:
        members: what its graph is made of; empty where the assembly's backbones say it.
        transform: how features are scaled, for the manifest.
        slower: whether it answers slower than the versions it was made of.
        aside: examples that no weight was tuned on, where the method tuned; None: those of the versions.
    """

    assembly: Assembly = field(repr=False)
    parity: Parity
    fusion: Fusion
    members: tuple[Member, ...] = ()
    transform: str
    slower: bool
    aside: frozenset[str] | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether it is registered, and why, in words."""

    accepted: bool
    words: str


def evidence(
    method: str,
    given: Given,
    outcomes_J: Doubles,
    alphas: Sequence[float],
    without: Sequence[float | None],
    tried: dict[str, float],
    chosen: dict[str, float],
) -> Fusion:
    """The fusion beside each member alone, on the same rows; ``without`` is the score of the others, by member."""
    alone_MJ = [alone(given, member) for member in given.members]
    scores = [score(given, alone_J) for alone_J in alone_MJ]
    best = int(np.argmax(scores))
    low, high = select.interval(outcomes_J - alone_MJ[best], given.groups, given.seed)
    return Fusion(
        method=method,
        metric=METRICS[given.task],
        rows=len(outcomes_J),
        score=score(given, outcomes_J),
        best=scores[best],
        low=low,
        high=high,
        members=tuple(
            Share(name=member.name, alpha=alpha, alone=single, without=rest)
            for member, alpha, single, rest in zip(given.members, alphas, scores, without, strict=True)
        ),
        tried=tried,
        chosen=chosen,
    )


def judge(fusion: Fusion, *, slower: bool, pays: bool) -> Verdict:
    """The rule at the top of this module; ``pays`` asks for its second half, too."""
    gain = fusion.score - fusion.best
    words = (
        f"{fusion.method} scores {100 * fusion.score:.1f} % ({fusion.metric}, {fusion.rows} rows), the best member "
        f"alone {100 * fusion.best:.1f} %: {100 * gain:+.1f} points "
        f"({100 * fusion.low:+.1f} to {100 * fusion.high:+.1f})"
    )
    if gain < 0:
        return Verdict(accepted=False, words=words + ", so the member alone stays")
    if pays and slower and (gain <= WORTH or fusion.low <= 0):
        return Verdict(accepted=False, words=words + ", which does not pay for a slower answer")
    return Verdict(accepted=True, words=words)
