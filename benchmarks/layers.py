"""The stages of a backbone beside its last features: what a closed-form head gains by them, and what they cost.

``python -m benchmarks.layers [--quick] [--json FILE]``: EfficientNet-Lite0 and the same with its stages
(``layers:efficientnet_lite0``), on photographs, clip art and emoji of four kinds of thing (``benchmarks/looks.py``, at
64 and 160 px), scikit-learn's digits and MNIST (32 px); 5, 10, 20 and 50 labels a class, 20 draws (quick: 3, one
scene). The rest tests. ``chosen`` is what ``lepton adapt`` would have taken of the two, by its own rule
(``training/select.py``: leave-one-out on the labelled rows). Milliseconds are of one picture through ONNX Runtime on
one thread, in turns, median of 200.

Promises paired draws: both see the same labels and the same test.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import looks, scenes
from benchmarks.debian import BENCH
from benchmarks.draws import closed_form, mean_and_half, mean_told, score, shots
from benchmarks.report import Claim, Row, finish, options
from core.preprocess import Limits
from core.types import Doubles, Example, GridRows, Scene
from training import data, features, select, zoo
from training.assemble import Assembly, alone, batches

PLAIN, LAYERS = "efficientnet_lite0", "layers:efficientnet_lite0"
LABELS, DRAWS, TIMED, WARM = (5, 10, 20, 50), 20, 200, 20
WORST, SLOWER = 1.0, 1.1  # points that the choice may lose to the last features alone; times the milliseconds
PICTURES = Scene(name="pictures", task="classification", modality="image")
SCENES: dict[str, tuple[Callable[[], Path], tuple[int, ...]]] = {
    "photographs": (looks.photo, (64, 160)),
    "clip art": (looks.clip_art, (64, 160)),
    "emoji": (looks.emoji, (64, 160)),
    "digits": (lambda: scenes.digits(BENCH / "scenes" / "digits"), (32,)),
    "MNIST": (lambda: scenes.mnist(BENCH / "scenes" / "mnist"), (32,)),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and give the exit code."""
    given = options(__doc__ or "", argv)
    rows, claims = list[Row](), list[Claim]()
    wanted = list(SCENES.items())[: 1 if given.quick else None]
    for name, (folder, sizes) in wanted:
        examples = data.load(folder()).examples
        for size in sizes[: 1 if given.quick else None]:
            found = {backbone: _features(backbone, size, examples) for backbone in (PLAIN, LAYERS)}
            for each in LABELS:
                row, gain = _compared(f"{name}, {size} px", examples, found, each, 3 if given.quick else DRAWS)
                rows.append(row)
                claims.append(_claim(row, gain))
    for size in sorted({size for _, (_, sizes) in wanted for size in sizes}):
        rows.append(row := _timed(size, data.load(SCENES["photographs"][0]()).examples))
        words = f"{size} px: milliseconds of one picture with stages, as a multiple of without"
        ratio = float(str(row["ratio"]))
        claims.append(Claim(claim=words, value=ratio, bound=SLOWER, holds=ratio <= SLOWER))
    return finish("Balanced accuracy in %, closed form, without and with stages", rows, claims, given.json)


def _assembly(name: str, size: int, examples: Sequence[Example]) -> Assembly:
    return alone(zoo.load(name, zoo.Setting(size=size)), PICTURES, BENCH / "features", examples, Limits())


def _features(name: str, size: int, examples: Sequence[Example]) -> GridRows:
    made = _assembly(name, size, examples)
    return features.extract(made.session, made.preprocessor, made.extractor, examples, BENCH / "features")


def _compared(
    scene: str, examples: Sequence[Example], found: dict[str, GridRows], each: int, draws: int
) -> tuple[Row, Doubles]:
    """The table's row, and what the choice brings in points, draw by draw."""
    labels_N = np.array([example.label for example in examples])
    balanced: dict[str, list[float]] = {PLAIN: [], LAYERS: []}
    chosen: list[str] = []
    for seed in range(draws):
        taken_N, left_N = shots(labels_N, each, seed)
        with threadpool_limits(1):
            for name, rows_ND in found.items():
                fit = partial(closed_form, rows_ND[taken_N], labels_N[taken_N], rows_ND[left_N])
                balanced[name].append(100 * score(fit, labels_N[left_N]).balanced)
            labelled = [examples[place] for place in np.flatnonzero(taken_N).tolist()]
            chosen.append(_chosen(labelled, {name: rows_ND[taken_N] for name, rows_ND in found.items()}, seed))
    plain, layers = (np.array(balanced[name]) for name in (PLAIN, LAYERS))
    gain = np.where(np.array(chosen) == LAYERS, layers - plain, 0.0)
    row: Row = {
        "scene": scene,
        "labels a class": each,
        "last features": mean_told(plain),
        "and stages": mean_told(layers),
        "gain": mean_told(layers - plain, "+"),
        "stages chosen": f"{chosen.count(LAYERS)} of {draws}",
        "gain of the chosen": mean_told(gain, "+"),
    }
    return row, gain


def _chosen(labelled: Sequence[Example], found: dict[str, GridRows], seed: int) -> str:
    """Which of the two ``lepton adapt`` would take."""
    groups = select.groups([(PICTURES, labelled)])
    trials = []
    for milliseconds, (name, rows_ND) in enumerate(found.items(), 1):  # the plain one is the quicker of the two
        outcomes_N = select.outcomes(rows_ND, labelled, PICTURES.task)
        candidate = select.Candidate(name=name, score=select.score(outcomes_N, groups), milliseconds=milliseconds)
        trials.append(select.Trial(candidate=candidate, outcomes_N=outcomes_N))
    return next(line.name for line in select.decide(trials, groups, seed) if line.chosen)


def _claim(row: Row, gain: Doubles) -> Claim:
    mean, half = mean_and_half(gain)
    words = f"{row['scene']}, {row['labels a class']} labels a class: points that the choice brings (± {half:.2f})"
    return Claim(claim=words, value=mean, bound=-WORST, holds=mean >= -WORST)


def _timed(size: int, examples: Sequence[Example]) -> Row:
    """Milliseconds of one picture by both, one after the other."""
    sides = [_assembly(name, size, examples) for name in (PLAIN, LAYERS)]
    picture = [batches(side.preprocessor, examples[:1])[0] for side in sides]
    spent_NS = np.zeros((TIMED, 2))
    for turn in range(-WARM, TIMED):
        for place, side in enumerate(sides):
            begun = time.perf_counter()
            side.session.features(picture[place])
            spent_NS[max(turn, 0), place] = time.perf_counter() - begun
    plain, layers = 1000 * np.median(spent_NS, axis=0)
    return {
        "scene": f"one picture of {size} px, ms",
        "last features": round(float(plain), 2),
        "and stages": round(float(layers), 2),
        "ratio": round(float(layers / plain), 3),
    }


if __name__ == "__main__":
    sys.exit(main())
