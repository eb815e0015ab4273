"""Task arithmetic without quarrels: small moves are dropped, and of each weight only moves in one direction count.

When to use it: three and more models of one base, tuned on different scenes, whose moves contradict each other. Limit:
with two models of the same scene there is little to settle; the length has to be chosen on validation rows.

Reference: Yadav et al., "TIES-Merging", arXiv 2306.01708.

>>> import torch
>>> base = {"w": torch.zeros(4)}
>>> states = [{"w": torch.tensor([4.0, 0.1, 3.0, 0.0])}, {"w": torch.tensor([2.0, 0.0, -5.0, 0.2])}]
>>> given = Given(states=states, base=base, score=lambda state: 0.0, fisher=lambda state: state)
>>> fuse(given, Config(density=0.5, scales=(1.0,))).state
{'w': tensor([ 3.,  0., -5.,  0.])}
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from training.fuse.task_arithmetic import along
from training.merge.weights import Given, Soup, check, moves, total

SPACE = "weights"
SYMMETRIC = True


@dataclass(frozen=True, kw_only=True)
class Config:
    """What is kept of each way, and how far to walk."""

    density: float = 0.2
    """Share of a model's weights that count as moved: those that moved furthest."""
    scales: tuple[float, ...] = (0.5, 1.0, 1.5)
    """Factors on the merged way; the one that scores best is taken, of equals the smallest."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if not 0 < self.density <= 1:
            raise ValueError(f"density is {self.density}; expected above 0 and up to 1")
        if not self.scales or not all(0 < scale <= 10 for scale in self.scales):
            raise ValueError(f"scales are {self.scales}; expected at least one above 0 and up to 10")


def examples() -> tuple[Config, ...]:
    """As in the paper, and without trimming."""
    return Config(), Config(density=1.0, scales=(1.0,))


def fuse(given: Given, config: Config = Config()) -> Soup:
    """Trim, elect, merge. α is the same for every model, since each has one vote. Raises as ``check``."""
    check(given)
    ways = [_trimmed(moves(state, given.base), config.density) for state in given.states]
    return along(given, {name: _merged([each[name] for each in ways]) for name in ways[0]}, config.scales)


def _trimmed(way: dict[str, torch.Tensor], density: float) -> dict[str, torch.Tensor]:
    """The way with all but its longest moves set to 0."""
    sizes = torch.cat([move.abs().flatten() for move in way.values()])
    kept = max(1, math.ceil(density * len(sizes)))
    least = float(sizes.kthvalue(len(sizes) - kept + 1).values)
    return {name: torch.where(move.abs() >= least, move, 0.0) for name, move in way.items()}


def _merged(moves_M: list[torch.Tensor]) -> torch.Tensor:
    """The mean of those moves that go where most of the mass goes."""
    elected = total(moves_M).sign()
    agreeing = [torch.where(move.sign() == elected, move, 0.0) for move in moves_M]
    voters = torch.stack([(move != 0).double() for move in agreeing]).sum(dim=0)
    return total(agreeing) / voters.clamp(min=1.0)
