"""The closed-form head beside two tuned logistic regressions, on the same features of real pictures.

``python -m benchmarks.head [--quick] [--json FILE]``: photo and clip-art scene, EfficientNet-Lite0 through our own
export and ONNX Runtime, 5, 10 and 20 labels a class (never all: five pictures of every class stay for the test), 30
draws (quick: 10). Both peers get what a careful user would give them: their regularisation tuned by inner
cross-validation on the same labels (log loss, which served them better than accuracy), one on standardised raw
features, one on our transform.

Promises paired draws (every head sees the same labels and the same test) and intervals of the paired difference.

Legend: N examples, D features, K classes, R rank of the labelled rows.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks import scenes
from benchmarks.debian import BENCH
from benchmarks.draws import Answers, Names, Score, closed_form, logistic, mean_and_half, score
from benchmarks.report import Claim, Row, finish, options
from core.modality.image import decode
from core.preprocess import Limits, modality
from core.session import Session
from core.statistics import from_grid
from core.types import Doubles, Example, GridRows
from exporters.compose import Member, compose, extractor_digest
from training import data, zoo
from training.features import extract, graph

BACKBONE, SIZE = "efficientnet_lite0", 224
SHOTS = (5, 10, 20)
HELD = 5  # pictures of every class that are always left for the test
PENALTIES = {"standardised": np.logspace(-5, 1, 7), "sqrt_l2": np.logspace(-1, 4, 6)}  # C; the best lies inside
OURS = "closed form"


@dataclass(frozen=True, eq=False)
class Scene:
    """One scene as arrays: features on the grid, raw features, labels."""

    name: str
    grid_ND: GridRows
    raw_ND: Doubles
    labels_N: Names


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and give the exit code."""
    given = options(__doc__ or "", argv)
    draws = 10 if given.quick else 30
    rows: list[Row] = []
    claims: list[Claim] = []
    gains: list[Doubles] = []  # (draws,) for each scene and size
    for name, folder in (("photo", scenes.photo()), ("clip art", scenes.clip_art())):
        scene = _features(name, folder)
        for shots in SHOTS:
            with threadpool_limits(1):
                scores = [_draw(scene, shots, seed) for seed in range(draws)]
            cell_rows, gain, claim = _summary(scene.name, shots, scores)
            rows += cell_rows
            gains.append(gain)
            claims.append(claim)
    average, half = mean_and_half(np.mean(gains, axis=0))
    words = f"ours minus the better logistic regression, mean of all, points (± {half:.2f}), above 0"
    claims.append(Claim(claim=words, value=average, bound=0.0, holds=average > 0))
    return finish(f"Balanced accuracy in %, {draws} draws", rows, claims, given.json)


def _features(name: str, folder: Path) -> Scene:
    """Both forms of the features of every picture, from caches after the first run."""
    dataset = data.load(folder)
    examples = dataset.examples
    cache = BENCH / "features"
    member = graph(zoo.load(BACKBONE, zoo.Setting(size=SIZE)), cache)
    model = compose([Member(graph=member)])
    digest, session = extractor_digest(model), Session(model, threads=2)
    reader = modality("image").preprocessor(session.inputs, {}, Limits())
    grid_ND = extract(session, reader, digest, examples, cache)
    file = cache / f"raw-{digest[:16]}-{dataset.digest[:16]}.npy"
    if not file.exists():
        np.save(file, _raw(member, examples))
    labels = np.array([example.label for example in examples])
    return Scene(name, grid_ND, np.load(file).astype(np.float64), labels)


def _raw(member: bytes, examples: Sequence[Example]) -> NDArray[np.float32]:
    """(N, D) features as they leave the backbone."""
    session = ort.InferenceSession(member, providers=["CPUExecutionProvider"])
    pictures = (decode(Path(example.path).read_bytes(), (SIZE, SIZE), Limits()) for example in examples)
    return np.concatenate([session.run(["raw"], {"image": picture[None]})[0] for picture in pictures])


def _draw(scene: Scene, shots: int, seed: int) -> dict[str, Score]:
    """Every head on one draw of labels."""
    random = np.random.default_rng([seed, shots])
    order = random.permutation(len(scene.labels_N))
    taken = np.zeros(len(order), np.bool_)
    for label in np.unique(scene.labels_N):
        mine = order[scene.labels_N[order] == label]
        taken[mine[: min(shots, len(mine) - HELD)]] = True
    labels = scene.labels_N[taken]
    scaled_ND = from_grid(scene.grid_ND)
    raw_ND = scene.raw_ND
    mean, deviation = raw_ND[taken].mean(axis=0), raw_ND[taken].std(axis=0)
    standard_ND = (raw_ND - mean) / np.where(deviation > 0, deviation, 1.0)

    def ours() -> Answers:
        return closed_form(scene.grid_ND[taken], labels, scene.grid_ND[~taken])

    def peer(name: str, rows_ND: Doubles) -> Callable[[], Answers]:
        return lambda: logistic(rows_ND[taken], labels, rows_ND[~taken], PENALTIES[name], seed)

    heads = {
        OURS: ours,
        "logistic, standardised": peer("standardised", standard_ND),
        "logistic, sqrt + L2": peer("sqrt_l2", scaled_ND),
    }
    return {name: score(fit, scene.labels_N[~taken]) for name, fit in heads.items()}


def _summary(scene: str, shots: int, draws: Sequence[dict[str, Score]]) -> tuple[list[Row], Doubles, Claim]:
    """A table row for each head, the paired differences to the better peer in points, and the claim on them."""
    columns: defaultdict[str, list[Score]] = defaultdict(list)
    for draw in draws:
        for name, one in draw.items():
            columns[name].append(one)
    balanced = {name: 100 * np.array([score.balanced for score in scores]) for name, scores in columns.items()}
    rows: list[Row] = []
    for name, scores in columns.items():
        difference = None if name == OURS else mean_and_half(balanced[OURS] - balanced[name])
        mean, half = mean_and_half(balanced[name])
        rows.append(
            {
                "scene": scene,
                "labels a class": shots,
                "head": name,
                "balanced accuracy": f"{mean:.1f} ± {half:.1f}",
                "ours minus it": f"{difference[0]:+.1f} ± {difference[1]:.1f}" if difference else None,
                "ECE": round(float(np.mean([score.ece for score in scores])), 3),
                "fit seconds": round(float(np.median([score.seconds for score in scores])), 3),
            }
        )
    better = max((name for name in balanced if name != OURS), key=lambda name: float(balanced[name].mean()))
    gains = balanced[OURS] - balanced[better]
    gain, half = mean_and_half(gains)
    words = f"{scene}, {shots} labels: ours minus {better}, points, not below the interval"
    return rows, gains, Claim(claim=words, value=gain, bound=-half, holds=gain >= -half)


if __name__ == "__main__":
    sys.exit(main())
