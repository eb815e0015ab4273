"""The plain mean of the weights of models that were tuned from one base.

When to use it: several runs of one recipe (other seeds, other settings) that are all good. Limit: one bad run spoils
the mean (greedy_soup leaves it out), and models of different bases do not lie in one valley, so their mean is useless.
One network is served, as quick as each of them.

Reference: Wortsman et al., "Model soups", arXiv 2203.05482.

>>> import torch
>>> states = [{"w": torch.tensor([0.0, 2.0])}, {"w": torch.tensor([1.0, 4.0])}]
>>> given = Given(states=states, base=states[0], score=lambda state: 0.0, fisher=lambda state: state)
>>> fuse(given).state
{'w': tensor([0.5000, 3.0000])}
"""

from __future__ import annotations

from dataclasses import dataclass

from training.merge.weights import Given, Soup, check, even, mean

SPACE = "weights"
SYMMETRIC = True


@dataclass(frozen=True, kw_only=True)
class Config:
    """Nothing can be set."""


def examples() -> tuple[Config, ...]:
    """The only one."""
    return (Config(),)


def fuse(given: Given, config: Config = Config()) -> Soup:
    """The mean; α is the same for every model. Raises as ``check``."""
    del config
    check(given)
    alphas = even(len(given.states))
    return Soup(state=mean(given.states, alphas), alphas=alphas)
