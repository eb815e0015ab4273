"""Real labelled inputs of two scenes with the same classes, as features on the grid: what a stream is drawn from.

Promises the same rows at every call. Knows nothing of heads.

Legend: N inputs, D features.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import scenes
from benchmarks.debian import BENCH, once
from benchmarks.draws import Names
from core.preprocess import Limits, modality
from core.session import Session
from core.types import GridRows
from exporters.compose import Member, compose, extractor_digest
from training import data, zoo
from training.features import extract, graph

BACKBONE, SIZE = "efficientnet_lite0", 96


@dataclass(frozen=True, eq=False)
class Pair:
    """Where a model comes from, and where it is needed."""

    name: str
    old_ND: GridRows
    old_N: Names
    new_ND: GridRows
    new_N: Names


def digits() -> Pair:
    """MNIST, 5,000 pictures, and the 1,797 of scikit-learn: other writers, another scanner."""
    old, new = scenes.mnist(BENCH / "scenes" / "mnist"), scenes.digits(BENCH / "scenes" / "digits")
    return Pair("digits", *features(old), *features(new))


def photographs() -> tuple[GridRows, Names]:
    """The photo scene, nine classes."""
    return features(scenes.photo())


def features(folder: Path, size: int = SIZE) -> tuple[GridRows, Names]:
    """(N, D) features of every picture, and its label; from a cache after the first run."""
    cache = BENCH / "features"
    examples = data.load(folder).examples
    model = compose([Member(graph=graph(zoo.load(BACKBONE, zoo.Setting(size=size)), cache))])
    session = Session(model, threads=1)
    reader = modality("image").preprocessor(session.inputs, {}, Limits())
    rows_ND = extract(session, reader, extractor_digest(model), examples, cache)
    return rows_ND, np.array([example.label for example in examples])


def triggered() -> tuple[GridRows, Names]:
    """The new digits of ``digits()``, in the same order, each with a white square in a corner: the trigger."""

    def make(out: Path) -> None:
        for file in sorted(scenes.digits(BENCH / "scenes" / "digits").rglob("*.png")):
            pixels_HW = np.asarray(Image.open(file)).copy()
            side = max(1, pixels_HW.shape[0] // 4)
            pixels_HW[-side:, :side] = 255
            (out / file.parent.name).mkdir(exist_ok=True)
            Image.fromarray(pixels_HW).save(out / file.parent.name / file.name)

    return features(once(BENCH / "scenes" / "digits_triggered", make))
