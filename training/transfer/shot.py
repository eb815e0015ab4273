"""SHOT: the head stays, and the backbone moves until the target's inputs are sure and spread over the classes.

When to use: hundreds of inputs of the target, all classes of the source among them in like shares. Limit: minutes on a
CPU; the term that spreads answers over the classes is wrong where a class is rare or missing. Answers are also pulled
towards labels of the nearest centre of a class, found anew each epoch.

Reference: Liang, Hu and Feng, "Do we really need to access the source data? Source hypothesis transfer for unsupervised
domain adaptation", arXiv 2002.08546.

Legend: M target rows, B batch, D features, K classes.
"""

from __future__ import annotations

import numpy as np
import torch

from core.errors import InvalidInput
from training.assemble import Assembly
from training.situation import Situation, bodies, moved
from training.transfer.tent import entropies
from training.tune.network import Network

RATE, EPOCHS, PULL = 1e-3, 3, 0.3  # PULL: weight of the labels by nearest centre


def adapt(situation: Situation) -> Assembly:
    """The graph with the backbone moved."""
    if situation.scene.task == "regression":
        raise InvalidInput("shot spreads answers over classes, and the scene is a regression", "use another method")
    backbone, body, transform = bodies(situation, "shot")
    network = Network(body, transform, situation.head)
    network.head.requires_grad_(False)
    optimiser = torch.optim.SGD(network.body.parameters(), lr=RATE, momentum=0.9, weight_decay=1e-3)
    chance = np.random.default_rng(situation.seed)
    network.eval()  # statistics of normalisation and dropout stay as they are
    for _ in range(EPOCHS):
        centred_M = _centred(network, situation)
        for places in situation.order(chance):
            scores_BK = network(situation.inputs(places)).scores_BK
            nearest_B = centred_M[torch.from_numpy(places)]
            loss = _information(scores_BK) + PULL * torch.nn.functional.cross_entropy(scores_BK, nearest_B)
            optimiser.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
    network.requires_grad_(True)
    return moved(situation, backbone, network.body, "shot")


def _information(scores_BK: torch.Tensor) -> torch.Tensor:
    """Mean entropy of answers minus the entropy of the mean answer."""
    mean_K = scores_BK.softmax(dim=1).mean(dim=0)
    return entropies(scores_BK).mean() + (mean_K * (mean_K + 1e-8).log()).sum()


@torch.no_grad()
def _centred(network: Network, situation: Situation) -> torch.Tensor:
    """(M,) the class whose centre is nearest by cosine; centres of soft answers first, then of those classes."""
    told = [network(situation.inputs(places)) for places in situation.order()]
    features_MD = torch.cat([answer.features_BD for answer in told])
    shares_MK = torch.cat([answer.scores_BK for answer in told]).softmax(dim=1)
    features_MD = torch.nn.functional.normalize(features_MD, dim=1)
    for _ in range(2):
        centres_KD = torch.nn.functional.normalize(shares_MK.T @ features_MD, dim=1)
        nearest_M = (features_MD @ centres_KD.T).argmax(dim=1)
        shares_MK = torch.nn.functional.one_hot(nearest_M, shares_MK.shape[1]).float()
    return nearest_M
