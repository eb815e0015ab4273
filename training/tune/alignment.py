"""Features that do not tell two scenes apart: learned from the labels of one and from inputs of both.

When to use: many inputs of the scene where the model is to serve, but few or no labels there. Limit: it assumes that
both hold the same classes in about the same shares; where they do not, aligning harms. ``dann``, a game of two, is
fickle: try ``dan`` first. The unlabelled rows go through the network beside the labelled ones, so a step costs twice as
much.

``mean_discrepancy`` (DAN): the maximum mean discrepancy of two sets of features under several Gaussian kernels.
``Aligned`` with ``dann``: a small network guesses the scene from the features, and its gradient is turned round; the
weight of that rises from epoch to epoch, since at first the guesses are noise.

Reference: Long et al., DAN, arXiv 1502.02791; Ganin et al., DANN, arXiv 1505.07818.

Legend: B labelled rows, U unlabelled rows, D features.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch.nn import functional

from training.tune.batches import Batch
from training.tune.network import Network
from training.tune.objective import Objective, Supervised

Kind = Literal["dan", "dann"]

_WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)  # of kernels, in the mean squared distance
_HIDDEN = 128
_RISE = 5.0  # of the weight of ``dann``: 2 / (1 + exp(-10 p)) - 1 at a part p of the training, as in the paper


class Aligned(Objective):
    """Labels, and the difference between labelled and unlabelled features in proportion to ``weight``."""

    def __init__(self, inner: Supervised, kind: Kind, weight: float, width: int) -> None:
        super().__init__()
        self.inner, self.kind, self.weight = inner, kind, weight
        self.risen = 1.0
        self.judge: torch.nn.Module | None = None
        if kind == "dann":
            self.judge = torch.nn.Sequential(
                torch.nn.Linear(width, _HIDDEN), torch.nn.ReLU(), torch.nn.Linear(_HIDDEN, 1)
            )

    def begin(self, number: int, epochs: int) -> None:
        """Epoch ``number`` of ``epochs`` begins: by its middle the weight of ``dann`` has risen so far."""
        if self.kind == "dann":
            self.risen = math.tanh(_RISE * (number - 0.5) / epochs)

    def forward(self, network: Network, batch: Batch) -> torch.Tensor:
        """(B,)."""
        here = network(batch.inputs)
        loss_B = self.inner.of(here.scores_BK, batch.targets_BK)
        if not batch.unlabelled:
            return loss_B
        there_UD = network(batch.unlabelled).features_BD
        return loss_B + self.risen * self.weight * self._difference(here.features_BD, there_UD)

    def _difference(self, here_BD: torch.Tensor, there_UD: torch.Tensor) -> torch.Tensor:
        if self.judge is None:
            return mean_discrepancy(here_BD, there_UD)
        both_ND = torch.cat([here_BD, there_UD]) * here_BD.shape[1] ** 0.5  # rows of unit length to unit variance
        from_here_N = torch.cat([torch.ones(len(here_BD)), torch.zeros(len(there_UD))]).to(both_ND)
        guessed_N = self.judge(turned(both_ND)).squeeze(1)
        loss: torch.Tensor = functional.binary_cross_entropy_with_logits(guessed_N, from_here_N)
        return loss


def mean_discrepancy(here_BD: torch.Tensor, there_UD: torch.Tensor) -> torch.Tensor:
    """Squared maximum mean discrepancy, biased and so never negative; 0 for equal sets.

    >>> rows = torch.eye(3)
    >>> round(float(mean_discrepancy(rows, rows)), 6)
    0.0
    """
    both_ND = torch.cat([here_BD, there_UD])
    length_N = both_ND.square().sum(dim=1)
    square_NN = (length_N[:, None] + length_N[None] - 2 * both_ND @ both_ND.T).clamp(min=0.0)
    count = len(both_ND)
    middle = (square_NN.detach().sum() / max(1, count * (count - 1))).clamp(min=1e-12)
    kernel_NN = torch.stack([torch.exp(-square_NN / (width * middle)) for width in _WIDTHS]).mean(dim=0)
    cut = len(here_BD)
    within = kernel_NN[:cut, :cut].mean() + kernel_NN[cut:, cut:].mean()
    return within - 2 * kernel_NN[:cut, cut:].mean()


def turned(features: torch.Tensor) -> torch.Tensor:
    """The same forward; backward with the sign of the gradient turned round."""
    found: torch.Tensor = _Turned.apply(features)
    return found


class _Turned(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, features: torch.Tensor) -> torch.Tensor:
        del context
        return features.view_as(features)

    @staticmethod
    def backward(context: Any, *slopes: torch.Tensor) -> torch.Tensor:
        del context
        return -slopes[0]
