"""A tiny CLIP that has really learned to see and to read, in seconds: coloured squares and their names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

COLOURS = {
    "red": (220, 20, 20),
    "orange": (250, 140, 10),
    "yellow": (240, 230, 20),
    "green": (20, 160, 20),
    "turquoise": (40, 200, 190),
    "blue": (20, 20, 220),
    "purple": (130, 20, 160),
    "pink": (250, 150, 190),
}
SIDE = 32

_WIDTH, _STEPS = 32, 130
_SAID = ("a photo of a {}", "a picture of {}", "a {} square")
_MARKS = ("[BEGIN]", "[UNKNOWN]", "[END]")
_MEAN, _DEVIATION = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)


def square(colour: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """(SIDE, SIDE, 3): a square of that colour somewhere on a noisy grey ground."""
    size = int(rng.integers(5, 9))
    centre = rng.integers(size, SIDE - size, 2)
    away_HW = np.abs(np.mgrid[:SIDE, :SIDE] - centre[:, None, None]).max(axis=0)
    paint = np.where(
        (away_HW <= size)[:, :, None], np.array(COLOURS[colour]) + rng.normal(0, 25, 3), rng.integers(60, 200)
    )
    return (paint + rng.normal(0, 12, (SIDE, SIDE, 3))).clip(0, 255).astype(np.uint8)


def trained(folder: Path) -> str:
    """The folder of the model, written as transformers writes it; always the same."""
    from transformers import CLIPConfig, CLIPModel

    words = sorted({word for frame in _SAID for word in frame.format("").split()} | set(COLOURS))
    ids = {word: place for place, word in enumerate([*_MARKS[:2], *words, _MARKS[2]])}
    end = ids[_MARKS[2]]
    sizes = {"hidden_size": _WIDTH, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96}
    marks = {"bos_token_id": 0, "eos_token_id": end, "pad_token_id": end}
    reads = {**sizes, **marks, "vocab_size": len(ids), "max_position_embeddings": 16}
    sees = {**sizes, "image_size": SIDE, "patch_size": 4}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: Any = CLIPModel(CLIPConfig(text_config=reads, vision_config=sees, projection_dim=32))
        _teach(model, ids)
    model.eval().save_pretrained(folder)
    _tokenizer(ids).save(str(folder / "tokenizer.json"))
    return f"transformers_clip:{folder}"


def _teach(model: Any, ids: dict[str, int]) -> None:
    rng = np.random.default_rng(0)
    mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (_MEAN, _DEVIATION))
    optimiser = torch.optim.AdamW(model.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=_STEPS)
    for _ in range(_STEPS):
        pixels = torch.from_numpy(np.stack([square(name, rng) for name in COLOURS])).permute(0, 3, 1, 2) / 255.0
        tokens, mask = _tokens([str(rng.choice(_SAID)).format(name) for name in COLOURS], ids)
        loss = model(
            input_ids=tokens, attention_mask=mask, pixel_values=(pixels - mean) / deviation, return_loss=True
        ).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()


def _tokens(texts: Sequence[str], ids: dict[str, int]) -> tuple[torch.Tensor, torch.Tensor]:
    rows = [[0, *(ids[word] for word in text.split()), ids[_MARKS[2]]] for text in texts]
    longest = max(map(len, rows))
    filled = [[*row, *[ids[_MARKS[2]]] * (longest - len(row))] for row in rows]
    return torch.tensor(filled), torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])


def _tokenizer(ids: dict[str, int]) -> Any:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    made = Tokenizer(models.WordLevel(ids, unk_token=_MARKS[1]))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(
        single=f"{_MARKS[0]} $A {_MARKS[2]}", special_tokens=[(_MARKS[0], 0), (_MARKS[2], ids[_MARKS[2]])]
    )
    return made
