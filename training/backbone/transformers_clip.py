"""Models that see and read, CLIP and SigLIP of transformers: pictures in a space that they share with texts.

When to use: no label yet but names for what is to be told apart (``lepton adapt SCENE --labels FILE``), pictures to be
searched by words (``lepton search``), or ordinary photographs. Limit: square pictures of the model's own size, and a
cost of 10 to 50 times that of the packaged backbones; weights are not packaged, and a folder does not state its
licence. Promises that no pickle is read, that no code of a repository runs, and an error with its remedy where there is
no network. Knows nothing of selection.

A name is a folder (config.json, tokenizer.json, *.safetensors and, where there is one, preprocessor_config.json) or the
hub's own (``transformers_clip:openai/clip-vit-base-patch32``).

>>> [row.name for row in names()][0]
'transformers_clip:openai/clip-vit-base-patch32'
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from training import hub
from training.hub import Known
from training.zoo import Row, Setting

if TYPE_CHECKING:
    from exporters.backbone import Backbone


# A short list to choose from; any other model of these kinds loads as well.
_TABLE = (
    Known("openai/clip-vit-base-patch32", 512, 87_849_216, "MIT"),
    Known("google/siglip-base-patch16-224", 768, 92_884_224, "Apache-2.0"),
)
_NEEDED = ("config.json", "tokenizer.json", "model.safetensors")
_WANTED = (*_NEEDED, "preprocessor_config.json")
_REMEDY = "give a local folder (transformers_clip:/path/to/model); for pictures alone, efficientnet_lite0 is packaged"
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789 .,'-"


def names() -> tuple[Row, ...]:
    """A short list of models worth trying, with what the hub's cache on this machine holds marked as offline."""
    return hub.rows("transformers_clip", "image", _TABLE, _NEEDED)


def examples(folder: Path) -> tuple[tuple[str, Setting], ...]:
    """CLIP and SigLIP of two layers and 32 features, seeded, with a tokenizer of letters, written to ``folder``."""
    from transformers import CLIPConfig, CLIPModel, SiglipConfig, SiglipModel
    from transformers.utils import logging

    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    sees = {**sizes, "image_size": 32, "patch_size": 8}
    marks = {"bos_token_id": len(_LETTERS), "eos_token_id": len(_LETTERS) + 1, "pad_token_id": len(_LETTERS) + 1}
    reads = {**sizes, **marks, "vocab_size": len(_LETTERS) + 2, "max_position_embeddings": 64}
    made: dict[str, Any] = {
        "clip": CLIPModel(CLIPConfig(text_config=reads, vision_config=sees, projection_dim=24)),
        "siglip": SiglipModel(SiglipConfig(text_config={**reads, "projection_size": 32}, vision_config=sees)),
    }
    for name, model in made.items():
        _save(folder / name, model)
    return tuple((str(folder / name), Setting()) for name in made)


def load(name: str, setting: Setting) -> Backbone:
    """The half that sees; ``setting`` is not looked at, since the model has its own size.

    Raises:
        InvalidInput: the folder holds no such model; Unavailable: neither cached nor to be fetched.
    """
    del setting
    return _halves(name)[0]


def reader(name: str) -> Backbone:
    """The half that reads, into the same space. Raises as ``load``."""
    return _halves(name)[1]


def _halves(name: str) -> tuple[Backbone, Backbone]:
    from training import two_towers

    folder = Path(name)
    if folder.is_dir():
        shown = f"transformers_clip:{folder.name}"
        return two_towers.load(folder, name=shown, source=f"folder {folder.name}", licence="unknown")
    licence = next((known.licence for known in _TABLE if known.hub == name), "see the hub")
    place = hub.cached(name, _NEEDED) or hub.fetched(name, _WANTED, _REMEDY)
    return two_towers.load(place, name=f"transformers_clip:{name}", source=f"hub {name}", licence=licence)


def _save(folder: Path, model: Any) -> None:
    """A model with seeded weights, and a tokenizer whose tokens are single letters."""
    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    model.save_pretrained(folder)
    begin, end = len(_LETTERS), len(_LETTERS) + 1
    letters = {letter: place for place, letter in enumerate(_LETTERS)}
    tokenizer = Tokenizer(models.WordLevel({**letters, "[BEGIN]": begin, "[END]": end}, unk_token=" "))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[BEGIN] $A [END]", special_tokens=[("[BEGIN]", begin), ("[END]", end)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
