"""The stages of a network of pictures as features: their means, beside the features that it ends in.

Promises blocks whose absolute values sum to 1, or to 0, in the order of the stages, the last features at the end. Knows
nothing of where networks come from.

Reference: Evci et al., "Head2Toe", arXiv 2201.03529.

Legend: B batch, C channels, H height, W width, D features.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

_MOST = 5  # stages; of a deeper network evenly spaced ones
_LEAST = 1e-6  # smallest sum that is divided by


class Stages(torch.nn.Module):
    """A model of timm, whose ``forward_intermediates`` gives what its stages see."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        depth = len(model.feature_info)
        self.places = np.linspace(0, depth - 1, min(depth, _MOST)).round().astype(int).tolist()

    def forward(self, pixels_BCHW: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) to (B, D)."""
        last, stages = self.model.forward_intermediates(pixels_BCHW, indices=self.places)
        blocks = [*(stage.mean((2, 3)) for stage in stages), self.model.forward_head(last)]
        sums = [block.abs().sum(1, keepdim=True).clamp(min=_LEAST) for block in blocks]
        return torch.cat([block / total for block, total in zip(blocks, sums, strict=True)], 1)
