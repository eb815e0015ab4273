"""A backbone of pictures behind a linear layer that makes its features fewer.

Promises that the layer begins as the directions in which the features of the rows that it is shown vary most, so that
little is lost before anything is tuned; and that it is one more layer to every recipe. A narrower head is solved and
swapped in less time, and is smaller. Knows nothing of recipes.

Legend: N rows, D features, W features that are left.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from core.preprocess import Limits, modality
from core.types import Doubles, Example
from exporters.backbone import Backbone
from training.assemble import batches
from training.tune.network import torch_body


class Narrow(torch.nn.Module):
    """Features of a model, made fewer."""

    def __init__(self, model: torch.nn.Module, layer: torch.nn.Linear) -> None:
        super().__init__()
        self.model, self.layer = model, layer

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """uint8 (B, H, W, 3) to (B, W)."""
        narrow: torch.Tensor = self.layer(self.model(image=image).float())
        return narrow


def narrowed(base: Backbone, width: int, examples: Sequence[Example], limits: Limits, seed: int) -> Backbone:
    """``base`` with ``width`` features, fewer than it has; the weights of the layer follow the examples.

    Raises:
        InvalidInput: the backbone is no torch model.
    """
    assert 0 < width < base.dimension, (width, base.dimension)
    body = torch_body(base)
    preprocessor = modality(base.modality).preprocessor(base.inputs, base.files, limits)
    with torch.no_grad():
        parts = [
            body(**{name: torch.from_numpy(array) for name, array in part.items()}).double().numpy()
            for part in batches(preprocessor, examples)
        ]
    raw_ND = np.concatenate(parts)
    axes_DW = directions(raw_ND, width, seed)
    layer = torch.nn.Linear(base.dimension, width)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(axes_DW.T))
        layer.bias.copy_(torch.from_numpy(-raw_ND.mean(axis=0) @ axes_DW))
    told = hashlib.sha256(f"{base.digest} {width}".encode())
    told.update(layer.weight.detach().numpy().tobytes() + layer.bias.detach().numpy().tobytes())
    return replace(
        base,
        source=f"{base.source}, narrowed to {width} features",
        digest=told.hexdigest(),
        parameters=base.parameters + (base.dimension + 1) * width,
        dimension=width,
        body=Narrow(body, layer).eval(),
        transform="l2",  # centred features lie near zero, where a square root would enlarge what is rounding
        zoo_name="",
    )


def directions(raw_ND: Doubles, width: int, seed: int) -> Doubles:
    """(D, W) orthonormal: the principal axes of the rows, then, where rows are too few, random ones.

    >>> directions(np.array([[0.0, 3.0], [0.0, -3.0]]), 1, 0).round(6).tolist() in ([[0.0], [1.0]], [[0.0], [-1.0]])
    True
    """
    _, sizes, axes = np.linalg.svd(raw_ND - raw_ND.mean(axis=0), full_matrices=False)
    found_DW = axes[: min(width, int((sizes > 1e-9 * max(sizes[0], 1e-30)).sum()))].T
    more = np.random.default_rng(seed).standard_normal((raw_ND.shape[1], width - found_DW.shape[1]))
    made_DW: Doubles = np.linalg.qr(np.hstack([found_DW, more]))[0]
    return made_DW
