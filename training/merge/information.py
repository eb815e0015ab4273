"""How much a model depends on each of its weights: the diagonal of the Fisher information, on real rows.

Promises squared gradients of the log likelihood, a row at a time, of labels that the model itself would give (drawn
from its answers, seeded), so that no label is needed. Knows nothing of how models are fused.

Reference: Matena and Raffel, arXiv 2111.09832, equation 4; why labels are drawn: Kunstner et al., arXiv 1905.12558.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from training.merge.weights import State
from training.tune.network import Network, Tensors


def diagonal(network: Network, rows: Sequence[Tensors], seed: int, task: str = "classification") -> State:
    """The information of every weight of the network's body, by its name there, in float64: the mean over ``rows``,
    each a batch of one.

    A regression's likelihood is normal with unit variance on the head's scale.
    """
    chance = torch.Generator().manual_seed(seed)
    body = dict(network.body.requires_grad_(True).named_parameters())
    found = {name: torch.zeros_like(weight, dtype=torch.float64) for name, weight in body.items()}
    network.eval()
    for row in rows:
        scores_1K = network(row).scores_BK
        if task == "regression":
            drawn_1K = scores_1K.detach() + torch.randn(scores_1K.shape, generator=chance)
            likelihood = -0.5 * torch.square(drawn_1K - scores_1K).sum()
        else:
            label = torch.multinomial(scores_1K.detach().softmax(dim=1), 1, generator=chance)
            likelihood = scores_1K.log_softmax(dim=1).gather(1, label).sum()
        gradients = torch.autograd.grad(likelihood, list(body.values()), allow_unused=True)
        for name, gradient in zip(body, gradients, strict=True):
            if gradient is not None:
                found[name] += gradient.double().square() / len(rows)
    return found
