"""The mean in which every weight counts by how much its model depends on it.

When to use it: models that were tuned on different rows of one scene, so that each knows some weights well. Limit: the
Fisher information is a rough, diagonal estimate on some hundred rows; with runs on the same rows it is the plain mean.

Reference: Matena and Raffel, "Merging models with Fisher-weighted averaging", arXiv 2111.09832.

>>> import torch
>>> states = [{"w": torch.tensor([0.0, 0.0])}, {"w": torch.tensor([4.0, 4.0])}]
>>> known = iter([{"w": torch.tensor([3.0, 0.0])}, {"w": torch.tensor([1.0, 0.0])}])
>>> given = Given(states=states, base=states[0], score=lambda state: 0.0, fisher=lambda state: next(known))
>>> fuse(given, Config(floor=0.0)).state
{'w': tensor([1., 2.])}
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from training.merge.weights import Given, Soup, State, cast, check, even, mean, names, total

SPACE = "weights"
SYMMETRIC = True


@dataclass(frozen=True, kw_only=True)
class Config:
    """What counts where nothing is known."""

    floor: float = 1e-6
    """Added to every weight's information, as a share of the largest of all: where no model knows a weight, it is the
    plain mean."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if not 0 <= self.floor <= 1:
            raise ValueError(f"floor is {self.floor}; expected 0 to 1")


def examples() -> tuple[Config, ...]:
    """With and without a floor."""
    return Config(), Config(floor=0.0)


def fuse(given: Given, config: Config = Config()) -> Soup:
    """The weighted mean. α is the same for every model: what differs, differs by weight. Raises as
    ``check``."""
    check(given)
    known = [given.fisher(state) for state in given.states]
    largest = max(float(each.max()) for info in known for each in info.values())
    alphas = even(len(given.states))
    made = {name: _weighed(given.states, known, name, config.floor * largest) for name in names(given.base)}
    return Soup(state=mean(given.states, alphas) | cast(made, given.base), alphas=alphas)


def _weighed(states: Sequence[State], known: Sequence[State], name: str, floor: float) -> torch.Tensor:
    nothing = torch.zeros_like(states[0][name])  # of a tensor that is no parameter
    info_M = torch.stack([info.get(name, nothing).double() + floor for info in known])
    whole = total(list(info_M))
    shares_M = torch.where(whole > 0, info_M / whole.clamp(min=torch.finfo(torch.float64).tiny), 1.0 / len(info_M))
    return total([share * state[name].double() for share, state in zip(shares_M, states, strict=True)])
