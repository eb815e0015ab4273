"""Losses of several tasks as one: how much each of them counts.

``equal``: the mean. ``uncertainty``: a task counts less the less sure the network can be of it, which is learned along
(a classification by exp(-s), a regression by exp(-s) / 2, and s / 2 is paid for it). ``upgrad``, ``mgda`` and
``pcgrad`` ask torchjd at every step for shares under which no task, as far as that is possible, is made worse for the
sake of another. They are asked by the slopes of the losses in the features, not in all weights: that costs no pass
through the backbone, and what does no harm there does none below (Sener and Koltun, section 3.3).

When to use: ``equal`` first; another where one task does not learn beside the others. Limit: shares of slopes are those
of the rows that pass through the network together. Promises that a row which is not labelled for a task costs nothing
there, and that a task counts the same however few of the rows are labelled for it.

Reference: Kendall, Gal and Cipolla, arXiv 1705.07115; Quinton and Rey, UPGrad, arXiv 2406.16232; Sener and Koltun,
MGDA, arXiv 1810.04650; Yu et al., PCGrad, arXiv 2001.06782; the library torchjd.

Legend: B batch, T tasks, K columns of all tasks, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
import scipy.optimize
import torch
from torchjd.aggregation import MGDAWeighting, PCGradWeighting, UPGradWeighting
from torchjd.linalg import DualConeProjector

from training.tune import columns
from training.tune.batches import Batch
from training.tune.columns import Columns
from training.tune.network import Network
from training.tune.objective import Objective, Supervised

Balance = Literal["equal", "uncertainty", "upgrad", "mgda", "pcgrad"]
BALANCES: tuple[str, ...] = get_args(Balance)

_RIDGE = 1e-4  # on the slopes' products, of their mean square: two tasks may pull the same way


class Balanced(Objective):
    """The labels of several tasks.

    Args:
        laid: the columns of each task. shares: of the training rows, those that are labelled for each.
    """

    def __init__(self, laid: Sequence[Columns], shares: Sequence[float], balance: Balance, smoothing: float) -> None:
        super().__init__()
        self.laid, self.shares, self.balance = tuple(laid), tuple(shares), balance
        self.losses = [Supervised(each.task.task, smoothing) for each in laid]
        self.doubt_T = torch.nn.Parameter(torch.zeros(len(self.laid))) if balance == "uncertainty" else None

    def forward(self, network: Network, batch: Batch) -> torch.Tensor:
        """(B,)."""
        answer = network(batch.inputs)
        losses_TB = self.of(answer.scores_BK, batch.targets_BK)
        if self.doubt_T is not None:
            halves_T = torch.tensor([0.5 if each.task.task == "regression" else 1.0 for each in self.laid])
            sure_T = halves_T.to(self.doubt_T) * torch.exp(-self.doubt_T)
            return (sure_T[:, None] * losses_TB + 0.5 * self.doubt_T[:, None]).mean(dim=0)
        if self.balance == "equal":
            return losses_TB.mean(dim=0)
        share_T = self._shares(losses_TB, answer.features_BD)
        return (share_T[:, None] * losses_TB).sum(dim=0)

    def of(self, scores_BK: torch.Tensor, targets_BK: torch.Tensor) -> torch.Tensor:
        """(T, B): what each row costs in each task; its mean over many rows is that over the labelled ones."""
        told = []
        for each, loss, share in zip(self.laid, self.losses, self.shares, strict=True):
            cost_B = loss.of(each.of(scores_BK), each.of(targets_BK).nan_to_num())
            told.append(torch.where(columns.known(targets_BK, each), cost_B / share, 0.0))
        return torch.stack(told)

    def _shares(self, losses_TB: torch.Tensor, features_BD: torch.Tensor) -> torch.Tensor:
        slopes = [
            torch.autograd.grad(loss_B.sum(), features_BD, retain_graph=True)[0].flatten() for loss_B in losses_TB
        ]
        slopes_TF = torch.stack(slopes).double()
        products_TT = slopes_TF @ slopes_TF.T
        if not bool(products_TT.isfinite().all()):  # the loop stops at such a loss
            return torch.full_like(losses_TB[:, 0], 1 / len(slopes))
        return WEIGHTINGS[self.balance]()(products_TT).to(losses_TB.dtype)


class _Cone(DualConeProjector):
    """Torchjd's projection by SciPy's least squares without negative numbers, exact; tasks are few."""

    def __call__(self, U: torch.Tensor, G: torch.Tensor) -> torch.Tensor:
        products_TT = G.cpu().numpy()
        size = max(float(np.trace(products_TT)) / len(products_TT), np.finfo(np.float64).tiny)
        root_TT = np.linalg.cholesky(products_TT / size + _RIDGE * np.eye(len(products_TT))).T
        rows = [u_T + scipy.optimize.nnls(root_TT, -root_TT @ u_T)[0] for u_T in U.cpu().numpy()]
        return torch.from_numpy(np.stack(rows)).to(U)


def _mean(weighting: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[torch.Tensor], torch.Tensor]:
    """PCGrad adds up the slopes, where the others take a mean."""
    return lambda products_TT: weighting(products_TT) / len(products_TT)


WEIGHTINGS: dict[str, Callable[[], Callable[[torch.Tensor], torch.Tensor]]] = {
    "upgrad": lambda: UPGradWeighting(projector=_Cone()),
    "mgda": MGDAWeighting,
    "pcgrad": lambda: _mean(PCGradWeighting()),
}
