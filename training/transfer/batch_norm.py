"""Statistics of batch normalisation measured on the target: contrast, brightness and style are evened out.

When to use: always worth a try with a convolutional backbone where pictures look alike in content and differ in style;
it takes one pass. Limit: backbones with batch normalisation; with few inputs the statistics of the source are better
known, so that both are mixed as if those had come from ``PRIOR`` inputs.

Reference: Li et al., "Revisiting batch normalization for practical domain adaptation", arXiv 1603.04779; Schneider et
al., arXiv 2006.16971 (the mixture).
"""

from __future__ import annotations

import torch

from training.assemble import Assembly
from training.situation import Situation, bodies, moved, norms

PRIOR = 256


def adapt(situation: Situation) -> Assembly:
    """The graph with the statistics of the target's inputs."""
    backbone, body, _ = bodies(situation, "batch_norm")
    measure(situation, body, backbone.name)
    return moved(situation, backbone, body, "batch_norm")


def measure(situation: Situation, body: torch.nn.Module, name: str) -> None:
    """Set every layer's statistics, in place: each layer sees what the layers before it make with theirs of a batch."""
    found = norms(body, name)
    before = [(_copy(norm.running_mean), _copy(norm.running_var)) for norm in found]
    for norm in found:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over batches
    body.eval()
    for norm in found:
        norm.train()
    with torch.no_grad():
        for places in situation.order():
            body(**situation.inputs(places))
    share = len(situation.target) / (len(situation.target) + PRIOR)
    for norm, (mean, variance) in zip(found, before, strict=True):
        _copy_into(norm.running_mean, mean, share)
        _copy_into(norm.running_var, variance, share)
    body.eval()


def _copy(values: torch.Tensor | None) -> torch.Tensor:
    assert values is not None, "norms() gives layers with statistics"
    return values.clone()


def _copy_into(held: torch.Tensor | None, before: torch.Tensor, share: float) -> None:
    assert held is not None, "norms() gives layers with statistics"
    held.copy_(torch.lerp(before, held, share))
