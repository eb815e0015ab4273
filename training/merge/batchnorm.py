"""BatchNorm's statistics, estimated again: those of an average are not the average of those.

Promises that nothing but running means, variances and counts is touched. Knows nothing of how weights were fused.

Reference: Izmailov et al., "Averaging weights leads to wider optima and better generalization", arXiv 1803.05407, 3.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from training.merge.weights import State, is_statistic

Tensors = Mapping[str, torch.Tensor]


def differ(states: Sequence[State]) -> bool:
    """Whether models saw different statistics. Where they were frozen they are the same, and are what weights fit."""
    named = [name for name in states[0] if is_statistic(name) and states[0][name].is_floating_point()]
    return any(not torch.equal(state[name], states[0][name]) for state in states[1:] for name in named)


@torch.no_grad()
def estimate(body: torch.nn.Module, batches: Iterable[Tensors]) -> None:
    """Set the statistics to those of the batches, each counting alike; a module without BatchNorm stays as it is."""
    norms = [module for module in body.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    body.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over all batches
        norm.train()
    for batch in batches:
        body(**batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    body.eval()
