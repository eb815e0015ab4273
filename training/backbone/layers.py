"""What every stage of a network of pictures sees, beside its last features: ``layers:NAME`` of another backbone.

When to use: pictures of another kind than those that the backbone was trained on (drawings, scans, other sensors):
edges and textures, which the last layer has forgotten, tell classes apart there. Limit: some 40 % more features, and
nothing to gain on pictures that it was trained for; name it beside the plain one, and leave-one-out chooses.
Promises the same network, run once. Knows nothing of selection or export.

Means over the picture of five stages and the last features; of each the absolute sum is 1, so that signed square roots
have unit length and no stage drowns another. Reference: Evci et al., "Head2Toe", arXiv 2201.03529.

>>> [row.name for row in names()]
['layers:efficientnet_lite0']
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import InvalidInput
from training.zoo import Row, Setting

if TYPE_CHECKING:
    from exporters.backbone import Backbone

_LISTED = "efficientnet_lite0"
_STAGES = 512  # means of the stages of the listed one


def names() -> tuple[Row, ...]:
    """Of the default backbone alone, whether or not its package is installed here; all others of timm's load, too."""
    from training.backbone import packaged

    (plain,) = (row for row in packaged.names() if row.name == _LISTED)
    return (replace(plain, name=f"layers:{plain.name}", dimension=plain.dimension + _STAGES),)


def examples(folder: Path) -> tuple[tuple[str, Setting], ...]:
    """Of the default backbone, and of timm's smallest convolutional and transformer models."""
    from training.backbone import timm

    small = tuple((f"timm:{name}", setting) for name, setting in timm.examples(folder))
    return ((_LISTED, Setting(size=96)), *small)


def plain(name: str) -> str:
    """The backbone itself."""
    return name


def load(name: str, setting: Setting) -> Backbone:
    """The backbone ``name`` with its stages.

    Raises:
        InvalidInput: it is no model of timm's, or has no stages; LookupError, LeptonError: as the zoo for ``name``.
    """
    import torch

    from exporters.backbone import Normalised
    from exporters.stages import Stages
    from training import zoo

    whole = zoo.load(name, setting)
    body = whole.body
    if not isinstance(body, Normalised) or not hasattr(body.model, "forward_intermediates"):
        raise InvalidInput(
            f"{name} is no network of pictures whose stages are known",
            "give one of timm's (timm:NAME), or a packaged one (efficientnet_lite0)",
        )
    body.model = Stages(body.model).eval()
    try:
        with torch.inference_mode():
            width = body(torch.zeros(1, setting.side, setting.side, 3, dtype=torch.uint8)).shape[1]
    except Exception as error:  # timm's models raise what they please
        raise InvalidInput(
            f"the stages of {name} at {setting.side} pixels cannot be read: {str(error)[:300]}",
            f"take it without (--backbone {name}), or give another size",
        ) from error
    return replace(
        whole,
        name=f"layers:{whole.name}",
        digest=hashlib.sha256(f"stages/1 {whole.digest}".encode()).hexdigest(),
        dimension=int(width),
    )
