"""Settings of what labels may do: the guard before a revision, the hygiene of labels, and the queue of what to label.

Promises that a value out of its range is refused by name. Knows nothing of how they are followed.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.errors import BadConfiguration
from core.ranges import positive


@dataclass(frozen=True, kw_only=True)
class GuardSettings:
    """When a head that labels have moved is held instead of published."""

    on: bool = True
    """Whether heads are held at all."""
    lost: float = 0.03
    """Share of the anchor rows whose right answers must be lost on balance."""
    level: float = 0.001
    """Chance at which so many lost against won are no chance any more; few anchor rows never reach it."""
    churn: float = 0.25
    """Share of recent answers that would be others, from which ``level_churning`` holds in place of ``level``."""
    level_churning: float = 0.01
    """The same chance, where much would change."""
    anchors: int = 256
    """Rows labelled by feedback that are asked."""
    window: int = 100
    """Examples with new labels after which a newer head is the one to compare with, or a quarter of those that feedback
    had labelled in the one before, where that is less: damage that comes label by label adds up until then."""
    traffic: int = 256
    """Recent answers that are looked at."""

    def __post_init__(self) -> None:
        """Check ranges."""
        positive(self, "guard", "lost", "level", "churn", "level_churning", "anchors", "window", "traffic")
        _shares(self, "guard", "lost", "level", "churn", "level_churning")


@dataclass(frozen=True, kw_only=True)
class HygieneSettings:
    """Which labels wait, and how much may hang on one; ``lepton hygiene`` changes it for one scene.

    All is off by default: a label that contradicts the model is what a model learns from.
    """

    second_opinion: bool = False
    """Whether a label that contradicts a confident model, or what another annotator says, waits until a second
    annotator says the same."""
    confident: float = 0.9
    """Probability from which the model counts as confident."""
    quarantine: bool = False
    """Whether a label of feedback that confident learning takes for wrong, or a value that is missed by far more than
    usual (``core/value_opinion.py``), waits until it is released or withdrawn."""
    annotator_share: float = 1.0
    """Largest share that one annotator may have of the weight of a class in feedback, or of its values, once there are
    others; 1: any."""
    leverage: float = 1.0
    """Largest leverage of one example of feedback; 1: any."""

    def __post_init__(self) -> None:
        """Check ranges."""
        positive(self, "hygiene", "confident", "annotator_share", "leverage")
        _shares(self, "hygiene", "confident", "annotator_share", "leverage")

    @property
    def screens(self) -> bool:
        """Whether anything is asked of labels."""
        return self.second_opinion or self.quarantine or self.caps

    @property
    def caps(self) -> bool:
        """Whether weights may be lowered."""
        return self.annotator_share < 1.0 or self.leverage < 1.0


@dataclass(frozen=True, kw_only=True)
class QueueSettings:
    """How ``GET /v1/queue`` chooses."""

    random_share: float = 0.2
    """Share of what it serves that is drawn by lot, so that live accuracy can be told without bias; 0: none."""

    def __post_init__(self) -> None:
        """Check ranges."""
        _shares(self, "queue", "random_share")


def _shares(settings: object, section: str, *names: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if not 0 <= value <= 1:
            raise BadConfiguration(f"{section}.{name} is {value!r}", "give a share between 0 and 1")
