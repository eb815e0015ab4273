"""Small scenes on which recipes are tried: pictures that a tiny network has to learn to tell apart, and sentences.

Pictures are random colours; the class is which half of the picture is the brighter one, so that a network of random
weights is a poor floor and has something to gain.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from core.preprocess import Limits
from core.types import Example, Head, Scene, Split
from exporters.backbone import Backbone, Normalised, pictures
from exporters.transform import Transform
from tests.pico import png
from training import judge
from training.judge import Bench, Judged
from training.recipe import Context, Rows

torch.set_num_threads(1)  # networks this small lose by more threads, which wait for each other in busy loops

SIDE, WIDTH = 32, 32
LABELS = ("bottom", "left", "right", "top")
WORDS = {"on": ("switch", "the", "lamp", "on"), "off": ("switch", "the", "lamp", "off")}


class Tiny(torch.nn.Module):
    """Two convolutions, a norm and a mean: 32 features of a picture."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.first = torch.nn.Conv2d(3, 16, 8, stride=8)
            self.norm = torch.nn.BatchNorm2d(16)
            self.blocks = torch.nn.Sequential(torch.nn.Linear(16 * 16, 64), torch.nn.ReLU(), torch.nn.Linear(64, WIDTH))

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        """(B, 3, 32, 32) to (B, 32)."""
        found: torch.Tensor = self.blocks(torch.relu(self.norm(self.first(planes))).flatten(1))
        return found


def backbone(seed: int = 0) -> Backbone:
    """A tiny torch backbone of pictures; not of the zoo."""
    body = Normalised(Tiny(seed), (128.0,) * 3, (64.0,) * 3).eval()
    return Backbone(
        name="tiny",
        source="tests",
        modality="image",
        digest=f"{seed:064d}",
        licence="Apache-2.0",
        parameters=sum(p.numel() for p in body.parameters()),
        dimension=WIDTH,
        inputs=pictures((SIDE, SIDE)),
        body=body,
    )


def picture(label: str, number: int) -> bytes:
    """Noise, a little brighter on one side."""
    chance = np.random.default_rng([number, LABELS.index(label)])
    pixels = chance.integers(30, 200, (SIDE, SIDE, 3))
    half = SIDE // 2
    part = {
        "top": (slice(half), slice(None)),
        "bottom": (slice(half, None), slice(None)),
        "left": (slice(None), slice(half)),
        "right": (slice(None), slice(half, None)),
    }[label]
    pixels[part] += 14
    return png(pixels.astype(np.uint8))


def example(content: bytes, split: Split, label: str | None = None, value: float | None = None) -> Example:
    """An example that lies in no file."""
    digest = hashlib.sha256(content).hexdigest()
    return Example(digest=digest, path="", split=split, label=label, value=value, content=content)


def rows(train: int = 16, held: int = 8, labels: Sequence[str] = LABELS) -> Rows:
    """So many pictures of each class on either side."""
    return Rows(
        train=tuple(example(picture(k, n), "train", k) for k in labels for n in range(train)),
        validation=tuple(example(picture(k, 1000 + n), "validation", k) for k in labels for n in range(held)),
    )


def values(train: int = 48, held: int = 24) -> Rows:
    """Pictures whose value is how bright they are."""

    def one(number: int, split: Split) -> Example:
        chance = np.random.default_rng(number)
        level = chance.integers(0, 100)
        pixels = chance.integers(0, 100, (SIDE, SIDE, 3)) + level
        return example(png(pixels.astype(np.uint8)), split, value=float(level) / 10)

    return Rows(
        train=tuple(one(n, "train") for n in range(train)),
        validation=tuple(one(1000 + n, "validation") for n in range(held)),
    )


SCENE = Scene(name="halves", task="classification", modality="image", labels=LABELS, hash_key=b"key")
REGRESSION = Scene(name="levels", task="regression", modality="image", offset=5.0, scale=64.0, hash_key=b"key")


@dataclass(frozen=True)
class Stand:
    """A backbone judged, and what a recipe is called with."""

    base: Backbone
    rows: Rows
    bench: Bench
    floor: Judged
    context: Context


def stand(folder: Path, base: Backbone, held: Rows, scene: Scene = SCENE) -> Stand:
    """Judge the untouched backbone on rows of a scene."""
    bench = Bench(scene=scene, cache=folder / "cache", limits=Limits())
    floor = judge.judge(base, held, bench)
    context = Context(scene=scene, head=floor.head, transform=floor.assembly.transforms[0])
    return Stand(base, held, bench, floor, context)


def noisy(base: Backbone, held: Rows) -> Context:
    """What a recipe is called with, its head of noise instead of one that was solved: nothing has to be exported."""
    labels = tuple(sorted({row.label or "" for row in held.train}))
    chance = np.random.default_rng(0)
    weight = chance.standard_normal((base.dimension, len(labels))).astype(np.float32)
    return Context(
        scene=replace(SCENE, modality=base.modality, labels=labels),
        head=Head(weight=weight, bias=np.zeros(len(labels), np.float32), labels=labels),
        transform=Transform(kind=base.transform),
    )


def weights(backbone: Backbone) -> dict[str, torch.Tensor]:
    """Copies of all tensors of a backbone."""
    assert isinstance(backbone.body, torch.nn.Module)
    return {name: tensor.clone() for name, tensor in backbone.body.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether two sets of tensors are equal to the bit."""
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())


def sentences(train: int = 8, held: int = 4) -> Rows:
    """Short texts that say on or off."""

    def one(label: str, number: int, split: Split) -> Example:
        words = np.random.default_rng(number).permutation(WORDS[label]).tolist()
        return example(" ".join([*words, str(number)]).encode(), split, label)

    return Rows(
        train=tuple(one(label, n, "train") for label in WORDS for n in range(train)),
        validation=tuple(one(label, 100 + n, "validation") for label in WORDS for n in range(held)),
    )
