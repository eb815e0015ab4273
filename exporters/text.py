"""Around an encoder of texts: windows become rows, tokens are averaged, windows are averaged by their tokens.

Promises that what is masked changes nothing, so that neither the batch nor the filling up shows in a feature. Knows
nothing of tokenizers or of where an encoder comes from.

Legend: B batch, W windows, L tokens of a window, D features.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch

from core.modality.text import IDS, MASK
from core.types import Input

Pooling = Literal["mean", "cls"]

_LEAST = 1e-9  # what is divided by where nothing is masked in


def inputs() -> dict[str, Input]:
    """The inputs of a backbone that reads texts: any number of windows, any length."""
    return {name: Input((None, None), np.dtype(np.int64)) for name in (IDS, MASK)}


class Windowed(torch.nn.Module):
    """An encoder, (N, L) ids and mask to (N, L, D) states, behind windows; one vector a text, of unit length.

    What it gives may be several blocks of one width side by side, such as layers: each has unit length then.
    """

    def __init__(self, encoder: torch.nn.Module, pooling: Pooling = "mean", blocks: int = 1) -> None:
        super().__init__()
        self.encoder = encoder
        self.pooling = pooling
        self.blocks = blocks

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """(B, W, L) ids and mask to (B, D)."""
        batch, windows, length = input_ids.shape
        ids_NL, mask_NL = input_ids.reshape(-1, length), attention_mask.reshape(-1, length)
        first_L = (torch.arange(length, device=mask_NL.device) == 0).to(mask_NL.dtype)
        seen_NL = torch.maximum(mask_NL, first_L)  # attention over nothing at all would not be a number
        states_NLD = self.encoder(ids_NL, seen_NL)
        if self.pooling == "cls":
            pooled_ND = states_NLD[:, 0]
        else:
            weight_NL1 = mask_NL.unsqueeze(-1).to(states_NLD.dtype)
            pooled_ND = (states_NLD * weight_NL1).sum(dim=1) / weight_NL1.sum(dim=1).clamp(min=_LEAST)
        tokens_BW1 = attention_mask.sum(dim=2, keepdim=True).to(states_NLD.dtype)
        text_BD = (pooled_ND.reshape(batch, windows, -1) * tokens_BW1).sum(dim=1)
        parts = text_BD.reshape(batch, self.blocks, -1) if self.blocks > 1 else text_BD
        out: torch.Tensor = parts / parts.norm(dim=parts.ndim - 1, keepdim=True).clamp(min=_LEAST)
        return out.flatten(1) if self.blocks > 1 else out
