"""Halfway between two models along the arc instead of the chord, tensor by tensor, so that lengths are kept.

When to use it: two tuned models whose weights point in different directions; a straight mean would shrink them. Limit:
two models; where they nearly agree, which is the rule after fine-tuning, it is the straight mean.

Reference: Shoemake, "Animating rotation with quaternion curves", SIGGRAPH 1985.

>>> import torch
>>> states = [{"w": torch.tensor([1.0, 0.0])}, {"w": torch.tensor([0.0, 1.0])}]
>>> given = Given(states=states, base=states[0], score=lambda state: 0.0, fisher=lambda state: state)
>>> [round(float(x), 4) for x in fuse(given).state["w"]]
[0.7071, 0.7071]
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from training.merge.weights import Given, Soup, cast, check, mean, names

SPACE = "weights"
SYMMETRIC = False
_STRAIGHT = 1e-4  # radians: below this, or near to opposite, arc and chord are the same, or the arc is undefined


@dataclass(frozen=True, kw_only=True)
class Config:
    """Where on the arc."""

    share: float = 0.5
    """Share of the way from the first model to the second."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if not 0 <= self.share <= 1:
            raise ValueError(f"share is {self.share}; expected 0 to 1")


def examples() -> tuple[Config, ...]:
    """The middle, a third of the way, and both ends."""
    return Config(), Config(share=1 / 3), Config(share=0.0), Config(share=1.0)


def fuse(given: Given, config: Config = Config()) -> Soup:
    """The point on the arc. Raises as ``check``, and where there are not two models."""
    check(given, exactly=2)
    first, second = given.states
    alphas = (1.0 - config.share, config.share)
    made = mean(given.states, alphas)
    arcs = {name: _arc(first[name].double(), second[name].double(), config.share) for name in names(first)}
    return Soup(state=made | cast(arcs, first), alphas=alphas, chosen={"share": config.share})


def _arc(first: torch.Tensor, second: torch.Tensor, share: float) -> torch.Tensor:
    product = float(first.norm() * second.norm())
    cosine = float((first * second).sum()) / product if product > 0 else 1.0
    angle = math.acos(max(-1.0, min(1.0, cosine)))
    if angle < _STRAIGHT or math.pi - angle < _STRAIGHT:
        return (1.0 - share) * first + share * second
    parts = math.sin((1.0 - share) * angle) * first + math.sin(share * angle) * second
    return parts / math.sin(angle)
