"""The layers of a backbone beside its last features: what a closed-form head gains by them, and what they cost.

``python -m benchmarks.layers [--quick] [--json FILE]``: EfficientNet-Lite0 and the same with its stages
(``layers:efficientnet_lite0``), on photographs, clip art and emoji of four kinds of thing (``benchmarks/looks.py``, at
64 and 160 px), scikit-learn's digits and MNIST (32 px); MiniLM and the same with layers of its upper half
(``layers:minilm``), on films, products and tweets, liked or not (2,500 of each), and on intents of a home, tested on
templates that gave no label (``benchmarks/texts.py``). 5, 10, 20 and 50 labels a class (intents: at most 20; clip art:
100, too), 20 draws (quick: 3, one scene). The rest tests. ``chosen`` is what ``lepton adapt`` would have taken of the
two, by its own rule (``training/select.py``: leave-one-out on the labelled rows). Milliseconds are of one example
through ONNX Runtime on one thread, in turns, median of 200.

Promises paired draws: both see the same labels and the same test.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import looks, scenes, texts
from benchmarks.debian import BENCH
from benchmarks.draws import closed_form, mean_and_half, mean_told, score, shots
from benchmarks.report import Claim, Row, finish, options
from core.preprocess import Limits
from core.types import Doubles, Example, GridRows, Scene
from training import data, features, select, zoo
from training.assemble import Assembly, alone, batches

LABELS, DRAWS, TIMED, WARM = (5, 10, 20, 50), 20, 200, 20
MOST = 2500  # texts of a domain
WORST, SLOWER = 1.0, 1.1  # points that the choice may lose to the last features alone; times the milliseconds
PREFIX = "layers:"


@dataclass(frozen=True, kw_only=True)
class Series:
    """Where examples come from, and what reads them.

    Attributes:
        sizes: of pictures, in pixels; None of texts. labels: a class. grouped: the name of a file tells, before a dash,
            with which others it must not stand on both sides.
    """

    folder: Callable[[], Path]
    backbone: str = "efficientnet_lite0"
    modality: str = "image"
    sizes: tuple[int | None, ...] = (64, 160)
    labels: tuple[int, ...] = LABELS
    grouped: bool = False

    @property
    def names(self) -> tuple[str, str]:
        """The backbone without its layers, and with them."""
        return self.backbone, f"{PREFIX}{self.backbone}"

    @property
    def scene(self) -> Scene:
        """What is asked of an example."""
        return Scene(name="layers", task="classification", modality=self.modality)

    def examples(self) -> Sequence[Example]:
        """At most ``MOST`` of texts, drawn; all pictures."""
        found = data.load(self.folder()).examples
        order = np.random.default_rng(0).permutation(len(found))
        return found if self.modality == "image" else [found[place] for place in np.sort(order[:MOST])]


_TEXTS = partial(Series, backbone="minilm", modality="text", sizes=(None,))
SERIES: dict[str, Series] = {
    "photographs": Series(folder=looks.photo),
    "clip art": Series(folder=looks.clip_art, labels=(*LABELS, 100)),
    "emoji": Series(folder=looks.emoji),
    "digits": Series(folder=lambda: scenes.digits(BENCH / "scenes" / "digits"), sizes=(32,)),
    "MNIST": Series(folder=lambda: scenes.mnist(BENCH / "scenes" / "mnist"), sizes=(32,)),
    **{name: _TEXTS(folder=partial(texts.folder, name)) for name in texts.DOMAINS},
    "intents": _TEXTS(folder=texts.spoken, labels=LABELS[:3], grouped=True),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and give the exit code."""
    given = options(__doc__ or "", argv)
    rows, claims = list[Row](), list[Claim]()
    wanted = list(SERIES.items())[: 1 if given.quick else None]
    for name, series in wanted:
        examples = series.examples()
        for size in series.sizes[: 1 if given.quick else None]:
            told = name if size is None else f"{name}, {size} px"
            found = {backbone: _features(series, backbone, size, examples) for backbone in series.names}
            for each in series.labels:
                row, gain = _compared(told, series, examples, found, each, 3 if given.quick else DRAWS)
                rows.append(row)
                claims.append(_claim(row, gain))
    timed = {(series.modality, size): series for _, series in reversed(wanted) for size in series.sizes}
    for (modality, size), series in timed.items():
        words = f"one {modality}" + ("" if size is None else f" of {size} px")
        rows.append(row := _timed(words, series, size))
        ratio = float(str(row["ratio"]))
        words = f"{words}: milliseconds with layers, as a multiple of without"
        claims.append(Claim(claim=words, value=ratio, bound=SLOWER, holds=ratio <= SLOWER))
    return finish("Balanced accuracy in %, closed form, without and with layers", rows, claims, given.json)


