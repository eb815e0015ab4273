"""A backbone with its transform and a head, as one torch module that is trained.

Promises the features that the served graph gives, to rounding, but for one thing: the signed square root is a straight
line below 1e-5, where its slope would grow without bound. Knows nothing of losses or data.

Legend: B batch, D features, K classes (1 for regression) of all tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch

from core.errors import InvalidInput
from core.types import Floats, Head
from exporters.backbone import Backbone
from exporters.transform import Transform
from training.tune import columns

_BEND = 1e-5  # below it the square root is a line
_LEAST = 1e-6  # smallest norm that is divided by, as in exporters.transform

Tensors = Mapping[str, torch.Tensor]


class Answer(NamedTuple):
    """Scaled features (B, D) and scores (B, K): logits, or standardised values."""

    features_BD: torch.Tensor
    scores_BK: torch.Tensor


class Network(torch.nn.Module):
    """``body``, then ``transform``, then dropout and a linear head that begins as ``head``, of all its tasks.

    Args:
        spreads: of each task the standard deviation of regression targets on the head's scale, so that scores have unit
            variance; 1 for classification, and where they are left out.
    """

    def __init__(
        self,
        body: torch.nn.Module,
        transform: Transform,
        head: Head,
        *,
        dropout: float = 0.0,
        spreads: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.body = body
        self.scale = Scale(transform)
        self.dropout = torch.nn.Dropout(dropout)
        self._start, self._spreads = head, tuple(spreads or (1.0,) * (1 + len(head.further)))
        weight_KD, bias_K = columns.side_by_side(head, self._spreads)
        self.head = torch.nn.Linear(weight_KD.shape[1], len(weight_KD))
        with torch.no_grad():
            self.head.weight.copy_(torch.from_numpy(weight_KD))
            self.head.bias.copy_(torch.from_numpy(bias_K))

    def forward(self, inputs: Tensors) -> Answer:
        """Inputs by name to features and scores."""
        features_BD = self.scale(self.body(**inputs).float())
        return Answer(features_BD, self.head(self.dropout(features_BD)))

    def trained_head(self) -> Head:
        """The head as it is now, on the scale of the one that it began as."""
        weight_KD, bias_K = (part.detach().cpu().numpy() for part in (self.head.weight, self.head.bias))
        return columns.apart(weight_KD, bias_K, self._start, self._spreads)


class Scale(torch.nn.Module):
    """A transform of exporters.transform, in torch."""

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        self.kind, self.clip = transform.kind, transform.clip
        self.mean_D: torch.Tensor
        self.deviation_D: torch.Tensor
        self.register_buffer("mean_D", _constant(transform.mean_D, 0.0), persistent=False)
        self.register_buffer("deviation_D", _constant(transform.deviation_D, 1.0), persistent=False)

    def forward(self, raw_BD: torch.Tensor) -> torch.Tensor:
        """(B, D) to (B, D)."""
        if self.kind == "standardised":
            return ((raw_BD - self.mean_D) / self.deviation_D / self.clip).clamp(-1.0, 1.0)
        if self.kind == "as_is":
            return raw_BD.clamp(-1.0, 1.0)
        if self.kind == "sqrt_l2":
            size_BD = raw_BD.abs()
            bent_BD = torch.where(size_BD < _BEND, size_BD / _BEND**0.5, size_BD.clamp(min=_BEND).sqrt())
            raw_BD = raw_BD.sign() * bent_BD
        unit_BD: torch.Tensor = raw_BD / raw_BD.norm(dim=1, keepdim=True).clamp(min=_LEAST)
        return unit_BD


def torch_body(backbone: Backbone) -> torch.nn.Module:
    """A backbone's torch module.

    Raises:
        InvalidInput: it is an ONNX graph, whose weights stay.
    """
    if not isinstance(backbone.body, torch.nn.Module):
        raise InvalidInput(
            f"{backbone.name} is an ONNX graph, whose weights cannot be tuned",
            "use --recipe closed_form, or a backbone of torch (efficientnet_lite0, timm:NAME, minilm, …)",
        )
    return backbone.body


def _constant(values_D: Floats | None, otherwise: float) -> torch.Tensor:
    return torch.tensor(otherwise) if values_D is None else torch.from_numpy(values_D.astype(np.float32))
