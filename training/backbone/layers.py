"""What the layers of a network see, beside its last features: ``layers:NAME`` of another backbone.

When to use: data of another kind than what the backbone was trained for. Pictures such as drawings, scans or those of
other sensors: edges and textures, which the last layer has forgotten, tell classes apart there. Texts that are sorted
by anything but their subject, such as whether they praise: encoders of sentences keep what a text is about. Limit:
more features (of pictures some 40 %, of texts four times as many); of fewer than some 200 pictures points to lose where
they are what the backbone was trained for, of texts less than by last features where there are names of labels and no
examples. Promises the same network, run once. Knows nothing of selection or export.

Of pictures the means of five stages and the last features; of each the absolute sum is 1, so that signed square roots
have unit length and no stage drowns another. Of texts four layers of the upper half, pooled as the last one, each of
unit length. Reference: Evci et al., "Head2Toe", arXiv 2201.03529; Jawahar et al., "What does BERT learn about the
structure of language?", ACL 2019.

>>> [row.name for row in names()]
['layers:efficientnet_lite0', 'layers:minilm']
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import InvalidInput
from training.zoo import Row, Setting

if TYPE_CHECKING:
    from exporters.backbone import Backbone

_MORE = {"efficientnet_lite0": 512, "minilm": 3 * 384}  # features that are listed, beside the last ones
_ENCODERS = ("minilm", "transformers")  # of texts
_ENOUGH = 200  # labelled pictures


def names() -> tuple[Row, ...]:
    """Of the default backbones alone, whether or not their packages are installed here; others load, too."""
    from training.backbone import minilm, packaged

    plain = [row for row in (*packaged.names(), *minilm.names()) if row.name in _MORE]
    return tuple(replace(row, name=f"layers:{row.name}", dimension=row.dimension + _MORE[row.name]) for row in plain)


def examples(folder: Path) -> tuple[tuple[str, Setting], ...]:
    """Of timm's smallest convolutional and transformer models, and of a small encoder of texts."""
    from training.backbone import timm, transformers

    sees = [(f"timm:{name}", setting) for name, setting in timm.examples(folder)]
    reads = [(f"transformers:{name}", setting) for name, setting in transformers.examples(folder)[:1]]
    return (*sees, *reads)


def plain(name: str) -> str:
    """The backbone itself."""
    return name


def first(name: str) -> int:
    """Labelled rows from which on layers go first: of texts any, which they tell better wherever there are examples; of
    pictures as many as their columns need before they tell more than they blur (docs/benchmarks/layers.md)."""
    return 0 if name.partition(":")[0] in _ENCODERS else _ENOUGH


def load(name: str, setting: Setting) -> Backbone:
    """The backbone ``name`` with its layers.

    Raises:
        InvalidInput: its layers are not known, or cannot be read; LookupError, LeptonError: as the zoo for ``name``.
    """
    from training import zoo

    whole = zoo.load(name, setting)
    kind = _deepen(whole)
    if kind is None:
        raise InvalidInput(
            f"{name} is no network whose layers are known",
            "give one of timm's or transformers' (timm:NAME, transformers:FOLDER), or a packaged one "
            f"({' or '.join(_MORE)})",
        )
    return replace(
        whole,
        name=f"layers:{whole.name}",
        digest=hashlib.sha256(f"{kind}/1 {whole.digest}".encode()).hexdigest(),
        dimension=_width(whole, kind),
    )


def _deepen(whole: Backbone) -> str | None:
    """Let the body give its layers, too; what they are called, or None where they are not known."""
    from exporters.backbone import Normalised
    from exporters.stages import Stages
    from exporters.text import Windowed
    from training.encoder import Layers, States

    body = whole.body
    if isinstance(body, Normalised) and hasattr(body.model, "forward_intermediates"):
        body.model = Stages(body.model).eval()
        return "stages"
    if isinstance(body, Windowed) and isinstance(body.encoder, States) and _has_depth(body.encoder.model):
        body.encoder = Layers(body.encoder.model).eval()
        body.blocks = len(body.encoder.places)
        return "layers"
    return None


def _has_depth(model: Any) -> bool:
    return isinstance(getattr(model.config, "num_hidden_layers", None), int)


def _width(whole: Backbone, kind: str) -> int:
    """How many features the body gives.

    Raises:
        InvalidInput: it gives none.
    """
    import torch

    nothing = {
        name: torch.from_numpy(np.zeros((1, *(size or 1 for size in given.shape)), given.dtype))
        for name, given in whole.inputs.items()
    }
    try:
        with torch.inference_mode():
            return int(whole.body(**nothing).shape[1])  # type: ignore[operator]
    except Exception as error:  # models raise what they please
        raise InvalidInput(
            f"the {kind} of {whole.name} cannot be read: {str(error)[:300]}",
            f"take it without (--backbone {whole.zoo_name}), or give another size",
        ) from error
