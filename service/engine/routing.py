"""Which snapshot answers a request: the champion's, or for some keys the challenger's; and who else gets a copy.

Promises that the choice depends on scene, key and share alone. Knows nothing of requests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from core.challenges import Challenge
from core.traffic import taken
from core.types import Role
from service.engine.snapshot import Snapshot


@dataclass(frozen=True)
class Routed:
    """How one request is answered.

    Attributes:
        snapshot: what answers.
        role: of that snapshot, for the log.
        shadow: what gets a copy, answering nobody.
        instead: who answers should this one fail: the champion in the place of a challenger, and the champion before in
            the place of one that is on probation.
    """

    snapshot: Snapshot
    role: Role = "champion"
    shadow: Snapshot | None = None
    instead: Snapshot | None = None


@dataclass(frozen=True)
class Fork:
    """The ways that requests of one scene may take: ``usual``, or ``other`` for the keys within ``share``."""

    usual: Routed
    other: Routed | None = None
    share: float = 0.0

    def of(self, key: str | None, hint: Callable[[], str]) -> Routed:
        """The way of a request; ``hint`` is asked for a key only where one is needed and the request has none."""
        if self.other is None:
            return self.usual
        told = hint() if key is None else key
        return self.other if taken(self.usual.snapshot.scene.name, told, self.share) else self.usual


def fork(champion: Snapshot, challenger: Snapshot | None = None, challenge: Challenge | None = None) -> Fork:
    """The ways of a scene, with a challenger where one is ready."""
    usual = Routed(champion)
    if challenger is None or challenge is None:
        return Fork(usual)
    if challenge.mode == "shadow":
        former = challenger if challenge.probation else None
        return Fork(usual, Routed(champion, shadow=challenger, instead=former), challenge.share)
    return Fork(usual, Routed(challenger, role="challenger", instead=champion), challenge.share)
