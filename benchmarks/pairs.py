"""Two scenes that hold the same classes, a draw of both, and the pictures of it as backbones take them.

Photographs to clip art, clip art to emoji (the five classes that they share), MNIST to scikit-learn's digits. Of the
target up to 300 labelled examples, and at most six tenths of all, are taught, a fifth of them to judge by; up to 250
others test. Of the scene before, half is remembered, up to 150, and up to 150 others ask what was forgotten.

Promises that every way sees the same rows of a draw. Knows nothing of ways.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from benchmarks import scenes
from benchmarks.debian import BENCH
from core.modality.image import preprocessor
from core.preprocess import Limits, Preprocessor, Row
from core.types import Example
from exporters.backbone import Backbone
from training import data, features
from training.recipe import Rows
from training.robustness import corruption, hurt
from training.tune.network import Tensors

LABELLED, SHARE, JUDGING, TESTED, REMEMBERED = 300, 0.6, 0.2, 250, 150
HURT, SEVERITY = 40, 2  # of the test rows, each gone wrong in every kind of way
BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Where the folders of both scenes come from, and the side in pixels at which they are seen."""

    size: int
    source: Callable[[], Path]
    target: Callable[[], Path]


PAIRS: dict[str, Pair] = {
    "MNIST → digits": Pair(
        size=32,
        source=lambda: scenes.mnist(BENCH / "scenes" / "mnist"),
        target=lambda: scenes.digits(BENCH / "scenes" / "digits"),
    ),
    "photo → clip art": Pair(size=48, source=scenes.photo, target=scenes.clip_art),
    "clip art → emoji": Pair(size=48, source=scenes.clip_art, target=scenes.emoji),
}


@dataclass(frozen=True, kw_only=True)
class Draw:
    """Examples: ``rows`` and ``tested`` of the target, ``before`` (remembered) and ``asked`` of the source."""

    labels: tuple[str, ...]
    rows: Rows
    tested: tuple[Example, ...]
    before: tuple[Example, ...]
    asked: tuple[Example, ...]
    seed: int

    @property
    def taught(self) -> tuple[Example, ...]:
        """Training rows, then validation rows."""
        return (*self.rows.train, *self.rows.validation)


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """The rows of a draw as batches of tensors; ``hurt`` are the first of the tested ones, by kind of damage."""

    taught: list[Tensors] = field(repr=False)
    tested: list[Tensors] = field(repr=False)
    before: list[Tensors] = field(repr=False)
    asked: list[Tensors] = field(repr=False)
    hurt: dict[str, list[Tensors]] = field(repr=False)


def draw(pair: Pair, seed: int) -> Draw:
    """A draw of both scenes, of the classes that they share."""
    sides = loaded(pair)
    shared = {example.label for example in sides[0]} & {example.label for example in sides[1]}
    random = np.random.default_rng(seed)
    there, here = (
        [side[place] for place in random.permutation(len(side)) if side[place].label in shared] for side in sides
    )
    few = min(LABELLED, round(SHARE * len(here)))
    cut, half = round(JUDGING * few), min(REMEMBERED, len(there) // 2)
    return Draw(
        labels=tuple(sorted(str(label) for label in shared)),
        rows=Rows(train=_side(here[cut:few], "train"), validation=_side(here[:cut], "validation")),
        tested=_side(here[few:][:TESTED], "test"),
        before=_side(there[:half], "train"),
        asked=_side(there[half:][:REMEMBERED], "test"),
        seed=seed,
    )


@functools.cache
def loaded(pair: Pair) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """The cleaned examples of both scenes, read once."""
    source, target = (data.load(folder()).examples for folder in (pair.source, pair.target))
    return source, target


def pictures(drawn: Draw, backbone: Backbone) -> Pictures:
    """As the backbone takes them, and all that read like it."""
    reader = preprocessor(backbone.inputs, backbone.files, Limits())
    return Pictures(
        taught=batches(drawn.taught, reader),
        tested=batches(drawn.tested, reader),
        before=batches(drawn.before, reader),
        asked=batches(drawn.asked, reader),
        hurt={
            kind: batched(damaged(drawn.tested[:HURT], kind, reader, drawn.seed), reader)
            for kind in corruption("image").KINDS
        },
    )


def batches(examples: Sequence[Example], reader: Preprocessor) -> list[Tensors]:
    """Examples as a network takes them."""
    return batched([features.read(each, reader) for each in examples], reader)


def batched(rows: Sequence[Row], reader: Preprocessor) -> list[Tensors]:
    """Rows that were read, likewise."""
    parts = [reader.batch(rows[start : start + BATCH]) for start in range(0, len(rows), BATCH)]
    return [{name: torch.from_numpy(array) for name, array in part.items()} for part in parts]


def damaged(examples: Sequence[Example], kind: str, reader: Preprocessor, seed: int) -> list[Row]:
    """Examples gone wrong in one way, read."""
    way = corruption("image")
    contents = [hurt(features.content(each), each.digest, way, kind, SEVERITY, seed) for each in examples]
    return [reader.read(content) for content in contents]


def _side(examples: Sequence[Example], side: Literal["train", "validation", "test"]) -> tuple[Example, ...]:
    return tuple(replace(example, split=side) for example in examples)
