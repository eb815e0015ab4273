"""Fusions of three backbones beside the best of them, on real pictures of two scenes.

``python -m benchmarks.fusion [--quick] [--json FILE]``: photo and clip-art scene at 96 pixels, EfficientNet-Lite0, 1
and 2 through our own export and ONNX Runtime, 5, 10 and 20 labels a class, 20 draws (quick: 5). In every draw all
fusions see the same labels and are tested on the same other pictures. What they are compared with is what a user has
without fusion: the one backbone that leave-one-out on the labels of the draw ranks first. ``auto`` is what
``lepton adapt --fuse auto`` does: it fuses only where leave-one-out on those labels says that it pays. Fused
weights are in ``benchmarks.recipes``.

Promises paired draws and intervals of the paired difference; milliseconds are those of the members on one thread,
measured in this run; seconds are what the choice of α and the heads took. Features of the labelled rows are put side by
side by the same code as in training, so no graph is composed.

Legend: N rows, D features, K classes.
"""

from __future__ import annotations

import functools
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks import scenes
from benchmarks.debian import BENCH
from benchmarks.draws import Flags, Names, mean_and_half
from benchmarks.report import Claim, Row, finish, options
from core.blocks import whole
from core.head import HeadState
from core.head import Row as Labelled
from core.preprocess import Limits
from core.statistics import from_grid
from core.types import Block, Doubles, GridRows, Scene
from training import data, features, select, zoo
from training.assemble import Joint, alone
from training.evaluate import balanced_accuracy
from training.fuse import features as side_by_side
from training.fuse import logits
from training.merge import members
from training.merge.ensemble import joint_of
from training.merge.members import Given, Member, Mix
from training.merge.proposal import WORTH, evidence, judge

BACKBONES, SIZE = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"), 96
SHOTS = (5, 10, 20)
HELD = 5  # pictures of every class that are always left for the test
SINGLE, AUTO = "one backbone, by leave-one-out", "auto"
PRUNED, LOGITS = "features, pruned", "logits"
PAYING = side_by_side.Config(worth=WORTH, least=1)  # as with auto


