"""A model of pictures and texts, from a folder in the layout of transformers, as two backbones into one space.

Promises that a picture and a text that mean the same lie near each other in what the two give (as near as the model was
trained to bring them), that nothing is pickled or fetched, and that no code of the folder runs. Knows nothing of hubs
or names.

Source: CLIP, Radford et al., arXiv 2103.00020; SigLIP, Zhai et al., arXiv 2303.15343.

Legend: B batch, L tokens, D features.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from core.errors import InvalidInput
from core.modality.text import FILE, TOKENIZER, Reading
from exporters.backbone import Backbone, Normalised, pictures
from exporters.text import Windowed, inputs
from training import saved
from training.saved import CONFIG

KINDS = ("clip", "siglip")
PIXELS = "preprocessor_config.json"

_MEANS = {"clip": (0.48145466, 0.4578275, 0.40821073), "siglip": (0.5, 0.5, 0.5)}  # where the folder states none
_DEVIATIONS = {"clip": (0.26862954, 0.26130258, 0.27577711), "siglip": (0.5, 0.5, 0.5)}
_PIXEL = 255.0
_SHORTEST = 8  # tokens of a window


class Sees(torch.nn.Module):
    """The half that sees, and what takes it into the shared space."""

    def __init__(self, tower: torch.nn.Module, projection: torch.nn.Module) -> None:
        super().__init__()
        self.tower = tower
        self.projection = projection

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Normalised (B, 3, H, W) to (B, D)."""
        out: torch.Tensor = self.projection(self.tower(pixel_values=pixels).pooler_output)
        return out


class Reads(torch.nn.Module):
    """The half that reads; ``length`` is given where every text was filled up to it in training, unmasked."""

    def __init__(self, tower: torch.nn.Module, projection: torch.nn.Module, length: int | None, pad: int) -> None:
        super().__init__()
        self.tower = tower
        self.projection = projection
        self.length = length
        self.pad = pad

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(B, L) ids and mask to (B, 1, D): one state that stands for all tokens."""
        if self.length is None:
            pooled_BD = self.tower(input_ids=ids, attention_mask=mask).pooler_output
        else:
            filled = torch.full_like(ids[:, :1], self.pad).expand(-1, self.length)
            whole = torch.cat([torch.where(mask > 0, ids, self.pad), filled], dim=1)[:, : self.length]
            pooled_BD = self.tower(input_ids=whole).pooler_output
        out: torch.Tensor = self.projection(pooled_BD).unsqueeze(1)
        return out


@dataclass(frozen=True, kw_only=True)
class _Origin:
    """What both halves tell of where they come from."""

    name: str
    source: str
    licence: str
    digest: str


def load(folder: Path, *, name: str, source: str, licence: str) -> tuple[Backbone, Backbone]:
    """The half that sees and the half that reads.

    Raises:
        InvalidInput: a file is missing, or they are not of a model of pictures and texts that is known here.
    """
    weights = saved.weights(folder, name, (CONFIG, TOKENIZER))
    stated = [folder / PIXELS] if (folder / PIXELS).is_file() else []
    try:
        model = _model(folder)
        seen, deviations = _pixels(folder, model.config.model_type)
    except Exception as error:  # transformers raises whatever its models' code leads it into
        raise InvalidInput(
            f"{name} cannot be loaded from {folder.name}: {str(error)[:300]}",
            f"give a model of pictures and texts ({', '.join(KINDS)}) saved as safetensors",
        ) from error
    digest = saved.digest([folder / CONFIG, folder / TOKENIZER, *stated, *weights])
    origin = _Origin(name=name, source=source, licence=licence, digest=digest)
    return _sees(model, origin, seen, deviations), _reads(model, origin, (folder / TOKENIZER).read_bytes())


def _sees(model: Any, origin: _Origin, mean: tuple[float, ...], deviation: tuple[float, ...]) -> Backbone:
    clip = model.config.model_type == "clip"
    body = Sees(model.vision_model, model.visual_projection if clip else torch.nn.Identity())
    side = int(model.config.vision_config.image_size)
    return Backbone(
        **vars(origin),
        modality="image",
        parameters=sum(parameter.numel() for parameter in body.parameters()),
        dimension=int(model.config.projection_dim if clip else model.config.vision_config.hidden_size),
        inputs=pictures((side, side)),
        body=Normalised(body, mean, deviation).eval(),
        transform="l2",
    )


def _reads(model: Any, origin: _Origin, tokenizer: bytes) -> Backbone:
    config = model.config.text_config
    clip = model.config.model_type == "clip"
    pad = int(config.pad_token_id or 0)
    tokens = int(config.max_position_embeddings)
    projection = model.text_projection if clip else torch.nn.Identity()
    body = Reads(model.text_model, projection, None if clip else tokens, pad)
    return Backbone(
        **vars(origin),
        modality="text",
        parameters=sum(parameter.numel() for parameter in body.parameters()),
        dimension=int(model.config.projection_dim if clip else config.projection_size),
        inputs=inputs(),
        files={TOKENIZER: tokenizer, FILE: Reading(tokens=tokens, overlap=0, pad=pad).to_bytes()},
        body=Windowed(body, "cls").eval(),
        transform="l2",
    )


def _model(folder: Path) -> Any:
    config = saved.config(folder)
    if config.model_type not in KINDS:
        raise ValueError(f"it is a {config.model_type}")
    if config.text_config.max_position_embeddings < _SHORTEST:
        raise ValueError(f"it reads {config.text_config.max_position_embeddings} tokens; expected {_SHORTEST} or more")
    return saved.model("AutoModel", folder)


def _pixels(folder: Path, kind: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each channel, in pixel units."""
    file = folder / PIXELS
    stated = json.loads(file.read_bytes()) if file.is_file() else {}
    found = []
    for key, usual in (("image_mean", _MEANS[kind]), ("image_std", _DEVIATIONS[kind])):
        values = tuple(float(value) * _PIXEL for value in stated.get(key, usual))
        if len(values) != len(usual):
            raise ValueError(f"{PIXELS}: {key} has {len(values)} values; expected {len(usual)}")
        found.append(values)
    if min(found[1]) <= 0:
        raise ValueError(f"{PIXELS}: image_std holds a value that is not above 0")
    return found[0], found[1]
