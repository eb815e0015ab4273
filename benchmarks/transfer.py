"""Labels in one scene, inputs alone in another: what each method of ``training.transfer`` brings there.

``python -m benchmarks.transfer [--quick] [--json FILE]``: clip art to photographs and back (the five classes they
share), MNIST to scikit-learn's digits; EfficientNet-Lite0 at 96 px. Of the source up to 500 labelled examples learn and
a fifth of it judges (reverse validation); of the target up to 256 inputs are given without labels, and up to 500 others
test. 5 seeds (quick: 1). ``taken`` is what ``lepton adapt --unlabelled`` would have taken, by its own rule.

Promises paired draws: every method sees the same examples and the same test. To add a method is to add a function to
``METHODS``: it is given a ``Pair`` and answers the target's test inputs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks import scenes
from benchmarks.debian import BENCH
from benchmarks.draws import mean_and_half
from benchmarks.report import Claim, Row, finish, options
from core import plugins
from core.preprocess import Limits
from core.preprocess import Row as PreparedRow
from core.types import Doubles, Example, Scene
from training import data, features, unlabelled, zoo
from training.assemble import Assembly, assemble
from training.situation import Situation
from training.unlabelled import FLOOR, Judge, Judges, Method

BACKBONE, SIZE = "efficientnet_lite0", 96
LABELLED, JUDGING, INPUTS, TESTED = 500, 0.2, 256, 500
TAKEN = "taken"
WORST = 1.0  # points that the rule may lose in the mean over a pair's seeds

Names = NDArray[np.str_]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One draw of a pair of scenes."""

    situation: Situation
    judge: Judge
    tested: tuple[Example, ...]
    rows: list[PreparedRow]


def transferred(name: str, pair: Pair) -> tuple[Names, Doubles]:
    """What the source's head answers by the extractor that a method gives, and how reverse validation judges that."""
    made = pair.situation.assembly
    if name != FLOOR:
        made = cast("Method", plugins.load(unlabelled.METHODS, name)).adapt(pair.situation)
    answers = unlabelled.said(pair.situation.head, unlabelled.extracted(made, pair.rows))
    return answers, pair.judge.outcomes(made)


METHODS: dict[str, Callable[[Pair], tuple[Names, Doubles | None]]] = {
    name: partial(transferred, name) for name in (FLOOR, *plugins.names(unlabelled.METHODS))
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and give the exit code."""
    given = options(__doc__ or "", argv)
    rows: list[Row] = []
    claims: list[Claim] = []
    digits = (scenes.mnist(BENCH / "scenes" / "mnist"), scenes.digits(BENCH / "scenes" / "digits"))
    pairs = {
        "clip art → photo": (scenes.clip_art(), scenes.photo()),
        "photo → clip art": (scenes.photo(), scenes.clip_art()),
        "MNIST → digits": digits,
    }
    for name, (source, target) in pairs.items():
        with threadpool_limits(1):
            told, claim = _measured(name, source, target, 1 if given.quick else 5)
        rows += told
        claims.append(claim)
    return finish("Accuracy on the target, of which no label is known, in %", rows, claims, given.json)


def _measured(name: str, source: Path, target: Path, seeds: int) -> tuple[list[Row], Claim]:
    labelled, others = (data.load(folder).examples for folder in (source, target))
    shared = {example.label for example in labelled} & {example.label for example in others}
    scene = Scene(name="transfer", task="classification", modality="image", labels=tuple(sorted(filter(None, shared))))
    backbone = zoo.load(BACKBONE, zoo.Setting(size=SIZE))
    assembly = assemble([backbone], None, scene, BENCH / "features", [], 2, Limits())
    scores: dict[str, list[float]] = {}
    gains: dict[str, list[float]] = {}
    chosen: list[str] = []
    for seed in range(seeds):
        pair = _pair(scene, assembly, _of(labelled, shared), _of(others, shared), seed)
        trials, floor_V = [], None
        for method, answer in METHODS.items():
            said, outcomes_V = answer(pair)
            scores.setdefault(method, []).append(_balanced(said, pair.tested))
            if outcomes_V is not None:
                floor_V = outcomes_V if floor_V is None else floor_V
                trials.append(pair.judge.trial(method, outcomes_V, floor_V, 0.0))
                gains.setdefault(method, []).append(100 * trials[-1].gain)
            print(f"… {name}, seed {seed}, {method}: {scores[method][-1]:.1f} %", file=sys.stderr, flush=True)
        chosen.append(unlabelled.better(trials).name)
        scores.setdefault(TAKEN, []).append(scores[chosen[-1]][-1])
    rows = [_row(name, method, scores, gains, chosen) for method in (*METHODS, TAKEN)]
    lost = float(np.mean(np.array(scores[FLOOR]) - np.array(scores[TAKEN])))
    words = f"{name}: points lost by what is taken, against the untouched extractor"
    return rows, Claim(claim=words, value=lost, bound=WORST, holds=lost <= WORST)


def _of(examples: Sequence[Example], labels: set[str | None]) -> list[Example]:
    return [example for example in examples if example.label in labels]


def _pair(scene: Scene, assembly: Assembly, labelled: Sequence[Example], others: Sequence[Example], seed: int) -> Pair:
    random = np.random.default_rng(seed)
    drawn = [labelled[place] for place in random.permutation(len(labelled))]
    cut = round(JUDGING * len(drawn))
    judging = [replace(example, split="validation") for example in drawn[:cut][:LABELLED]]
    learning = [replace(example, split="train") for example in drawn[cut:][:LABELLED]]
    places = random.permutation(len(others))
    few = min(INPUTS, len(places) // 2)
    inputs = [replace(others[place], label=None) for place in places[:few]]
    tested = tuple(others[place] for place in places[few:][:TESTED])
    source = [*learning, *judging]
    rows_ND = features.extract(assembly.session, assembly.preprocessor, assembly.extractor, source, BENCH / "features")
    rows = {example.digest: row for example, row in zip(source, rows_ND, strict=True)}
    situation, judge = unlabelled.prepare(scene, assembly, inputs, Judges(source=source, rows=rows), seed)
    read = [features.read(example, assembly.preprocessor) for example in tested]
    return Pair(situation=situation, judge=judge, tested=tested, rows=read)


def _balanced(said: Names, tested: Sequence[Example]) -> float:
    truth = np.array([example.label for example in tested])
    return 100 * float(np.mean([(said[truth == label] == label).mean() for label in np.unique(truth)]))


def _row(
    name: str, method: str, scores: dict[str, list[float]], gains: dict[str, list[float]], chosen: Sequence[str]
) -> Row:
    held, floor = np.array(scores[method]), np.array(scores[FLOOR])
    told: dict[str, str | int | float | None] = {"scenes": name, "method": method, "seeds": len(held)}
    told["balanced accuracy"] = _told(held)
    told["against none"] = "" if method == FLOOR else _told(held - floor, sign="+")
    told["by reverse validation"] = _told(np.array(gains[method]), sign="+") if method in gains else ""
    told["taken"] = chosen.count(method) if method != TAKEN else None
    return told


def _told(values: Doubles, sign: str = "") -> str:
    if len(values) < 2:
        return f"{values[0]:{sign}.1f}"
    mean, half = mean_and_half(values)
    return f"{mean:{sign}.1f} ± {half:.1f}"


if __name__ == "__main__":
    sys.exit(main())
