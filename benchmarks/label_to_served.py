"""How long a label takes from its 202 to the first answer of every worker that includes it.

``python -m benchmarks.label_to_served [--quick] [--json FILE] [--picture FILE]``: EfficientNet-Lite0 (1,280 features)
at 96 px, adapted on MNIST digits; over HTTP, two workers and a learner, with 20 predictions a second beside it from
another process. Labels are on digits of the other scene, every one on a picture of its own. Two homes, with 1,000 and
with 20,000 standing labels, are served side by side and take turns, so that the machine's noise meets both alike.

Promises that nothing is taken from inside the processes for the figures that the claims rest on: a label counts as
served when both workers have answered a prediction with its sequence. The moment of publication, read from the
revision's row afterwards, only splits that time in two.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks import standing
from benchmarks.load import Load, Plan, driven
from benchmarks.report import Claim, Row, finish, options
from benchmarks.stack import HOST, Stack, running
from benchmarks.standing import SCENE, Picture, published_at
from benchmarks.wire import Wire, WireError, one_to_each

STANDING = (1_000, 20_000)
WORKERS = 2
RATE = 20.0  # predictions a second beside it
LOOK = 0.04  # seconds between two looks at a worker; they are predictions, and cost what those cost
PAUSE = (0.1, 0.4)  # seconds between a label that is served and the next one, drawn evenly
BLOCK = 10  # labels before the other home takes its turn
WARM = 3  # labels of a home that are not counted
PATIENCE = 30.0
MEDIAN, P99, RATIO = 0.3, 1.0, 1.3  # the claims' bounds: seconds, seconds, times


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One label: its sequence, and when (seconds since the epoch) it was acknowledged and first answered by each
    worker."""

    sequence: int
    acknowledged: float
    answered: tuple[float, ...]

    @property
    def seconds(self) -> float:
        """Until every worker answered with it."""
        return max(self.answered) - self.acknowledged


@dataclass
class Side:
    """One home under measurement."""

    examples: int
    home: Path
    stack: Stack
    timings: list[Timing] = field(default_factory=list)
    load: Load = field(default_factory=Load)


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and give the exit code."""
    given = options(__doc__ or "", argv, picture=True)
    labels = 30 if given.quick else 120
    base, pool = standing.prepare(), standing.pictures(seed=1)
    with ExitStack() as held:
        sides = []
        for examples in STANDING:
            home = standing.filled(base, examples)
            sides.append(Side(examples, home, held.enter_context(running(home, workers=WORKERS))))
        _measure(sides, pool, labels)
    rows = [_row(side) for side in sides]
    if given.picture:
        _draw(sides, given.picture)
    title = f"Seconds from a label's 202 to an answer of each of {WORKERS} workers that includes it"
    return finish(title, rows, _claims(sides), given.json)


def _measure(sides: Sequence[Side], pool: Sequence[Picture], labels: int) -> None:
    """``labels`` timings of every side, in turns."""
    random, fresh = np.random.default_rng(0), iter(pool)
    for side in sides:
        _turn(side, fresh, WARM, random)
        side.timings.clear()
        side.load = Load()
    while (done := len(sides[0].timings)) < labels:
        for side in sides:
            _turn(side, fresh, min(BLOCK, labels - done), random)


def _turn(side: Side, fresh: Iterator[Picture], count: int, random: np.random.Generator) -> None:
    """Some labels of one side, under load."""
    probe = next(fresh).data
    wires = one_to_each(HOST, side.stack.port, WORKERS, SCENE, probe)
    beside = [picture.data for picture, _ in zip(fresh, range(8), strict=False)]
    plan = Plan(host=HOST, port=side.stack.port, workers=WORKERS, scene=SCENE, pictures=beside, rate=RATE)
    with driven(plan, side.load), ThreadPoolExecutor(WORKERS) as watchers:
        for _ in range(count):
            time.sleep(random.uniform(*PAUSE))
            side.timings.append(_label(wires, watchers, next(fresh), probe, bool(random.integers(2))))
    for wire in wires.values():
        wire.close()


def _label(wires: dict[str, Wire], watchers: ThreadPoolExecutor, picture: Picture, probe: bytes, other: bool) -> Timing:
    """Predict a picture, label it, and watch every worker until it has learned it."""
    teller = wires[max(wires) if other else min(wires)]
    prediction = str(teller.predict(SCENE, picture.data).predictions[0]["prediction_id"])
    sequence = teller.label(prediction, picture.label)
    acknowledged = time.time()
    looks = [watchers.submit(_watch, worker, wire, probe, sequence) for worker, wire in wires.items()]
    return Timing(sequence=sequence, acknowledged=acknowledged, answered=tuple(look.result() for look in looks))


def _watch(worker: str, wire: Wire, probe: bytes, sequence: int) -> float:
    """When this worker's first answer with ``sequence`` was here."""
    deadline = time.time() + PATIENCE
    due = time.time()
    while due < deadline:
        answer = wire.predict(SCENE, probe)
        now = time.time()
        if answer.worker != worker:
            raise WireError(f"the connection to worker {worker} was answered by worker {answer.worker}")
        if answer.sequence >= sequence:
            return now
        due = max(due + LOOK, now)
        time.sleep(due - now)
    raise TimeoutError(f"worker {worker} did not include event {sequence} within {PATIENCE:.0f} s")