def _assembly(series: Series, name: str, size: int | None, examples: Sequence[Example]) -> Assembly:
    return alone(zoo.load(name, zoo.Setting(size=size)), series.scene, BENCH / "features", examples, Limits())


def _features(series: Series, name: str, size: int | None, examples: Sequence[Example]) -> GridRows:
    made = _assembly(series, name, size, examples)
    return features.extract(made.session, made.preprocessor, made.extractor, examples, BENCH / "features")


def _compared(
    told: str, series: Series, examples: Sequence[Example], found: dict[str, GridRows], each: int, draws: int
) -> tuple[Row, Doubles]:
    """The table's row, and what the choice brings in points, draw by draw."""
    labels_N = np.array([example.label for example in examples])
    groups_N = np.array([Path(example.path).name.split("-")[0] for example in examples]) if series.grouped else None
    balanced: dict[str, list[float]] = {name: [] for name in series.names}
    chosen: list[str] = []
    for seed in range(draws):
        taken_N, left_N = shots(labels_N, each, seed, groups_N)
        left_N &= np.isin(labels_N, labels_N[taken_N])
        with threadpool_limits(1):
            for name, rows_ND in found.items():
                fit = partial(closed_form, rows_ND[taken_N], labels_N[taken_N], rows_ND[left_N])
                balanced[name].append(100 * score(fit, labels_N[left_N]).balanced)
            labelled = [examples[place] for place in np.flatnonzero(taken_N).tolist()]
            rows = {name: rows_ND[taken_N] for name, rows_ND in found.items()}
            chosen.append(_chosen(series.scene, labelled, rows, seed))
    plain, layers = (np.array(balanced[name]) for name in series.names)
    gain = np.where(np.array(chosen) == series.names[1], layers - plain, 0.0)
    row: Row = {
        "scene": told,
        "labels a class": each,
        "last features": mean_told(plain),
        "and layers": mean_told(layers),
        "gain": mean_told(layers - plain, "+"),
        "layers chosen": f"{chosen.count(series.names[1])} of {draws}",
        "gain of the chosen": mean_told(gain, "+"),
    }
    return row, gain


def _chosen(scene: Scene, labelled: Sequence[Example], found: dict[str, GridRows], seed: int) -> str:
    """Which of the two ``lepton adapt`` would take."""
    groups = select.groups([(scene, labelled)])
    trials = []
    for milliseconds, (name, rows_ND) in enumerate(found.items(), 1):  # the plain one is the quicker of the two
        outcomes_N = select.outcomes(rows_ND, labelled, scene.task)
        candidate = select.Candidate(name=name, score=select.score(outcomes_N, groups), milliseconds=milliseconds)
        trials.append(select.Trial(candidate=candidate, outcomes_N=outcomes_N))
    return next(line.name for line in select.decide(trials, groups, seed) if line.chosen)


def _claim(row: Row, gain: Doubles) -> Claim:
    mean, half = mean_and_half(gain)
    words = f"{row['scene']}, {row['labels a class']} labels a class: points that the choice brings (± {half:.2f})"
    return Claim(claim=words, value=mean, bound=-WORST, holds=mean >= -WORST)


def _timed(told: str, series: Series, size: int | None) -> Row:
    """Milliseconds of one example by both, one after the other."""
    examples = series.examples()[:1]
    sides = [_assembly(series, name, size, examples) for name in series.names]
    asked = [batches(side.preprocessor, examples)[0] for side in sides]
    spent_NS = np.zeros((TIMED, 2))
    for turn in range(-WARM, TIMED):
        for place, side in enumerate(sides):
            begun = time.perf_counter()
            side.session.features(asked[place])
            spent_NS[max(turn, 0), place] = time.perf_counter() - begun
    plain, layers = 1000 * np.median(spent_NS, axis=0)
    return {
        "scene": f"{told}, ms",
        "last features": round(float(plain), 2),
        "and layers": round(float(layers), 2),
        "ratio": round(float(layers / plain), 3),
    }


if __name__ == "__main__":
    sys.exit(main())
