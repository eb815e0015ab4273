"""The line between the original weights and the tuned ones, and on it the point that does best on validation rows.

When to use it: always after fine-tuning, above all where the scene that is served may differ from the one that was
tuned on: 4 to 6 points more under shift in the paper, for nothing. Limit: two models, the original named first.

Reference: Wortsman et al., "Robust fine-tuning of zero-shot models" (WiSE-FT), arXiv 2109.01903.

>>> import torch
>>> states = [{"w": torch.tensor([0.0])}, {"w": torch.tensor([10.0])}]
>>> given = Given(
...     states=states, base=states[0], score=lambda state: -abs(float(state["w"]) - 6.0), fisher=lambda state: state
... )
>>> fuse(given).alphas
(0.4, 0.6)
"""

from __future__ import annotations

from dataclasses import dataclass

from training.merge.weights import Given, Soup, check, mean

SPACE = "weights"
SYMMETRIC = False


@dataclass(frozen=True, kw_only=True)
class Config:
    """Which points of the line are looked at."""

    alphas: tuple[float, ...] = (0.0, 0.2, 0.4, 0.5, 0.6, 0.8, 1.0)
    """Shares of the second model; of several that score the same, the one nearest to a half is taken."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if not self.alphas or not all(0 <= alpha <= 1 for alpha in self.alphas):
            raise ValueError(f"alphas are {self.alphas}; expected at least one share from 0 to 1")


def examples() -> tuple[Config, ...]:
    """The sweep, its two ends and its middle."""
    return Config(), Config(alphas=(0.0,)), Config(alphas=(1.0,)), Config(alphas=(0.5,))


def fuse(given: Given, config: Config = Config()) -> Soup:
    """The best point. Raises as ``check``, and where there are not two models."""
    check(given, exactly=2)
    points = {alpha: mean(given.states, _shares(alpha)) for alpha in config.alphas}
    scores = {alpha: given.score(state) for alpha, state in points.items()} if len(points) > 1 else {}
    best = max(points, key=lambda alpha: (scores.get(alpha, 0.0), -abs(alpha - 0.5)))
    tried = {f"share {alpha:g} of the second": score for alpha, score in scores.items()}
    return Soup(state=points[best], alphas=_shares(best), tried=tried, chosen={"share": best})


def _shares(alpha: float) -> tuple[float, float]:
    return 1.0 - alpha, alpha
