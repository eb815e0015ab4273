"""Any text encoder of transformers, from a local folder or from the Hugging Face hub.

When to use: another language than English, a domain of its own (medicine, law), or a larger model than the packaged
one. Limit: encoders alone (BERT, RoBERTa, DistilBERT, MPNet, XLM-R, the reading half of CLIP and SigLIP), a fast
tokenizer and safetensors; licences differ, and a folder does not state its own. Promises that no pickle is read, that
no code of a repository runs, and an error with its remedy where there is no network. Knows nothing of selection.

A name is a folder or the hub's own (``transformers:intfloat/multilingual-e5-small``), and, where the pooling that the
model states is not wanted, ``@mean`` or ``@cls`` behind it. ``HF_HUB_OFFLINE=1`` is respected.

>>> [row.name for row in names()][0]
'transformers:sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2'
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from core.errors import InvalidInput
from training import hub
from training.hub import Known
from training.zoo import Row, Setting

if TYPE_CHECKING:
    from exporters.backbone import Backbone
    from exporters.text import Pooling


# A short list to choose from; any other encoder loads as well.
_TABLE = (
    Known("sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2", 384, 117_653_760, "Apache-2.0"),
    Known("intfloat/multilingual-e5-small", 384, 117_653_760, "MIT"),
    Known("sentence-transformers/all-mpnet-base-v2", 768, 109_486_464, "Apache-2.0"),
)
_FILES = (
    "config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "sentence_bert_config.json",
    "1_Pooling/config.json",
)
_WEIGHTS = "model.safetensors"
_NEEDED = ("config.json", "tokenizer.json", _WEIGHTS)
_REMEDY = "give a local folder (transformers:/path/to/model), or choose minilm, which is packaged"
_POOLINGS = ("mean", "cls")


def names() -> tuple[Row, ...]:
    """A short list of models worth trying, with what the hub's cache on this machine holds marked as offline."""
    return hub.rows("transformers", "text", _TABLE, _NEEDED)


def examples(folder: Path) -> tuple[tuple[str, Setting], ...]:
    """BERT and RoBERTa of two layers and 32 features, seeded, with a tokenizer of letters, written to ``folder``."""
    from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]

    sizes: dict[str, Any] = {
        "vocab_size": 128,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 66,
    }
    pairs: dict[str, tuple[Any, Any]] = {"bert": (BertConfig, BertModel), "roberta": (RobertaConfig, RobertaModel)}
    made = []
    for name, (config, kind) in pairs.items():
        place = folder / name
        _save(place, kind(config(**sizes, pad_token_id=1)), seed=0)
        made.append((f"{place}@cls" if name == "roberta" else str(place), Setting()))
    return tuple(made)


def load(name: str, setting: Setting) -> Backbone:
    """The backbone.

    Raises:
        InvalidInput: the folder holds no encoder that can be used; Unavailable: neither cached nor to be fetched.
    """
    from training import encoder

    del setting
    place, at, pooling = name.rpartition("@")
    if at and pooling not in _POOLINGS:
        raise InvalidInput(
            f"transformers:{name} asks for the pooling {pooling!r}", "write @mean or @cls, or leave it out"
        )
    place = place if at else name
    chosen = cast("Pooling", pooling) if at else None
    folder = Path(place)
    if folder.is_dir():
        shown = f"transformers:{folder.name}" + (f"@{pooling}" if at else "")
        return encoder.load(folder, name=shown, source=f"folder {folder.name}", licence="unknown", pooling=chosen)
    licence = next((known.licence for known in _TABLE if known.hub == place), "see the hub")
    fetched = hub.cached(place, _NEEDED) or hub.fetched(place, (*_FILES, _WEIGHTS), _REMEDY)
    return encoder.load(fetched, name=f"transformers:{name}", source=f"hub {place}", licence=licence, pooling=chosen)


def _save(folder: Path, model: object, seed: int) -> None:
    """A model with seeded weights, and a tokenizer whose tokens are single letters."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for parameter in model.parameters():  # type: ignore[attr-defined]
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder, safe_serialization=True)  # type: ignore[attr-defined]
    letters = {chr(code): code for code in range(32, 127)}
    tokenizer = Tokenizer(
        models.WordLevel({**letters, "[UNK]": 0, "[PAD]": 1, "[CLS]": 2, "[SEP]": 3}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
