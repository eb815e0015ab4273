"""Adversarial training: a network learns from pictures that were changed against it.

When to use: where somebody may tamper with inputs, or sensors are noisy in bad ways. Limit: it costs as many passes as
the attack has steps, and some accuracy on clean pictures; robustness against ε says little about larger changes or
other kinds. Pictures only: a pixel has a scale in which ε means something, a token or a cell has none.

FGSM and PGD: half of the loss is of clean rows, half of changed ones. TRADES: the clean loss, and how far the answer
moves under the worst small change.

Reference: Goodfellow et al., arXiv 1412.6572; Madry et al., arXiv 1706.06083; Zhang et al., TRADES, arXiv 1901.08573.

Legend: B batch, K classes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Literal

import torch
from torch.nn import functional

from training.tune.attack import fgsm, pgd
from training.tune.batches import Batch
from training.tune.network import Network
from training.tune.objective import Objective, Supervised

KEY = "image"
Method = Literal["fgsm", "pgd", "trades"]


class Adversarial(Objective):
    """Labels, on clean and on changed pictures.

    Args:
        epsilon: in pixel units. steps: of PGD and TRADES. beta: weight of TRADES' second term.
    """

    def __init__(self, inner: Supervised, method: Method, *, epsilon: float, steps: int, beta: float) -> None:
        super().__init__()
        self.inner, self.method = inner, method
        self.epsilon, self.steps, self.beta = epsilon, steps, beta

    def forward(self, network: Network, batch: Batch) -> torch.Tensor:
        """(B,)."""
        pixels = batch.inputs[KEY]
        clean_BK = network(batch.inputs).scores_BK
        clean_B = self.inner.of(clean_BK, batch.targets_BK)
        if self.method == "trades":
            shares_BK = functional.softmax(clean_BK.detach(), dim=1)
            with _still(network):
                worst = pgd(
                    pixels, lambda x: _divergence(network({KEY: x}).scores_BK, shares_BK), self.epsilon, self.steps
                )
            moved_BK = network({KEY: worst}).scores_BK
            return clean_B + self.beta * _divergence(moved_BK, functional.softmax(clean_BK, dim=1))

        def loss(x: torch.Tensor) -> torch.Tensor:
            return self.inner.of(network({KEY: x}).scores_BK, batch.targets_BK)

        with _still(network):
            worst = (
                fgsm(pixels, loss, self.epsilon)
                if self.method == "fgsm"
                else pgd(pixels, loss, self.epsilon, self.steps)
            )
        return 0.5 * clean_B + 0.5 * loss(worst)


def _divergence(scores_BK: torch.Tensor, shares_BK: torch.Tensor) -> torch.Tensor:
    """(B,) Kullback-Leibler divergence of the answers from ``shares_BK``."""
    return functional.kl_div(functional.log_softmax(scores_BK, dim=1), shares_BK, reduction="none").sum(dim=1)


@contextlib.contextmanager
def _still(network: torch.nn.Module) -> Iterator[None]:
    """Without dropout, as the attacker sees the network; afterwards every part is as it was."""
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
