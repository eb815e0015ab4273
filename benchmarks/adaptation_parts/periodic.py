"""The deeper circle under a stream of scenes: cycles of retraining, beside the head alone and training from scratch.

A model is adapted to a first scene in closed form; then others come (``benchmarks/adaptation_parts/stages.py``;
EfficientNet-Lite0), ten inputs at a time. Each is answered when it comes, and its label is learned one to three batches
later, in any order. Every label weighs the same.

* ``frozen``: the first version, for good. ``head``: its features, and the head that follows the labels.
* ``head and cycle``: the product (``benchmarks/adaptation_parts/product.py``), with what it does by default but for
  ``start = "champion"``; a cycle after every so many labels (of ``looks`` some 500, as it begins one by itself), and
  evidence on labelled answers where the gate cannot tell.
* ``from scratch``: at the same moments everything that was labelled so far tunes the pristine backbone anew, by the
  same recipe with its defaults, and nothing is kept aside for a gate, as in ``lepton adapt``; between them it stays as
  it is.

Of each: ``prequential``, the share of right first answers; ``average``, balanced accuracy on test rows of all scenes at
the end; ``backward transfer``, what scenes have gained since they were the present one, and ``forgetting``, what they
lost since they were best; ``worst``, the lowest mean over scenes seen, looked at every five batches; and processor
seconds of training: tuning, judging, exporting and embedding again, a refused cycle's too, and what a challenger costs.

Promises paired draws: all meet the same pictures and labels at the same moments. Draws 0 and 11 to 14, on which
settings were looked for, are not among them.

Legend: N examples, S scenes, T moments.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from benchmarks.adaptation_parts.heads import BATCH, EVERY, ClosedForm, arrivals
from benchmarks.adaptation_parts.measured import Curve, Measured
from benchmarks.adaptation_parts.product import Product
from benchmarks.adaptation_parts.stages import STREAMS, Stage, Stream
from benchmarks.debian import BENCH
from benchmarks.draws import Names, mean_told
from benchmarks.report import Claim, Row
from core.preprocess import Limits
from core.types import Doubles, Example, GridRows, Head, Scene
from training import features, judge, measure, package, recipe, tuning, zoo
from training.assemble import Assembly, assemble
from training.evaluate import balanced_accuracy
from training.judge import Bench
from training.tune import device
from training.tuning import Ask

WITHIN, COST = 1.0, 25.0  # points of accuracy; % of processor seconds
LAST = 50  # answers that a point of the curve is the mean of
PANEL = f"{{}}: right answers of the last {LAST}"
FROZEN, HEAD, CYCLE, SCRATCH = "frozen", "head", "head and cycle", "from scratch"


@dataclass(frozen=True, kw_only=True, eq=False)
class Followed:
    """How one way did on one stream: shares from 0 to 1, and processor seconds; what came of cycles, and what evidence
    ruled of challengers."""

    right_N: Doubles = field(repr=False)
    prequential: float
    average: float
    backward: float
    forgetting: float
    worst: float
    seconds: float
    outcomes: Sequence[str] = ()
    ruled: Sequence[str] = ()


class Way(Protocol):
    """What answers, and learns from labels as they come.

    Attributes:
        every: labels after which it trains. seconds: of the processor that went into training, and into challengers.
    """

    every: int
    seconds: float

    def begin(self, examples: Sequence[Example]) -> None:
        """Learn the first scene."""

    def answer(self, examples: Sequence[Example]) -> Names:
        """A label for each."""

    def traffic(self, examples: Sequence[Example]) -> Names:
        """The same of inputs that come."""

    def learn(self, examples: Sequence[Example]) -> None:
        """Take in labels that have come."""

    def moment(self) -> None:
        """Train."""


class Fixed:
    """The untouched features, and a head that follows the labels or does not."""

    every, seconds = 10**9, 0.0

    def __init__(self, rows: Mapping[str, GridRows], frozen: bool) -> None:
        self._rows, self._head = rows, ClosedForm(frozen, feedback=1)

    def begin(self, examples: Sequence[Example]) -> None:
        """Learn the first scene."""
        self._head.begin(self._of(examples), _labels(examples))

    def answer(self, examples: Sequence[Example]) -> Names:
        """A label for each."""
        return self._head.answer(self._of(examples))

    traffic = answer

    def learn(self, examples: Sequence[Example]) -> None:
        """Take in labels that have come."""
        self._head.learn(self._of(examples), _labels(examples))

    def moment(self) -> None:
        """No weight moves."""

    def _of(self, examples: Sequence[Example]) -> GridRows:
        return np.stack([self._rows[example.digest] for example in examples])


class Scratch:
    """The recipe on everything that was labelled so far, from the pristine backbone, each time."""

    def __init__(self, bench: Bench, stream: Stream) -> None:
        self.every, self._stream, self._bench = stream.every, stream, bench
        self._told: list[Example] = []
        self.seconds = 0.0

    def begin(self, examples: Sequence[Example]) -> None:
        """The closed form on the first scene, as everybody begins."""
        self._told += examples
        self._serve(_untouched(self._bench, self._stream), self._told)

    def answer(self, examples: Sequence[Example]) -> Names:
        """A label for each."""
        missing = [example for example in examples if example.digest not in self._rows]
        self._rows |= _rows(self._served, missing, None)
        found_ND = np.stack([self._rows[example.digest] for example in examples])
        chosen_N = measure.answers(self._bench.scene, self._head, found_ND).argmax(axis=1)
        said_N: Names = np.array(self._head.labels)[chosen_N]
        return said_N

    traffic = answer

    def learn(self, examples: Sequence[Example]) -> None:
        """They wait for the next training."""
        self._told += examples

    def moment(self) -> None:
        """Train."""
        begun = time.process_time()
        bench, floor = self._bench, _untouched(self._bench, self._stream)
        rows = tuning.sides(self._told, bench.scene, bench.seed)
        parity = package.check_parity(floor, judge.draw(rows.train, bench.seed))
        config = recipe.configure("finetune", {})
        asked = Ask(name="finetune", config=config, budget=float("inf"), device=device.alone())
        attempt = tuning.attempt(floor, parity, rows, bench, asked)
        self._serve(attempt.judged.assembly if attempt.judged else floor, self._told)
        self.seconds += time.process_time() - begun

    def _serve(self, assembly: Assembly, told: Sequence[Example]) -> None:
        self._served, self._rows = assembly, _rows(assembly, told, judge.cache_of(assembly, self._bench.cache))
        self._head: Head = judge.solve(self._bench.scene, told, self._rows)


def measured(*, quick: bool) -> Measured:
    """The table, the claims, and the accuracy over the streams; quickly, one draw of the first."""
    rows, claims, curves = list[Row](), list[Claim](), list[Curve]()
    for stream in STREAMS[:1] if quick else STREAMS:
        found: dict[str, list[Followed]] = {}
        for seed in range(1, 2 if quick else 1 + stream.draws):
            for name, one in drawn(stream, seed):
                found.setdefault(name, []).append(one)
                print(f"… {stream.name}, seed {seed}, {name}: {one}", file=sys.stderr, flush=True)
        rows += _table(stream.name, found)
        claims += _claims(stream.name, found)
        curves += _curves(stream.name, found)
    return Measured(rows=rows, claims=claims, curves=curves)


def drawn(stream: Stream, seed: int) -> Iterator[tuple[str, Followed]]:
    """Every way through one draw, by name."""
    stages = stream.stages(seed)
    with tempfile.TemporaryDirectory() as place:
        for name, way in _ways(Path(place), stages, stream, seed).items():
            one = followed(way, stages, seed)
            if isinstance(way, Product):
                one = replace(one, outcomes=[cycle.outcome for cycle in way.cycles], ruled=way.ruled)
                for cycle, spent in zip(way.cycles, way.spent, strict=True):
                    print(f"… {cycle.outcome}: {'; '.join(cycle.reasons)}; {spent}", file=sys.stderr)
                way.close()
            yield name, one


def followed(way: Way, stages: Sequence[Stage], seed: int) -> Followed:
    """Let one way go through the stream."""
    random, told = np.random.default_rng(seed), 0
    way.begin(stages[0].taught)
    ends_TS = [_scores(way, stages)]
    looks, right = [ends_TS[0][0]], list[Names]()
    for number, stage in enumerate(stages[1:], 1):
        for batch, arrived_N in enumerate(arrivals(len(stage.taught), random)):
            coming = stage.taught[batch * BATCH : (batch + 1) * BATCH]
            if coming:
                right.append(way.traffic(coming) == _labels(coming))
            if len(arrived_N):
                way.learn([stage.taught[place] for place in arrived_N])
            before, told = told, told + len(arrived_N)
            if told // way.every > before // way.every:
                way.moment()
            if batch % EVERY == EVERY - 1:
                looks.append(float(np.mean(_scores(way, stages[: number + 1]))))
        ends_TS.append(_scores(way, stages))
    looks.append(float(np.mean(ends_TS[-1])))
    scores_TS = np.array(ends_TS)
    earlier = range(len(stages) - 1)
    return Followed(
        right_N=np.concatenate(right).astype(np.float64),
        prequential=float(np.mean(np.concatenate(right))),
        average=float(scores_TS[-1].mean()),
        backward=float(np.mean([scores_TS[-1, s] - scores_TS[s, s] for s in earlier])),
        forgetting=float(np.mean([scores_TS[s:, s].max() - scores_TS[-1, s] for s in earlier])),
        worst=min(looks),
        seconds=way.seconds,
    )


def _ways(place: Path, stages: Sequence[Stage], stream: Stream, seed: int) -> dict[str, Way]:
    everything = [example for stage in stages for example in (*stage.taught, *stage.tested)]
    labels = tuple(sorted({str(example.label) for example in everything}))
    scene = Scene(name="stream", task="classification", modality=stream.modality, labels=labels, hash_key=b"stream")
    bench = Bench(scene, BENCH / "features", Limits(), None, os.cpu_count() or 1, seed)
    rows = _rows(_untouched(bench, stream), everything, bench.cache)
    (place / "scratch").mkdir()
    (place / "scratch" / "graphs").symlink_to((BENCH / "features" / "graphs").resolve())
    return {
        FROZEN: Fixed(rows, frozen=True),
        HEAD: Fixed(rows, frozen=False),
        CYCLE: Product(place / "home", stream, seed),
        SCRATCH: Scratch(replace(bench, cache=place / "scratch"), stream),
    }


def _untouched(bench: Bench, stream: Stream) -> Assembly:
    backbone = zoo.load(stream.backbone, zoo.Setting(size=stream.size))
    return assemble([backbone], bench.kind, bench.scene, bench.cache, [], bench.threads, bench.limits)


def _rows(assembly: Assembly, examples: Sequence[Example], cache: Path | None) -> dict[str, GridRows]:
    """(D,) features by example."""
    found_ND = features.extract(assembly.session, assembly.preprocessor, assembly.extractor, examples, cache)
    return {example.digest: row for example, row in zip(examples, found_ND, strict=True)}


def _labels(examples: Sequence[Example]) -> Names:
    return np.array([str(example.label) for example in examples])


def _scores(way: Way, stages: Sequence[Stage]) -> list[float]:
    """Balanced accuracy on the test pictures of each scene."""
    found = []
    for stage in stages:
        classes, truth_N = np.unique(_labels(stage.tested), return_inverse=True)
        index = {label: k for k, label in enumerate(classes)}
        said_N = np.array([index.get(label, -1) for label in way.answer(stage.tested)], np.intp)
        found.append(balanced_accuracy(said_N, truth_N))
    return found


def _table(stream: str, found: Mapping[str, Sequence[Followed]]) -> Iterator[Row]:
    for name, each in found.items():
        figures: dict[str, list[float]] = {
            "prequential": [one.prequential for one in each],
            "average": [one.average for one in each],
            "backward transfer": [one.backward for one in each],
            "forgetting": [one.forgetting for one in each],
            "worst": [one.worst for one in each],
        }
        told = {column: mean_told(100 * np.array(values)) for column, values in figures.items()}
        outcomes = [
            outcome for one in each for outcome in (*one.outcomes, *(f"{said} by labels" for said in one.ruled))
        ]
        counted = {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))}
        yield {
            "part": f"periodic, {stream}",
            "what": name,
            **told,
            "CPU s": mean_told(np.array([one.seconds for one in each])),
            "cycles": ", ".join(f"{count} {outcome}" for outcome, count in counted.items()),
        }


def _claims(stream: str, found: Mapping[str, Sequence[Followed]]) -> Iterator[Claim]:
    """How far behind the cycle is, all along and at the end, and what it cost."""
    pairs = list(zip(found[CYCLE], found[SCRATCH], strict=True))
    behind = {
        "of the first answers": 100 * np.array([scratch.prequential - mine.prequential for mine, scratch in pairs]),
        "at the end": 100 * np.array([scratch.average - mine.average for mine, scratch in pairs]),
    }
    for when, points in behind.items():
        far = float(points.mean())
        words = f"{stream}: points that training from scratch is above head and cycle {when} ({mean_told(points)})"
        yield Claim(claim=words, value=far, bound=WITHIN, holds=far <= WITHIN)
    cost = 100 * np.array([mine.seconds / scratch.seconds for mine, scratch in pairs])
    dear = float(cost.mean())
    words = f"{stream}: processor seconds of the cycles in % of training from scratch ({mean_told(cost)})"
    yield Claim(claim=words, value=dear, bound=COST, holds=dear <= COST)


def _curves(stream: str, found: Mapping[str, Sequence[Followed]]) -> Iterator[Curve]:
    """The share of right first answers among the last ones, as a stream goes by."""
    window = np.ones(LAST) / LAST
    for name, each in found.items():
        values_SN = np.array([np.convolve(one.right_N, window, mode="valid") for one in each])
        at_N = list(range(LAST, LAST + values_SN.shape[1]))
        yield Curve(panel=PANEL.format(stream), name=name, along="inputs answered", at_N=at_N, values_SN=values_SN)
