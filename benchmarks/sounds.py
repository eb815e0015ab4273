"""Backbones of sounds under the closed-form head, beside log-mel statistics with logistic regression.

``python -m benchmarks.sounds [--quick] [--json FILE]``: spoken commands (labels from 5, 10 and 20 voices, the test
from 20 others) and voices (5, 10 and 20 labelled prompts each, the test from others), 20 draws (quick: 5). The peer
gets standardised features and a tuned regularisation.

Promises paired draws (every method sees the same labels and the same test), files read by the code that serves, and
features from the graph that is served. What the data are worth is said in ``benchmarks.speech``.

Legend: N examples, D features.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
from threadpoolctl import threadpool_limits

from benchmarks import speech
from benchmarks.draws import Answers, Flags, Names, closed_form, logistic, mean_and_half, score
from benchmarks.report import Claim, Row, finish, options
from core.modality.audio import KEY, preprocessor
from core.preprocess import Limits
from core.session import Session
from core.types import Doubles, GridRows
from exporters.backbone import Backbone, member
from exporters.compose import Member, compose
from exporters.transform import Transform
from training import zoo

SHOTS = (5, 10, 20)
LEARNED = ("openwakeword", "resemblyzer", "logmel_lite0")
BASELINE = "logmel"
PEER = "logmel, logistic regression"
PENALTIES = np.logspace(-4, 1, 6)
LEAST = 1e-6  # deviation that is divided by
TEST = 20  # voices, or prompts a class, that are tested on
# What is to be reached at 5, 10 and 20 labels, in %.
WANTED = {"commands": ("openwakeword", (85.0, 91.0, 94.0)), "voices": ("resemblyzer", (86.0, 92.0, 94.0))}

Split = tuple[Flags, Flags]  # labelled, tested


@dataclass(frozen=True, eq=False)
class Heard:
    """Every file of a scene through one backbone: features on the grid and raw, and seconds for each file, alone."""

    grid_ND: GridRows
    raw_ND: Doubles
    seconds: float


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and give the exit code."""
    given = options(__doc__ or "", argv)
    draws = 5 if given.quick else 20
    rows, claims = measured(draws)
    return finish(f"Balanced accuracy in %, {draws} draws", rows, claims, given.json)


def measured(draws: int) -> tuple[list[Row], list[Claim]]:
    """The table and the claims."""
    rows: list[Row] = []
    claims: list[Claim] = []
    scenes = (("commands", speech.words(), _unseen_voices), ("voices", speech.voices(), _unseen_prompts))
    for scene, folder, split in scenes:
        files = sorted(folder.rglob("*.wav"))
        labels, speakers = np.array([f.parent.name for f in files]), np.array([f.stem for f in files])
        heard = {name: _hear(zoo.load(name, zoo.Setting()), files) for name in (*LEARNED, BASELINE)}
        for place, shots in enumerate(SHOTS):
            splits = [split(labels, speakers, shots, np.random.default_rng([seed, shots])) for seed in range(draws)]
            with threadpool_limits(1):
                drawn = [_judged(heard, labels, at, seed) for seed, at in enumerate(splits)]
            scores = {name: np.array([draw[name] for draw in drawn]) for name in drawn[0]}
            rows += _rows(scene, shots, scores, heard)
            name, bounds = WANTED[scene]
            reached, words = float(scores[name].mean()), f"{scene}, {name}, {shots} labels a class, in %"
            claims.append(Claim(claim=words, value=reached, bound=bounds[place], holds=reached >= bounds[place]))
    return rows, claims


def _hear(backbone: Backbone, files: Sequence[Path]) -> Heard:
    """One file after the other, as single requests come."""
    graph = member(backbone)
    session = Session(compose([Member(graph=graph, transform=Transform(kind=backbone.transform))]))
    reader = preprocessor(session.inputs, backbone.files, Limits())
    bare = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    grid, raw, seconds = [], [], []
    for file in files:
        data = file.read_bytes()
        started = time.perf_counter()
        inputs = reader.batch([reader.read(data)])
        grid.append(session.features(inputs))
        seconds.append(time.perf_counter() - started)
        raw.append(bare.run(["raw"], {KEY: inputs[KEY]})[0])
    return Heard(np.concatenate(grid), np.concatenate(raw).astype(np.float64), float(np.median(seconds)))


def _unseen_voices(labels: Names, speakers: Names, shots: int, random: np.random.Generator) -> Split:
    """Labels from ``shots`` voices; 20 voices without labels are the test."""
    del labels
    order = random.permutation(np.unique(speakers))
    return np.isin(speakers, order[TEST : TEST + shots]), np.isin(speakers, order[:TEST])


def _unseen_prompts(labels: Names, speakers: Names, shots: int, random: np.random.Generator) -> Split:
    """So many labels of each class; all other files are the test."""
    del speakers
    order = random.permutation(len(labels))
    taken = np.zeros(len(labels), np.bool_)
    for label in np.unique(labels):
        taken[order[labels[order] == label][:shots]] = True
    return taken, ~taken


def _judged(heard: dict[str, Heard], labels: Names, split: Split, seed: int) -> dict[str, float]:
    """Balanced accuracy of every method on one draw, in %."""
    taken, test = split

    def ours(one: Heard) -> Callable[[], Answers]:
        return lambda: closed_form(one.grid_ND[taken], labels[taken], one.grid_ND[test])

    raw_ND = heard[BASELINE].raw_ND
    standard_ND = (raw_ND - raw_ND[taken].mean(axis=0)) / np.maximum(raw_ND[taken].std(axis=0), LEAST)
    heads = {name: ours(one) for name, one in heard.items()}
    heads[PEER] = lambda: logistic(standard_ND[taken], labels[taken], standard_ND[test], PENALTIES, seed)
    return {name: 100 * score(fit, labels[test]).balanced for name, fit in heads.items()}


def _rows(scene: str, shots: int, scores: dict[str, Doubles], heard: dict[str, Heard]) -> Iterator[Row]:
    for name, values in scores.items():
        (mean, half), (more, apart) = mean_and_half(values), mean_and_half(values - scores[PEER])
        yield {
            "scene": scene,
            "labels a class": shots,
            "method": name if name == PEER else f"{name}, closed form",
            "balanced accuracy": f"{mean:.1f} ± {half:.1f}",
            "minus the peer": None if name == PEER else f"{more:+.1f} ± {apart:.1f}",
            "ms a sound": round(1000 * heard[name].seconds, 1) if name in heard else None,
        }


if __name__ == "__main__":
    sys.exit(main())
