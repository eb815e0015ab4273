"""Streams of pictures: a scene that is known, then others, each with pictures that teach and pictures that test.

* ``looks``: photographs, clip art and emoji of four coarse kinds of thing (``benchmarks/looks.py``), at 96 px; four
  fifths of each teach. All three are near to what the backbone was pretrained on, so untouched features do well.
* ``scanners``: 500 digits of MNIST, then those of scikit-learn, other writers and another scanner, at 64 px; four
  fifths of these teach. Both are far from what the backbone knows.

Promises the same pictures in the same order for the same draw. Knows nothing of who learns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks import looks, scenes
from benchmarks.debian import BENCH
from core.types import Example
from training import data

TAUGHT = 0.8  # of a scene teach, the others test
KNOWN = 500  # digits of MNIST that are known at first, and as many that test


@dataclass(frozen=True, eq=False)
class Stage:
    """One scene: pictures that teach, in the order in which they come, and pictures that test."""

    taught: tuple[Example, ...]
    tested: tuple[Example, ...]


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Scenes one after the other, and at how many pixels they are seen; ``draws`` of it are measured."""

    name: str
    size: int
    draws: int
    stages: Callable[[int], list[Stage]]


def _looks(seed: int) -> list[Stage]:
    sides = [data.load(folder).examples for folder in (looks.photo(), looks.clip_art(), looks.emoji())]
    shared = set.intersection(*({example.label for example in side} for side in sides))
    return [_cut(_drawn([example for example in side if example.label in shared], seed)) for side in sides]


def _scanners(seed: int) -> list[Stage]:
    known = _drawn(data.load(scenes.mnist(BENCH / "scenes" / "mnist")).examples, seed)
    new = _drawn(data.load(scenes.digits(BENCH / "scenes" / "digits")).examples, seed)
    return [Stage(taught=known[:KNOWN], tested=known[KNOWN : 2 * KNOWN]), _cut(new)]


def _drawn(examples: Sequence[Example], seed: int) -> tuple[Example, ...]:
    order = np.random.default_rng(seed).permutation(len(examples))
    return tuple(replace(examples[place], split="train") for place in order)


def _cut(examples: Sequence[Example]) -> Stage:
    cut = int(TAUGHT * len(examples))
    return Stage(taught=tuple(examples[:cut]), tested=tuple(examples[cut:]))


STREAMS = (
    Stream(name="looks", size=96, draws=5, stages=_looks),
    Stream(name="scanners", size=64, draws=5, stages=_scanners),
)
