"""The layers of a backbone by depth: which are trained, and how fast.

Promises an order from the input to the features that covers every parameter once: timm's own for timm's models,
otherwise by the numbered blocks in the names of parameters (``encoder.layer.3…``); what lies between two blocks is a
layer of its own. Knows nothing of data.

Layer-wise decay of the rate: Howard and Ruder, arXiv 1801.06146; Clark et al., arXiv 2003.10555.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any

import torch
from torch.nn.modules.batchnorm import _BatchNorm

Group = dict[str, Any]


def layers(body: torch.nn.Module) -> list[list[str]]:
    """Names of parameters, layer by layer."""
    sorter = next(((name, m) for name, m in body.named_modules() if hasattr(m, "group_matcher")), None)
    names = [name for name, _ in body.named_parameters()]
    if sorter is None:
        return [list(group) for _, group in groupby(names, key=_block)]
    from timm.models import group_parameters

    prefix = f"{sorter[0]}." if sorter[0] else ""
    depth_of = group_parameters(sorter[1], sorter[1].group_matcher(coarse=False), reverse=True)
    after = 1 + max(depth_of.values(), default=0)  # what stands behind the model, such as a narrower layer
    depths = {name: depth_of.get(name.removeprefix(prefix), after) for name in names}
    return [[name for name in names if depths[name] == depth] for depth in sorted(set(depths.values()))]


def freeze(body: torch.nn.Module, share: float) -> int:
    """Let only the layers after the first ``share`` of them be trained, at least one; returns how many are."""
    ordered = layers(body)
    first = min(int(share * len(ordered)), len(ordered) - 1)
    trained = {name for layer in ordered[first:] for name in layer}
    for name, parameter in body.named_parameters():
        parameter.requires_grad_(name in trained)
    return len(ordered) - first


def groups(body: torch.nn.Module, factor: float, decay: float) -> list[Group]:
    """What is not frozen of the body, with its ``scale`` on the rate: each layer ``factor`` times the one above.

    Vectors (biases, norms) are not decayed.
    """
    ordered = layers(body)
    by_name = dict(body.named_parameters())
    made: list[Group] = []
    for depth, layer in enumerate(ordered):
        for flat in (False, True):
            held = [p for p in map(by_name.__getitem__, layer) if (p.ndim <= 1) == flat and p.requires_grad]
            if held:
                scale = factor ** (len(ordered) - 1 - depth)
                made.append({"params": held, "scale": scale, "weight_decay": 0.0 if flat else decay})
    return made


def steady(network: torch.nn.Module) -> None:
    """Leave the statistics of BatchNorm as they are; their scale and shift are trained all the same."""
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.eval()


def _block(name: str) -> str:
    """The name up to its first number; without one, what marks it as lying between two blocks."""
    parts = name.split(".")
    place = next((place for place, part in enumerate(parts) if part.isdigit()), None)
    return "" if place is None else ".".join(parts[: place + 1])
