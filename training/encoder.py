"""An encoder of texts from a folder in the layout of transformers: config.json, safetensors, tokenizer.json.

Promises that nothing is pickled, nothing is fetched, and no code of the folder runs. Knows nothing of hubs or names.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from core.errors import InvalidInput
from core.modality.text import FILE, TOKENIZER, Reading
from exporters.backbone import Backbone
from exporters.text import Pooling, Windowed, inputs
from training import saved
from training.saved import CONFIG

_POOLING = Path("1_Pooling") / "config.json"  # of sentence-transformers: which of its ways of pooling was trained
_LENGTHS = ("sentence_bert_config.json", "tokenizer_config.json")
_LONGEST, _SHORTEST = 256, 8  # tokens of a window: longer ones cost their square
_OVERLAP = 32  # tokens that two windows share
_MOST = 4  # layers side by side
_OFFSET = 2  # positions that RoBERTa's kind leaves unused


class States(torch.nn.Module):
    """A model of transformers as a function of ids and mask alone."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(N, L) int64 each to (N, L, D)."""
        states: torch.Tensor = self.model(input_ids=ids, attention_mask=mask, return_dict=True).last_hidden_state
        return states


class Layers(torch.nn.Module):
    """The same of several layers side by side: of the upper half, evenly spaced, the last one among them."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        depth = int(model.config.num_hidden_layers)
        self.places = sorted(set(np.linspace(depth / 2, depth, _MOST).round().astype(int).tolist()))

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """(N, L) int64 each to (N, L, D) with D the widths of all."""
        told = self.model(input_ids=ids, attention_mask=mask, output_hidden_states=True, return_dict=True)
        below = [told.hidden_states[place] for place in self.places[:-1]]
        return torch.cat([*below, told.last_hidden_state], 2)


def load(folder: Path, *, name: str, source: str, licence: str, pooling: Pooling | None = None) -> Backbone:
    """The encoder in ``folder``; ``pooling`` None follows the folder, else the mean.

    Raises:
        InvalidInput: a file is missing, or is not of an encoder that this version of transformers knows.
    """
    files = [folder / CONFIG, folder / TOKENIZER, *saved.weights(folder, name, (CONFIG, TOKENIZER))]
    try:
        model = _model(folder)
    except Exception as error:  # transformers raises whatever its models' code leads it into
        raise InvalidInput(
            f"{name} cannot be loaded from {folder.name}: {str(error)[:300]}",
            "give a folder of a text encoder (BERT, RoBERTa, DistilBERT, MPNet, CLIP text …) saved as safetensors",
        ) from error
    tokens = _longest(folder, model.config)
    pad = int(getattr(model.config, "pad_token_id", None) or 0)
    reading = Reading(tokens=tokens, overlap=min(_OVERLAP, tokens // 4), pad=pad)
    return Backbone(
        name=name,
        source=source,
        modality="text",
        digest=saved.digest(files),
        licence=licence,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        dimension=int(model.config.hidden_size),
        inputs=inputs(),
        files={TOKENIZER: (folder / TOKENIZER).read_bytes(), FILE: reading.to_bytes()},
        body=Windowed(States(model), pooling or _pooling(folder)).eval(),
        transform="l2",
    )


def _model(folder: Path) -> Any:
    """The encoder alone; of a model of text and pictures, the half that reads."""
    config = saved.config(folder)
    halves = {"clip": "CLIPTextModel", "clip_text_model": "CLIPTextModel"}
    halves |= {"siglip": "SiglipTextModel", "siglip_text_model": "SiglipTextModel"}
    plain = config.model_type in {"bert", "roberta", "xlm-roberta", "mpnet"}
    more: dict[str, Any] = {"add_pooling_layer": False} if plain else {}
    model = saved.model(halves.get(config.model_type, "AutoModel"), folder, **more)
    if getattr(config, "is_encoder_decoder", False):
        raise ValueError(f"{config.model_type} also has a decoder; expected an encoder alone")
    return model


def _longest(folder: Path, config: Any) -> int:
    """Tokens of a window: what the model was trained on, at most 256."""
    known = [int(getattr(config, "max_position_embeddings", _LONGEST))]
    if config.model_type in {"roberta", "xlm-roberta", "mpnet", "camembert"}:
        known[0] -= _OFFSET
    for file, key in zip(_LENGTHS, ("max_seq_length", "model_max_length"), strict=True):
        value = _stated(folder / file).get(key)
        if isinstance(value, int):
            known.append(value)
    return max(_SHORTEST, min(_LONGEST, *known))


def _pooling(folder: Path) -> Pooling:
    return "cls" if _stated(folder / _POOLING).get("pooling_mode_cls_token") is True else "mean"


def _stated(file: Path) -> dict[str, Any]:
    try:
        told = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
