"""Tuned weights kept as bytes, and the backbone built again from them: one file of safetensors, no pickle.

Promises that what ``restore`` and ``from_bytes`` give computes what was kept. Knows nothing of recipes, versions or
graphs.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from core.artifacts import Artifacts
from core.errors import InvalidInput
from exporters.backbone import Backbone
from training import zoo
from training.zoo import Setting

_FILE = "file/"  # prefix of what is no weight, but a file of the preprocessor, such as a table's schema


def digest(backbone: Backbone) -> str:
    """SHA-256 (hex) of the weights as they are now, and of nothing else."""
    told = hashlib.sha256()
    for name, tensor in sorted(_state(backbone).items()):
        told.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        told.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return told.hexdigest()


def keep(artifacts: Artifacts, backbone: Backbone) -> str:
    """Write the weights of a torch backbone of the zoo; returns the blob's SHA-256."""
    return artifacts.put(to_bytes(backbone))


def to_bytes(backbone: Backbone) -> bytes:
    """The weights of a torch backbone of the zoo, and all that is needed to build it again."""
    assert backbone.zoo_name, f"{backbone.name} does not come from the zoo"
    size = backbone.size[0] if "image" in backbone.inputs else None
    told = {"zoo_name": backbone.zoo_name, "recipe": backbone.recipe, "source": backbone.source, "size": size}
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in _state(backbone).items()}
    tensors |= {
        _FILE + name: torch.from_numpy(np.frombuffer(data, np.uint8).copy()) for name, data in backbone.files.items()
    }
    return save_tensors(tensors, {"lepton": json.dumps(told, sort_keys=True)})


def restore(artifacts: Artifacts, blob: str) -> Backbone:
    """The backbone whose weights ``keep`` wrote.

    Raises:
        NotFound: the blob is gone; InvalidInput: as ``from_bytes``.
    """
    return from_bytes(artifacts.get(blob), f"blob {blob[:12]}")


def from_bytes(data: bytes, named: str, size: int | None = None) -> Backbone:
    """The backbone that ``to_bytes`` wrote, for pictures of another size where one is given; ``named`` in messages.

    Raises:
        InvalidInput: it holds no weights that ``to_bytes`` wrote, or the architecture is another now.
    """
    try:
        told, tensors = _told(data), load_tensors(data)
        files = {
            name.removeprefix(_FILE): tensors.pop(name).numpy().tobytes()
            for name in list(tensors)
            if name.startswith(_FILE)
        }
        base = zoo.load(told["zoo_name"], Setting(size=size or told["size"], files=files))
        assert isinstance(base.body, torch.nn.Module), f"{base.name} is no torch model"
        base.body.load_state_dict(tensors, strict=True)
    except (SafetensorError, ValueError, LookupError, TypeError, RuntimeError, AssertionError) as error:
        raise InvalidInput(
            f"{named} cannot be made a backbone again: {str(error)[:300]}",
            "use the version of Lepton and of its packages that tuned it, or tune again",
        ) from error
    made = replace(base, recipe=told["recipe"], source=told["source"])
    return replace(made, digest=digest(made))


def named(artifacts: Artifacts, blob: str) -> str:
    """What the zoo calls the backbone whose weights ``keep`` wrote.

    Raises:
        NotFound: the blob is gone.
    """
    return str(_told(artifacts.get(blob))["zoo_name"])


def moved(base: Backbone, body: torch.nn.Module, recipe: str) -> Backbone:
    """``base`` with the weights that a recipe gave it."""
    made = replace(base, body=body.eval(), recipe=recipe, source=f"{base.source}, tuned ({recipe})")
    return replace(made, digest=digest(made))


def _state(backbone: Backbone) -> dict[str, torch.Tensor]:
    assert isinstance(backbone.body, torch.nn.Module), f"{backbone.name} is no torch model"
    return dict(backbone.body.state_dict())


def _told(data: bytes) -> dict[str, Any]:
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    held: dict[str, Any] = json.loads(header["__metadata__"]["lepton"])
    return held
