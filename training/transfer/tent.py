"""TENT: scale and shift of batch normalisation moved so that answers on the target become sure.

When to use: corruptions and changes of the sensor, where the answers are mostly right already. Limit: what is wrong
becomes sure as well; with far scenes it collapses towards few classes, which the comparison has to notice. Statistics
are those of the target, as in ``batch_norm``; no other weight moves.

Reference: Wang et al., "Tent: fully test-time adaptation by entropy minimization", arXiv 2006.10726. There it adapts
while it serves; here once, on the inputs that are given, so that what serves is one model.
"""

from __future__ import annotations

import numpy as np
import torch

from core.errors import InvalidInput
from training.assemble import Assembly
from training.situation import Situation, bodies, moved, norms
from training.transfer import batch_norm
from training.tune.network import Network

RATE, EPOCHS = 1e-3, 3


def adapt(situation: Situation) -> Assembly:
    """The graph with scales and shifts that make its answers sure."""
    if situation.scene.task == "regression":
        raise InvalidInput("tent makes classes sure, and the scene is a regression", "use another method")
    backbone, body, transform = bodies(situation, "tent")
    batch_norm.measure(situation, body, backbone.name)
    network = Network(body, transform, situation.head)
    network.requires_grad_(False)
    trained = [p for norm in norms(body, backbone.name) for p in (norm.weight, norm.bias)]
    for parameter in trained:
        parameter.requires_grad_(True)
    optimiser = torch.optim.Adam(trained, lr=RATE)
    chance = np.random.default_rng(situation.seed)
    network.eval()
    for _ in range(EPOCHS):
        for places in situation.order(chance):
            entropy = entropies(network(situation.inputs(places)).scores_BK).mean()
            optimiser.zero_grad()
            entropy.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    network.requires_grad_(True)
    return moved(situation, backbone, network.body, "tent")


def entropies(scores_BK: torch.Tensor) -> torch.Tensor:
    """(B,) entropy of each row's answer, in nats."""
    logs_BK = scores_BK.log_softmax(dim=1)
    return -(logs_BK.exp() * logs_BK).sum(dim=1)
