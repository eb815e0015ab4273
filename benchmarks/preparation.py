"""A backbone prepared in episodes, on small scenes of classes that it has never seen, with 5 labels of each.

``python -m benchmarks.preparation [--quick] [--json FILE]``: EfficientNet-Lite0, prepared on 600 labelled pictures of
some classes by each way to find a head within an episode, then given 5 labelled pictures of each of the other classes.
Digits (32 px): six of MNIST's classes prepare; the four others are the scene, once MNIST's own and once scikit-learn's
8 × 8 digits. Drawings (48 px): the classes of clip art but five, and all of the photographs, prepare; the five are the
scene. Which classes are new is drawn by the seed. 5 seeds, 20 draws of labels each (quick: 1 seed); 60 episodes.

Promises paired draws: the untouched and the prepared backbone get the same labels and the same test pictures, and the
closed-form head that serves. Features are those of torch, a rounding away from what would be served.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from benchmarks import scenes
from benchmarks.debian import BENCH
from benchmarks.draws import closed_form, mean_told, shots
from benchmarks.report import Claim, Row, finish, options
from core.modality.image import preprocessor
from core.preprocess import Limits
from core.statistics import to_grid
from core.types import Example, GridRows
from exporters.backbone import Backbone
from exporters.transform import Transform, apply
from training import data, features, zoo
from training.episodes import INNER
from training.evaluate import balanced_accuracy
from training.preparation import Preparing, prepare
from training.tune.network import torch_body

BACKBONE, SHOTS, DRAWS, ROWS, TESTED = "efficientnet_lite0", 5, 20, 600, 60
PLAN = Preparing(episodes=60, every=10)
BATCH = 32
UNTOUCHED = "untouched"

Source = tuple[Example, ...]


@dataclass(frozen=True, kw_only=True)
class Case:
    """What prepares, and the small scenes by their names."""

    size: int
    sources: list[Source]
    targets: dict[str, Source]


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and give the exit code."""
    given = options(__doc__ or "", argv)
    scores: dict[tuple[str, str], list[float]] = {}
    seconds: dict[str, list[float]] = {}
    with threadpool_limits(1):
        for way in (UNTOUCHED, *INNER):
            for seed in range(1 if given.quick else 5):
                for case in (_digits(seed), _drawings(seed)):
                    base = zoo.load(BACKBONE, zoo.Setting(size=case.size))
                    begun = time.perf_counter()
                    backbone = base if way == UNTOUCHED else _prepared(base, case, way, seed)
                    seconds.setdefault(way, []).append(time.perf_counter() - begun)
                    _measure(backbone, case, way, seed, scores)
    rows = [_row(target, way, scores, seconds) for target, way in scores]
    return finish("5 labels a class of classes never seen: balanced accuracy in %", rows, _claims(scores), given.json)


def _prepared(base: Backbone, case: Case, inner: str, seed: int) -> Backbone:
    made = prepare(base, case.sources, replace(PLAN, inner=inner), seed=seed)
    first, best = made.looks[0].score, made.best
    words = f"classes apart {100 * first:.1f} → {100 * best.score:.1f} % after {best.episode} episodes"
    print(f"… seed {seed}, {case.size} px, {inner}: {words}", file=sys.stderr, flush=True)
    return made.backbone


def _digits(seed: int) -> Case:
    chance = np.random.default_rng(seed)
    new = {str(number) for number in chance.permutation(10)[:4]}
    mnist = data.load(scenes.mnist(BENCH / "scenes" / "mnist")).examples
    small = data.load(scenes.digits(BENCH / "scenes" / "digits")).examples
    return Case(
        size=32,
        sources=[_some([each for each in mnist if each.label not in new], chance)],
        targets={"MNIST, new digits": _of(mnist, new), "8 × 8, new digits": _of(small, new)},
    )


def _drawings(seed: int) -> Case:
    chance = np.random.default_rng(seed)
    drawings, photographs = (data.load(folder).examples for folder in (scenes.clip_art(), scenes.photo()))
    classes = sorted({each.label or "" for each in drawings})
    new = {classes[place] for place in chance.permutation(len(classes))[:5]}
    known = [each for each in drawings if each.label not in new]
    others = [each for each in photographs if each.label not in new]  # of a new class no photograph, either
    sources = [_some(known, chance), _some(others, chance)]
    return Case(size=48, sources=sources, targets={"clip art, new classes": _of(drawings, new)})


def _some(examples: Sequence[Example], chance: np.random.Generator) -> Source:
    return tuple(examples[place] for place in chance.permutation(len(examples))[:ROWS])


def _of(examples: Sequence[Example], labels: set[str]) -> Source:
    return tuple(each for each in examples if each.label in labels)


def _measure(backbone: Backbone, case: Case, way: str, seed: int, scores: dict[tuple[str, str], list[float]]) -> None:
    """The mean over draws of labels, of every scene of a case."""
    for name, examples in case.targets.items():
        some = _capped(examples, seed)
        rows_ND = _features(backbone, some)
        labels_N = np.array([each.label for each in some])
        told = []
        for draw in range(DRAWS):
            taken_N, left_N = shots(labels_N, SHOTS, draw)
            shares_NK, classes = closed_form(rows_ND[taken_N], labels_N[taken_N], rows_ND[left_N])
            truth_N = np.searchsorted(classes, labels_N[left_N])
            told.append(100 * balanced_accuracy(shares_NK.argmax(axis=1), truth_N))
        scores.setdefault((name, way), []).append(float(np.mean(told)))
        print(f"    {name}, {way}: {scores[name, way][-1]:.1f} %", file=sys.stderr, flush=True)


@torch.inference_mode()
def _features(backbone: Backbone, examples: Sequence[Example]) -> GridRows:
    body, reader = torch_body(backbone).eval(), preprocessor(backbone.inputs, backbone.files, Limits())
    parts = []
    for start in range(0, len(examples), BATCH):
        batch = reader.batch([features.read(each, reader) for each in examples[start : start + BATCH]])
        parts.append(body(**{name: torch.from_numpy(array) for name, array in batch.items()}).float().numpy())
    return to_grid(apply(Transform(kind=backbone.transform), np.concatenate(parts)))


def _capped(examples: Sequence[Example], seed: int) -> list[Example]:
    """At most so many of a class."""
    taken_N, _ = shots(np.array([each.label for each in examples]), SHOTS + TESTED, seed)
    return [each for each, taken in zip(examples, taken_N, strict=True) if taken]


def _row(target: str, way: str, scores: dict[tuple[str, str], list[float]], seconds: dict[str, list[float]]) -> Row:
    held, floor = np.array(scores[target, way]), np.array(scores[target, UNTOUCHED])
    return {
        "scene": target,
        "backbone": way if way == UNTOUCHED else f"prepared, {way}",
        "seeds": len(held),
        "accuracy": mean_told(held),
        "against untouched": "" if way == UNTOUCHED else mean_told(held - floor, "+"),
        "seconds to prepare": None if way == UNTOUCHED else round(float(np.mean(seconds[way])), 0),
    }


def _claims(scores: dict[tuple[str, str], list[float]]) -> list[Claim]:
    """On digits, which the untouched backbone is poor at, ridge brings something."""
    made: list[Claim] = []
    for (target, way), held in scores.items():
        if way == "ridge" and "digits" in target:
            gain = float(np.mean(np.array(held) - np.array(scores[target, UNTOUCHED])))
            made.append(Claim(claim=f"{target}: points gained by preparing", value=gain, bound=0.0, holds=gain > 0))
    return made


if __name__ == "__main__":
    sys.exit(main())
