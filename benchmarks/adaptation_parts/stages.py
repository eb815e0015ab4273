"""Streams of examples: one scene that is known, then two others, each with what teaches and what tests.

* ``pictures``: photographs, clip art and emoji of four coarse kinds of thing (``benchmarks/looks.py``), read by
  EfficientNet-Lite0 at 64 px; four fifths of each teach.
* ``texts``: films, products and tweets, liked or not (``benchmarks/texts.py``), read by MiniLM; 250, 500 and 500 teach,
  300 of each test.

Promises the same examples in the same order for the same draw. Knows nothing of who learns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks import looks, texts
from core.types import Example
from training import data

TAUGHT = 0.8  # of each scene of pictures
TEXTS, TESTED = (250, 500, 500), 300


@dataclass(frozen=True, eq=False)
class Stage:
    """One scene: examples that teach, in the order in which they come, and examples that test."""

    taught: tuple[Example, ...]
    tested: tuple[Example, ...]


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Scenes one after the other, and what reads them; ``media`` is the content type of an example."""

    name: str
    modality: str
    media: str
    backbone: str
    size: int | None
    stages: Callable[[int], list[Stage]]


def _pictures(seed: int) -> list[Stage]:
    sides = [data.load(folder).examples for folder in (looks.photo(), looks.clip_art(), looks.emoji())]
    shared = set.intersection(*({example.label for example in side} for side in sides))
    drawn = [_drawn([example for example in side if example.label in shared], seed) for side in sides]
    cuts = [int(TAUGHT * len(side)) for side in drawn]
    return [Stage(side[:cut], side[cut:]) for side, cut in zip(drawn, cuts, strict=True)]


def _texts(seed: int) -> list[Stage]:
    drawn = [_drawn(data.load(texts.folder(name)).examples, seed) for name in texts.DOMAINS]
    return [Stage(side[:cut], side[cut : cut + TESTED]) for side, cut in zip(drawn, TEXTS, strict=True)]


def _drawn(examples: Sequence[Example], seed: int) -> tuple[Example, ...]:
    order = np.random.default_rng(seed).permutation(len(examples))
    return tuple(replace(examples[place], split="train") for place in order)


def text_of(example: Example) -> str:
    """What a text says."""
    return Path(example.path).read_text(encoding="utf-8")


STREAMS = (
    Stream(
        name="pictures",
        modality="image",
        media="image/png",
        backbone="efficientnet_lite0",
        size=64,
        stages=_pictures,
    ),
    Stream(name="texts", modality="text", media="text/plain", backbone="minilm", size=None, stages=_texts),
)
