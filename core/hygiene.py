"""What a scene asks of its labels: how much they weigh, and which of them wait.

Promises that what was changed holds from the next look on, without a restart: the learner then solves the head anew.
Knows nothing of labels.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from core.label_settings import HygieneSettings
from core.policies import Policies
from core.weights import EVEN, Weights, weights_of


@dataclass(frozen=True)
class LabelPolicy:
    """What is asked of the labels of one scene."""

    weights: Weights = EVEN
    hygiene: HygieneSettings = field(default_factory=HygieneSettings)


def label_policy(policies: Policies[HygieneSettings], scene: str) -> LabelPolicy:
    """What holds for a scene."""
    with policies.database.read() as connection:
        return LabelPolicy(weights_of(connection, scene), policies.read(connection, scene))