def _row(side: Side) -> Row:
    seconds = np.array([timing.seconds for timing in side.timings])
    published = published_at(side.home)
    solved = [published(timing.sequence) - timing.acknowledged for timing in side.timings]
    return {
        "standing": side.examples,
        "labels": len(seconds),
        "median": float(np.median(seconds)),
        "p90": _high(seconds, 90),
        "p99": _high(seconds, 99),
        "most": float(seconds.max()),
        "to publication, median": float(np.median(solved)),
        "predictions beside": len(side.load.seconds),
        "failed": side.load.failed,
        "their median, ms": round(1000 * float(np.median(side.load.seconds)), 1),
        "their p99, ms": round(1000 * _high(np.array(side.load.seconds), 99), 1),
    }


def _claims(sides: Sequence[Side]) -> list[Claim]:
    few, many = (np.array([timing.seconds for timing in side.timings]) for side in sides)
    median, slowest, ratio = float(np.median(few)), _high(few, 99), float(np.median(many) / np.median(few))
    failed = sum(side.load.failed for side in sides)
    return [
        Claim(claim="1,000 standing labels: median seconds", value=median, bound=MEDIAN, holds=median <= MEDIAN),
        Claim(claim="1,000 standing labels: p99 seconds", value=slowest, bound=P99, holds=slowest <= P99),
        Claim(claim="median at 20,000 over median at 1,000", value=ratio, bound=RATIO, holds=ratio <= RATIO),
        Claim(claim="predictions beside that failed", value=failed, bound=0, holds=failed == 0),
    ]


def _high(values: np.ndarray[tuple[int], np.dtype[np.float64]], percent: float) -> float:
    """A percentile that was really measured: never one interpolated below the slowest values."""
    return float(np.percentile(values, percent, method="higher"))


def _draw(sides: Sequence[Side], file: Path) -> None:
    """The share of labels served within a time, for both homes, and the bounds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for side in sides:
        seconds = np.sort([timing.seconds for timing in side.timings])
        axes.step(seconds, np.arange(1, len(seconds) + 1) / len(seconds), where="post", label=f"{side.examples:,}")
    axes.axvline(MEDIAN, color="grey", linestyle=":", label=f"median at most {MEDIAN} s")
    axes.axvline(P99, color="grey", linestyle="--", label=f"99 % within {P99:.0f} s")
    axes.set(xlabel="seconds from the 202 to both workers", ylabel="share of labels", xlim=(0, None), ylim=(0, 1.02))
    axes.set_title("From a label to every worker")
    axes.legend(title="standing labels", loc="lower right")
    figure.savefig(file, dpi=120)


if __name__ == "__main__":
    sys.exit(main())
