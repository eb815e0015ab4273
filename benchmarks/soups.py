"""Tuned weights fused with each other and with those they began from, on the clip-art scene: a part of ``fusion``.

In every draw EfficientNet-Lite0 is fine-tuned twice (two seeds) at 96 pixels on seven labels a class; three more stop
the training and choose. All ways are tested on the same other pictures, by a closed-form head of all ten labels.

Promises that no test picture is seen before. Features are those of torch, a rounding away from what would be served.

Legend: N labelled rows, of which V are validation, D features, K classes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from benchmarks import scenes
from core.head import fit_head
from core.modality.image import preprocessor
from core.preprocess import Limits
from core.statistics import from_grid
from core.types import Example, Scene
from exporters.backbone import Backbone
from training import data, zoo
from training.adapt import finetune
from training.evaluate import balanced_accuracy
from training.features import read
from training.fuse import greedy_soup, uniform_soup, wise_ft
from training.merge.members import Given
from training.merge.soup import BATCH, Kitchen
from training.merge.weights import State
from training.recipe import Context, Rows
from training.tune.network import Tensors

BACKBONE, SIZE = "efficientnet_lite0", 96
TRAIN, ASIDE, TESTED = 7, 3, 15  # pictures a class
CONFIG = finetune.Config(epochs=6, rate=1e-3, batch=16, patience=3)
UNTOUCHED, ONCE = "weights: untouched", "weights: tuned once"


@dataclass(frozen=True, kw_only=True)
class Result:
    """One way on one draw."""

    points: float
    seconds: float


def draw(seed: int) -> dict[str, Result]:
    """Every way on one draw of labels."""
    train, aside, tested = _sides(data.load(scenes.clip_art()).examples, seed)
    original = zoo.load(BACKBONE, zoo.Setting(size=SIZE))
    labelled = [*train, *aside]
    classes = sorted({example.label or "" for example in labelled})
    targets_NK = np.eye(len(classes))[[classes.index(example.label or "") for example in labelled]]
    judged_N = np.arange(len(labelled)) >= len(train)
    rows = Given(members=[], task="classification", targets_NK=targets_NK, judged_N=judged_N, seed=seed)
    taught, shown = _batches(original, labelled), _batches(original, tested)
    tuned, seconds = zip(*(_tuned(original, train, aside, taught, rows, seed * 2 + k) for k in range(2)), strict=True)
    kitchen = Kitchen("sqrt_l2", taught, [original, *tuned], rows)
    given = kitchen.given
    ways: dict[str, Callable[[], State]] = {
        UNTOUCHED: lambda: kitchen.states[0],
        ONCE: lambda: kitchen.states[1],
        "weights: better of two": lambda: max(kitchen.states[1:], key=kitchen.score),
        "weights: uniform_soup of two": lambda: uniform_soup.fuse(replace(given, states=given.states[1:])).state,
        "weights: greedy_soup of all": lambda: greedy_soup.fuse(given).state,
        "weights: wise_ft": lambda: wise_ft.fuse(replace(given, states=given.states[:2])).state,
    }
    made = {way: _timed(choose) for way, choose in ways.items()}
    spent = {UNTOUCHED: 0.0, ONCE: seconds[0], "weights: wise_ft": seconds[0]}
    return {
        way: Result(
            points=_points(kitchen, state, shown, tested, classes), seconds=chosen + spent.get(way, sum(seconds))
        )
        for way, (state, chosen) in made.items()
    }


def _sides(examples: Sequence[Example], seed: int) -> tuple[list[Example], list[Example], list[Example]]:
    order = np.random.default_rng([seed, TRAIN]).permutation(len(examples))
    sides: tuple[list[Example], list[Example], list[Example]] = ([], [], [])
    for label in sorted({example.label or "" for example in examples}):
        mine = [examples[place] for place in order if examples[place].label == label]
        sides[0].extend(mine[:TRAIN])
        sides[1].extend(mine[TRAIN : TRAIN + ASIDE])
        sides[2].extend(mine[TRAIN + ASIDE :][:TESTED])
    return sides


def _batches(backbone: Backbone, examples: Sequence[Example]) -> list[Tensors]:
    reader = preprocessor(backbone.inputs, backbone.files, Limits())
    rows = [read(example, reader) for example in examples]
    parts = [reader.batch(rows[start : start + BATCH]) for start in range(0, len(rows), BATCH)]
    return [{name: torch.from_numpy(array) for name, array in part.items()} for part in parts]


def _tuned(
    original: Backbone,
    train: Sequence[Example],
    aside: Sequence[Example],
    taught: Sequence[Tensors],
    rows: Given,
    seed: int,
) -> tuple[Backbone, float]:
    """The backbone after one fine-tuning, and the seconds it took."""
    begun = time.perf_counter()
    kitchen = Kitchen("sqrt_l2", taught, [original], rows)
    transform, rows_ND = kitchen.features(kitchen.filled(kitchen.states[0]))
    head = fit_head(rows_ND[: len(train)], [example.label or "" for example in train])
    scene = Scene(name="clip art", task="classification", modality="image", labels=head.labels)
    context = Context(scene=scene, head=head, transform=transform, seed=seed)
    found = finetune.tune(original, Rows(train=tuple(train), validation=tuple(aside)), CONFIG, context)
    return found.backbone, time.perf_counter() - begun


def _timed(choose: Callable[[], State]) -> tuple[State, float]:
    begun = time.perf_counter()
    return choose(), time.perf_counter() - begun


def _points(
    kitchen: Kitchen, state: State, shown: Sequence[Tensors], tested: Sequence[Example], classes: Sequence[str]
) -> float:
    """Balanced accuracy on the test pictures, by a head of all labelled rows."""
    body = kitchen.filled(state)
    rows_ND = kitchen.features(body)[1]
    labels = [classes[k] for k in kitchen.rows.targets_NK.argmax(axis=1)]
    head = fit_head(rows_ND, labels)
    scores_NK = from_grid(replace(kitchen, batches=shown).features(body)[1]) @ head.weight + head.bias
    truth_N = np.array([head.labels.index(example.label or "") for example in tested], np.intp)
    return 100 * balanced_accuracy(scores_NK.argmax(axis=1), truth_N)
