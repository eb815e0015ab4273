"""Texts with other capitals and punctuation, a typing error here and there, and some tokens unread: the same meaning.

When to use: few labels, and people who type. Limit: rules change no word for another; a rewriting that does (a
back-translation, a paraphrase) is the user's own function, called by ``training.tune.variation``. Promises UTF-8 of the
same words in the same order; that first and last tokens of a window are read. Knows nothing of languages.

Reference: Wei and Zou, EDA, arXiv 1901.11196, without its replacing and dropping of words, which can turn a meaning.

Legend: B batch, W windows, L tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch.utils.hooks import RemovableHandle

from core.modality.text import MASK

_DROPPED = 0.15  # share of tokens, at strength 1
_CASE, _END, _TYPO = 0.5, 0.5, 0.1  # chances, at strength 1: of a text, of a text, of a word
_SHORTEST = 5  # letters of a word that may have two of them exchanged
_MARKS = ".!?"


def rewrite(data: bytes, strength: float, chance: np.random.Generator) -> bytes:
    """Capitals, the mark at the end, and exchanged letters.

    >>> rewrite(b"Turn the kitchen lamp off.", 0.0, np.random.default_rng(0))
    b'Turn the kitchen lamp off.'
    """
    if strength == 0:
        return data
    text = data.decode("utf-8", errors="surrogateescape")
    text = " ".join(_typo(word, chance) if chance.random() < _TYPO * strength else word for word in text.split(" "))
    if chance.random() < _END * strength and text.strip(_MARKS + " "):
        text = text.rstrip(_MARKS) if text.rstrip(_MARKS) != text else text + _MARKS[int(chance.integers(len(_MARKS)))]
    if chance.random() < _CASE * strength:
        text = (text.lower(), text.upper(), text.capitalize())[int(chance.integers(3))]
    return text.encode("utf-8", errors="surrogateescape")


def vary(inputs: Mapping[str, torch.Tensor], strength: float, chance: np.random.Generator) -> dict[str, torch.Tensor]:
    """Some tokens are not looked at."""
    mask_BWL = inputs[MASK]
    if strength == 0:
        return dict(inputs)
    drawn = torch.from_numpy(chance.random(tuple(mask_BWL.shape)) < _DROPPED * strength)
    inside = torch.zeros_like(mask_BWL, dtype=torch.bool)
    inside[:, :, 1:-1] = mask_BWL[:, :, 2:] > 0  # neither the first token nor the last that is there
    return {**inputs, MASK: torch.where(drawn & inside, torch.zeros_like(mask_BWL), mask_BWL)}


def attach(body: torch.nn.Module, strength: float, chance: np.random.Generator) -> Sequence[RemovableHandle]:
    """Nothing."""
    del body, strength, chance
    return ()


def _typo(word: str, chance: np.random.Generator) -> str:
    """Two neighbouring letters inside a long word exchanged; what holds digits stays."""
    if len(word) < _SHORTEST or not word.isalpha():
        return word
    at = int(chance.integers(1, len(word) - 2))
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
