"""What each model learned, as the way from the base to it; the ways are added up and walked from the base.

When to use it: models that were tuned from one base on different scenes or tasks, to have one that does all. Limit:
where ways contradict each other they cancel (ties elects a direction); the length has to be chosen on validation rows.

Reference: Ilharco et al., "Editing models with task arithmetic", arXiv 2212.04089.

>>> import torch
>>> base = {"w": torch.tensor([1.0, 1.0])}
>>> states = [{"w": torch.tensor([2.0, 1.0])}, {"w": torch.tensor([1.0, 3.0])}]
>>> given = Given(states=states, base=base, score=lambda state: float(state["w"].sum()), fisher=lambda state: state)
>>> fuse(given, Config(scales=(0.5, 1.0))).state
{'w': tensor([2., 3.])}
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from training.merge.weights import Given, Soup, check, even, moved, moves, total

SPACE = "weights"
SYMMETRIC = True


@dataclass(frozen=True, kw_only=True)
class Config:
    """How far to walk."""

    scales: tuple[float, ...] = (0.3, 0.5, 0.7, 1.0)
    """Factors on the sum of all ways; the one that scores best is taken, of equals the smallest."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if not self.scales or not all(0 < scale <= 10 for scale in self.scales):
            raise ValueError(f"scales are {self.scales}; expected at least one above 0 and up to 10")


def examples() -> tuple[Config, ...]:
    """The sweep, and a single length."""
    return Config(), Config(scales=(0.4,))


def fuse(given: Given, config: Config = Config()) -> Soup:
    """The base, moved. α is the same for every model, since each way counts alike. Raises as ``check``."""
    check(given)
    ways = [moves(state, given.base) for state in given.states]
    way = {name: total([each[name] for each in ways]) for name in ways[0]}
    return along(given, way, config.scales)


def along(given: Given, way: dict[str, torch.Tensor], scales: tuple[float, ...]) -> Soup:
    """The best point on a way from the base."""
    points = {
        scale: moved(given.base, given.states, {name: scale * move for name, move in way.items()})
        for scale in sorted(scales)
    }
    scores = {scale: given.score(state) for scale, state in points.items()} if len(points) > 1 else {}
    best = max(points, key=lambda scale: scores.get(scale, 0.0))
    tried = {f"scale {scale:g}": score for scale, score in scores.items()}
    return Soup(state=points[best], alphas=even(len(given.states)), tried=tried, chosen={"scale": best})
