"""Streams: a scene that is known, then others, each with examples that teach and examples that test.

* ``looks``: photographs, clip art and emoji of four coarse kinds of thing (``benchmarks/looks.py``), at 64 px; four
  fifths of each teach, and a training comes after half of the 1,021 labels, and nearly at the end. The backbone knows
  such things.
* ``looks, stages``: the same, read by the backbone with its stages, as ``lepton adapt`` would choose it for 250
  photographs.
* ``scanners``: 1,000 of scikit-learn's digits, then 4,500 of MNIST, other writers and another scanner, at 32 px; a
  training after 2,000 labels and after 4,000. The backbone has seen nothing like them.
* ``scanners, stages``: the same, read by the backbone with its stages, as ``lepton adapt`` would choose it there.
* ``texts``: films, products and tweets, liked or not (``benchmarks/texts.py``), read by MiniLM: 500 films are known,
  then 1,000 of each of the others come; a training after 950 labels and after 1,900.
* ``texts, layers``: the same, read with layers of the upper half, as ``lepton adapt`` would choose them there; a
  training after 800 labels and after 1,600, so that labels are left to judge a second challenger by.

Promises the same examples in the same order for the same draw. Knows nothing of who learns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks import looks, scenes, texts
from benchmarks.debian import BENCH
from core.types import Example
from training import data

TAUGHT = 0.8  # of each look teach, the others test
KNOWN, TESTED = 1000, 500  # digits that are known at first; of MNIST, and of each domain of texts, that test
TEXTS = (500, 1000, 1000)  # of each domain teach


@dataclass(frozen=True, eq=False)
class Stage:
    """One scene: examples that teach, in the order in which they come, and examples that test."""

    taught: tuple[Example, ...]
    tested: tuple[Example, ...]


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Scenes one after the other.

    Attributes:
        every: labels between two trainings. draws: of it that are measured.
        modality, media: what an example is, and its content type. backbone: what reads them; size: at so many pixels.
    """

    name: str
    every: int
    draws: int
    stages: Callable[[int], list[Stage]]
    modality: str = "image"
    media: str = "image/png"
    backbone: str = "efficientnet_lite0"
    size: int | None = None


def _looks(seed: int) -> list[Stage]:
    sides = [data.load(folder).examples for folder in (looks.photo(), looks.clip_art(), looks.emoji())]
    shared = set.intersection(*({example.label for example in side} for side in sides))
    drawn = [_drawn([example for example in side if example.label in shared], seed) for side in sides]
    return [_cut(side, int(TAUGHT * len(side))) for side in drawn]


def _scanners(seed: int) -> list[Stage]:
    known, new = (
        _drawn(data.load(folder(BENCH / "scenes" / name)).examples, seed)
        for name, folder in (("digits", scenes.digits), ("mnist", scenes.mnist))
    )
    return [_cut(known, KNOWN), _cut(new, len(new) - TESTED)]


def _texts(seed: int) -> list[Stage]:
    drawn = [_drawn(data.load(texts.folder(name)).examples, seed) for name in texts.DOMAINS]
    return [_cut(side[: taught + TESTED], taught) for side, taught in zip(drawn, TEXTS, strict=True)]


def text_of(example: Example) -> str:
    """What a text says."""
    return Path(example.path).read_text(encoding="utf-8")


def _drawn(examples: Sequence[Example], seed: int) -> tuple[Example, ...]:
    order = np.random.default_rng(seed).permutation(len(examples))
    return tuple(replace(examples[place], split="train") for place in order)


def _cut(examples: tuple[Example, ...], taught: int) -> Stage:
    return Stage(taught=examples[:taught], tested=examples[taught:])


_LOOKS = Stream(name="looks", size=64, every=490, draws=10, stages=_looks)
_SCANNERS = Stream(name="scanners", size=32, every=2000, draws=5, stages=_scanners)
_TEXTS = Stream(name="texts", every=950, draws=5, stages=_texts, modality="text", media="text/plain", backbone="minilm")
STREAMS = (
    _LOOKS,
    replace(_LOOKS, name="looks, stages", backbone="layers:efficientnet_lite0"),
    _SCANNERS,
    replace(_SCANNERS, name="scanners, stages", backbone="layers:efficientnet_lite0"),
    _TEXTS,
    replace(_TEXTS, name="texts, layers", backbone="layers:minilm", every=800, draws=7),
)
