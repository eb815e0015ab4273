"""The mean of those models that make it better: best first, each is kept only if the score does not fall.

When to use it: several runs, some of which may be bad; on the rows that it chooses by it is never worse than the best
of them. Limit: it scores every step, so it needs validation rows that no model was tuned on.

Reference: Wortsman et al., "Model soups", arXiv 2203.05482, recipe 1.

>>> import torch
>>> states = [{"w": torch.tensor([9.0])}, {"w": torch.tensor([0.0])}, {"w": torch.tensor([2.0])}]
>>> given = Given(
...     states=states, base=states[0], score=lambda state: -abs(float(state["w"]) - 1.0), fisher=lambda state: state
... )
>>> found = fuse(given)
>>> found.alphas, found.state
((0.0, 0.5, 0.5), {'w': tensor([1.])})
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from training.merge.weights import Given, Soup, check, mean

SPACE = "weights"
SYMMETRIC = False  # of models that score alike, the first named goes first


@dataclass(frozen=True, kw_only=True)
class Config:
    """How a model earns its place."""

    gain: float = 0.0
    """Score that a model must add to be kept; 0 keeps what does no harm, as in the paper."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if not 0 <= self.gain < 1:
            raise ValueError(f"gain is {self.gain}; expected 0 to below 1")


def examples() -> tuple[Config, ...]:
    """As in the paper, and stricter."""
    return Config(), Config(gain=0.01)


def fuse(given: Given, config: Config = Config()) -> Soup:
    """The soup; α is the same for every model in it, 0 for the others. Raises as ``check``."""
    check(given)
    scores = [given.score(state) for state in given.states]
    order = sorted(range(len(scores)), key=lambda place: -scores[place])
    tried = {f"model {place + 1} alone": scores[place] for place in range(len(scores))}
    kept, best = order[:1], scores[order[0]]
    for place in order[1:]:
        wanted = [*kept, place]
        found = given.score(mean([given.states[p] for p in wanted], _shares(wanted, wanted)))
        tried[" + ".join(f"model {p + 1}" for p in sorted(wanted))] = found
        if found >= best + config.gain:
            kept, best = wanted, found
    state = mean([given.states[p] for p in kept], _shares(kept, kept))
    return Soup(state=state, alphas=_shares(kept, range(len(scores))), tried=tried)


def _shares(kept: Sequence[int], places: Sequence[int]) -> tuple[float, ...]:
    return tuple(1.0 / len(kept) if place in kept else 0.0 for place in places)
