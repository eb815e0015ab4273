"""Sixty-four inputs of any modality, as bytes, all different: what the laws of backbones are tried on."""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
from sklearn.datasets import load_sample_image

from core.preprocess import Limits, Preprocessor, Row, modality
from core.schema import FILE, Categorical, Date, Schema, canonical, from_bytes
from exporters.backbone import Backbone
from tests import sounds
from tests.pico import png

COUNT = 64
WORDS = (
    "lamp",
    "kitchen",
    "off",
    "turn",
    "the",
    "please",
    "warmer",
    "garden",
    "naïve",
    "7",
    "I",
    "cannot",
    "see",
    "it",
)


def preprocessor_of(backbone: Backbone) -> Preprocessor:
    """What reads inputs for a backbone."""
    return modality(backbone.modality).preprocessor(backbone.inputs, backbone.files, Limits())


def rows_of(backbone: Backbone) -> list[Row]:
    """The inputs of its modality, read for it."""
    reader = preprocessor_of(backbone)
    return [reader.read(data) for data in _contents(backbone)]


def _contents(backbone: Backbone) -> list[bytes]:
    if backbone.modality == "image":
        return _tiles(backbone.size)
    if backbone.modality == "text":
        return [_sentence(number).encode() for number in range(COUNT)]
    if backbone.modality == "audio":
        return [sounds.wav(number, 0.3 + 0.05 * (number % 48)) for number in range(COUNT)]
    schema = from_bytes(backbone.files[FILE])
    return [canonical(_line(schema, number)) for number in range(COUNT)]


@functools.cache
def _tiles(size: tuple[int, int]) -> list[bytes]:
    """Tiles of a real photograph, at any size up to 200."""
    photo = load_sample_image("china.jpg")
    height, width = size
    return [png(photo[y : y + height, x : x + width]) for y in range(0, 216, 27) for x in range(0, 400, 50)]


def _sentence(number: int) -> str:
    """From 2 words to some hundred: one window and several."""
    length = 2 + (number % 8) ** 2
    return " ".join(WORDS[k] for k in np.random.default_rng(number).integers(0, len(WORDS), length)) + f" {number}"


def _line(schema: Schema, number: int) -> Mapping[str, str | float]:
    cells: dict[str, str | float] = {}
    for place, column in enumerate(schema.columns):
        step = (13 * number + 7 * place) % COUNT
        if isinstance(column, Categorical):
            cells[column.name] = (*column.categories, "new")[step % (1 + len(column.categories))]
        elif isinstance(column, Date):
            cells[column.name] = f"20{10 + step % 20}-{1 + step % 12:02d}-{1 + step % 28:02d}"
        else:
            spread = column.spread
            cells[column.name] = spread.low + (spread.high - spread.low) * step / (COUNT - 1)
    return cells