@dataclass(frozen=True, eq=False)
class Pictures:
    """One scene: features of all pictures by every backbone, labels, and what a picture costs each backbone."""

    name: str
    features: tuple[GridRows, ...]
    labels_N: Names
    milliseconds: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Result:
    """One way on one draw: balanced accuracy in points, milliseconds of its members, seconds to choose and to fit."""

    points: float
    milliseconds: float
    seconds: float
    members: int


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and give the exit code."""
    given = options(__doc__ or "", argv)
    draws = 5 if given.quick else 20
    rows: list[Row] = []
    gains: defaultdict[str, list[Doubles]] = defaultdict(list)
    for name, folder in (("photo", scenes.photo()), ("clip art", scenes.clip_art())):
        pictures = _pictures(name, folder)
        for shots in SHOTS:
            with threadpool_limits(1):
                results = [_draw(pictures, shots, seed) for seed in range(draws)]
            rows += _rows(name, shots, results)
            for way in results[0]:
                gains[way].append(np.array([r[way].points - r[SINGLE].points for r in results]))
    return finish(f"Balanced accuracy in %, {draws} draws", rows, _claims(gains), given.json)


def _pictures(name: str, folder: Path) -> Pictures:
    """Features from the cache after the first run; latencies measured now."""
    examples = data.load(folder).examples
    scene = Scene(name=name, task="classification", modality="image")
    found: list[GridRows] = []
    spent: list[float] = []
    for backbone in BACKBONES:
        made = alone(zoo.load(backbone, zoo.Setting(size=SIZE)), scene, BENCH / "features", examples[:64], Limits())
        found.append(features.extract(made.session, made.preprocessor, made.extractor, examples, BENCH / "features"))
        spent.append(select.latency(made.session, made.preprocessor, examples[0]))
    return Pictures(name, tuple(found), np.array([example.label for example in examples]), tuple(spent))


def _draw(pictures: Pictures, shots: int, seed: int) -> dict[str, Result]:
    """Every way on one draw of labels."""
    taken_N = _taken(pictures.labels_N, shots, seed)
    labels = pictures.labels_N[taken_N]
    targets_NK = np.eye(len(np.unique(labels)))[np.unique(labels, return_inverse=True)[1]]
    each = [
        Member(name=name, features_ND=rows_ND[taken_N], milliseconds=spent)
        for name, rows_ND, spent in zip(BACKBONES, pictures.features, pictures.milliseconds, strict=True)
    ]
    given = Given(
        members=each, task="classification", targets_NK=targets_NK, judged_N=np.ones(len(labels), np.bool_), seed=seed
    )
    timed = {name: _timed(choose) for name, choose in _choices(given).items()}
    mixes = {name: choice for name, (choice, _) in timed.items()}
    timed[AUTO] = _auto(given, mixes), timed[PRUNED][1] + timed[LOGITS][1]
    for way in ("greedy", "convex"):
        timed[f"logits, {way}"] = _by(given, mixes[LOGITS], way), timed[LOGITS][1]
    return {way: _result(pictures, taken_N, mix, seconds) for way, (mix, seconds) in timed.items()}


def _choices(given: Given) -> dict[str, Callable[[], Mix]]:
    """Every way to choose members and shares from the labelled rows."""
    return {
        SINGLE: lambda: _single(given),
        **{name: functools.partial(_only, given, place) for place, name in enumerate(BACKBONES)},
        "features, all three": lambda: side_by_side.fuse(given, side_by_side.Config(least=3)),
        PRUNED: lambda: side_by_side.fuse(given, PAYING),
        "logits, equal shares": lambda: _shared(given, members.shares([1.0] * len(given.members))),
        LOGITS: lambda: logits.fuse(given),
    }


def _timed(choose: Callable[[], Mix]) -> tuple[Mix, float]:
    begun = time.perf_counter()
    return choose(), time.perf_counter() - begun


def _taken(labels_N: Names, shots: int, seed: int) -> Flags:
    order = np.random.default_rng([seed, shots]).permutation(len(labels_N))
    taken_N: Flags = np.zeros(len(labels_N), np.bool_)
    for label in np.unique(labels_N):
        mine = order[labels_N[order] == label]
        taken_N[mine[: min(shots, len(mine) - HELD)]] = True
    return taken_N


def _single(given: Given) -> Mix:
    scores = [members.score(given, members.alone(given, member)) for member in given.members]
    return _only(given, int(np.argmax(scores)))


def _only(given: Given, place: int) -> Mix:
    return _shared(given, [float(other == place) for other in range(len(given.members))])


def _shared(given: Given, alphas: Sequence[float]) -> Mix:
    wide = tuple(member.features_ND.shape[1] for member in given.members)
    return Mix(alphas=tuple(alphas), widths=wide, blocks=True, outcomes_N=np.zeros(0))


def _by(given: Given, mix: Mix, way: str) -> Mix:
    """The shares that one way chose, whichever did better."""
    return _shared(given, [mix.chosen[f"{way} share of {member.name}"] for member in given.members])


def _auto(given: Given, mixes: dict[str, Mix]) -> Mix:
    """As training.merge.candidates decides."""
    found = []
    for name in (PRUNED, LOGITS):
        mix = mixes[name]
        told = evidence(name, given, mix.outcomes_N, mix.alphas, [None] * len(mix.alphas), {}, {})
        if len(mix.kept) > 1 and judge(told, slower=True, pays=True).accepted:
            found.append((told.score, mix))
    return max(found, key=lambda pair: pair[0])[1] if found else mixes[SINGLE]


def _result(pictures: Pictures, taken_N: Flags, mix: Mix, seconds: float) -> Result:
    begun = time.perf_counter()
    joint = joint_of(mix) if len(mix.kept) > 1 else None
    rows_ND = _features(pictures, mix.kept, joint)
    state = HeadState(rows_ND.shape[1], key=b"lepton", blocks=_blocks(joint, rows_ND.shape[1]))
    labels = pictures.labels_N
    state.add(Labelled(str(n), rows_ND[n], str(labels[n]), None, 1) for n in np.flatnonzero(taken_N))
    head = state.solve()
    fitted = time.perf_counter() - begun
    assert head is not None, "every class has five labels"
    scores_NK = from_grid(rows_ND[~taken_N]) @ head.weight + head.bias
    truth_N: NDArray[np.intp] = np.array([head.labels.index(str(label)) for label in labels[~taken_N]], np.intp)
    return Result(
        points=100 * balanced_accuracy(scores_NK.argmax(axis=1), truth_N),
        milliseconds=sum(pictures.milliseconds[place] for place in mix.kept),
        seconds=seconds + fitted,
        members=len(mix.kept),
    )


def _blocks(joint: Joint | None, width: int) -> tuple[Block, ...]:
    return (joint.cut() if joint else ()) or whole(width)


def _features(pictures: Pictures, kept: Sequence[int], joint: Joint | None) -> GridRows:
    if joint is None:
        return pictures.features[kept[0]]
    chosen = [Member(name="", features_ND=pictures.features[place]) for place in kept]
    return side_by_side.joined(chosen, joint.widths)


def _rows(scene: str, shots: int, results: Sequence[dict[str, Result]]) -> list[Row]:
    rows: list[Row] = []
    for way in results[0]:
        points = np.array([result[way].points for result in results])
        gain = points - np.array([result[SINGLE].points for result in results])
        (mean, half), (more, more_half) = mean_and_half(points), mean_and_half(gain)
        rows.append(
            {
                "scene": scene,
                "labels a class": shots,
                "way": way,
                "balanced accuracy": f"{mean:.1f} ± {half:.1f}",
                "minus one backbone": None if way == SINGLE else f"{more:+.1f} ± {more_half:.1f}",
                "members": round(float(np.mean([result[way].members for result in results])), 1),
                "ms": round(float(np.mean([result[way].milliseconds for result in results])), 1),
                "choose and fit s": round(float(np.median([result[way].seconds for result in results])), 2),
            }
        )
    return rows


def _claims(gains: dict[str, list[Doubles]]) -> list[Claim]:
    """What fusion promises, over all scenes and sizes: draws with the same number are averaged, then judged."""
    made = []
    for way in (AUTO, "features, all three", LOGITS):
        gain, half = mean_and_half(np.mean(gains[way], axis=0))
        words = f"{way} minus one backbone by leave-one-out, mean of all, points (± {half:.2f}), not below 0"
        made.append(Claim(claim=words, value=gain, bound=0.0, holds=gain >= 0))
    return made


if __name__ == "__main__":
    sys.exit(main())
