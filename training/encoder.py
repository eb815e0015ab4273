"""An encoder of texts from a folder in the layout of transformers: config.json, safetensors, tokenizer.json.

Promises that nothing is pickled, nothing is fetched, and no code of the folder runs. Knows nothing of hubs or names.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from core.errors import InvalidInput
from core.modality.text import FILE, TOKENIZER, Reading
from exporters.backbone import Backbone
from exporters.text import Pooling, Windowed, inputs

CONFIG = "config.json"
_POOLING = Path("1_Pooling") / "config.json"  # of sentence-transformers: which of its ways of pooling was trained
_LENGTHS = ("sentence_bert_config.json", "tokenizer_config.json")
_LONGEST, _SHORTEST = 256, 8  # tokens of a window: longer ones cost their square
_OVERLAP = 32  # tokens that two windows share
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


def load(folder: Path, *, name: str, source: str, licence: str, pooling: Pooling | None = None) -> Backbone:
    """The encoder in ``folder``; ``pooling`` None follows the folder, else the mean.

    Raises:
        InvalidInput: a file is missing, or is not of an encoder that this version of transformers knows.
    """
    files = _files(folder, name)
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
    digest = hashlib.sha256(b"".join(hashlib.sha256(path.read_bytes()).digest() for path in files))
    return Backbone(
        name=name,
        source=source,
        modality="text",
        digest=digest.hexdigest(),
        licence=licence,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        dimension=int(model.config.hidden_size),
        inputs=inputs(),
        files={TOKENIZER: (folder / TOKENIZER).read_bytes(), FILE: reading.to_bytes()},
        body=Windowed(States(model), pooling or _pooling(folder)).eval(),
        transform="l2",
    )


def _files(folder: Path, name: str) -> list[Path]:
    weights = sorted(folder.glob("*.safetensors"))
    missing = [file for file in (CONFIG, TOKENIZER) if not (folder / file).is_file()]
    missing += [] if weights else ["*.safetensors"]
    if missing:
        raise InvalidInput(
            f"{name}: {folder.name} has no {' and no '.join(missing)}",
            "save the model with save_pretrained(FOLDER, safe_serialization=True) and its fast tokenizer beside it",
        )
    return [folder / CONFIG, folder / TOKENIZER, *weights]


def _model(folder: Path) -> Any:
    """The encoder alone; of a model of text and pictures, the half that reads."""
    import transformers

    library: Any = transformers  # its signatures are looser than its behaviour
    library.logging.set_verbosity_error()
    library.logging.disable_progress_bar()
    options = {"local_files_only": True, "trust_remote_code": False}
    config = library.AutoConfig.from_pretrained(folder, **options)
    halves = {"clip": "CLIPTextModel", "clip_text_model": "CLIPTextModel"}
    halves |= {"siglip": "SiglipTextModel", "siglip_text_model": "SiglipTextModel"}
    kind = getattr(library, halves.get(config.model_type, "AutoModel"))
    extra = {"add_pooling_layer": False} if config.model_type in {"bert", "roberta", "xlm-roberta", "mpnet"} else {}
    model, found = kind.from_pretrained(
        folder,
        use_safetensors=True,
        attn_implementation="eager",
        dtype=torch.float32,
        output_loading_info=True,
        **extra,
        **options,
    )
    missing = sorted(found["missing_keys"])
    if missing:  # transformers would fill them with random numbers, and say so in a log alone
        raise ValueError(f"the weights lack {len(missing)} tensors, among them {missing[0]}")
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
