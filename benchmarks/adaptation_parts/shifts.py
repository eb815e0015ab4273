"""Drift detectors on real and planted shifts: how soon each says so, and how often it cries in vain.

A head learns from 300 rows of a scene; the next 500 predictions are the reference, as the service's default is; then
windows of 200 of the same scene, and at last three of what has moved: another scene (MNIST to scikit-learn's digits,
films to tweets), less contrast, or fewer classes. A quarter of the traffic is labelled, which ``errors`` looks at as it
comes. Of a table (credit) two windows come as they are, and the same two with amounts that have risen by half.
Beside the detectors stand the share of right answers before and after, and what the service estimates it to be without
labels: the mean confidence.

Promises the product's own detectors, all that are there, at its default level and windows. Delay counts inputs until
the window that alarms is full; a detector that is silent to the end has not seen it. Inputs of one scene come in an
order by chance: what traffic does by the hour is not in here.

Legend: N inputs, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.stats import binomtest

from benchmarks import scenes, table_data, texts
from benchmarks.adaptation_parts import streams
from benchmarks.adaptation_parts.measured import Measured
from benchmarks.debian import BENCH, once
from benchmarks.draws import Names, closed_form
from benchmarks.report import Claim, Row
from core import plugins
from core.config import DriftSettings
from core.types import GridRows
from learner.monitor import DETECTORS, ERRORS
from learner.windows import Cell, Reading, Window

SETTINGS = DriftSettings()
TAUGHT, QUIET, MOVED = 300, 8, 3  # rows that teach; windows of the same scene, and of what has moved
LABELLED = 4  # one in so many answers
FADED, FADED_EACH = 0.5, 100  # of the contrast; pictures a class
INFLATION = 1.5
FALSE = 0.01  # of the windows without a shift: ten times the level, since a few detectors look at each
SEEN = 95.0  # % of the seeds in which the best detector has to see a shift


@dataclass(frozen=True, eq=False)
class Shift:
    """What a head is taught and first asked, and what it is asked later: (N, D) rows and N labels of both."""

    name: str
    before_ND: GridRows
    before_N: Names
    after_ND: GridRows
    after_N: Names


@dataclass(frozen=True, eq=False)
class Asked:
    """A stream of answers, cut where it moves; every window has ``size`` of them."""

    reference: Window
    quiet: Sequence[Window]
    moved: Sequence[Window]
    right: tuple[float, float] | None = None  # shares of right answers, before and after


def measured(*, quick: bool) -> Measured:
    """The table and the claims."""
    seeds = range(5 if quick else 20)
    asked = {shift.name: [_stream(shift, seed) for seed in seeds] for shift in _shifts()}
    asked["credit, amounts half as high again"] = [_table(seed) for seed in seeds]
    rows: list[Row] = []
    claims: list[Claim] = []
    alarms, windows = 0, 0
    for name, drawn in asked.items():
        best = 0.0
        rows += _answers(name, drawn)
        for detector in plugins.names(DETECTORS):
            told = [each for each in (_watched(detector, one) for one in drawn) if each is not None]
            if told:
                false, looked, delays = (list(column) for column in zip(*told, strict=True))
                alarms, windows = alarms + sum(false), windows + sum(looked)
                seen = [delay for delay in delays if delay is not None]
                share = 100 * len(seen) / len(delays)
                best = max(best, share)
                rows.append(
                    {
                        "part": "drift",
                        "what": name,
                        "detector": detector,
                        "false alarms": f"{sum(false)} of {sum(looked)}",
                        "seen, % of seeds": round(share, 1),
                        "inputs until seen": float(np.median(seen)) if seen else None,
                    }
                )
        words = f"drift: {name}: % of seeds in which the best detector sees it"
        claims.append(Claim(claim=words, value=best, bound=SEEN, holds=best >= SEEN))
    holds = binomtest(alarms, windows, FALSE, alternative="greater").pvalue > 0.01
    words = "drift: share of windows without a shift that alarmed"
    claims.append(Claim(claim=words, value=alarms / windows, bound=FALSE, holds=bool(holds)))
    return Measured(rows=rows, claims=claims)


def _answers(name: str, drawn: Sequence[Asked]) -> Iterator[Row]:
    """How often answers were right, and how sure they were, which is the estimate."""
    rights = np.array([each.right for each in drawn if each.right is not None])
    if len(rights):
        sure = [[np.mean([w.confidence_N.mean() for w in side]) for side in (each.quiet, each.moved)] for each in drawn]
        told = {"right before/after, %": rights, "estimated before/after, %": np.array(sure)}
        words = {
            column: "/".join(f"{100 * value:.0f}" for value in values.mean(axis=0)) for column, values in told.items()
        }
        yield {"part": "drift", "what": name, "detector": "", **words}


def _shifts() -> Iterator[Shift]:
    digits = streams.digits()
    old_ND, old_N = digits.old_ND, digits.old_N
    yield Shift("MNIST to digits", old_ND, old_N, digits.new_ND, digits.new_N)
    yield Shift("MNIST, half the contrast", old_ND, old_N, *streams.features(once(BENCH / "scenes" / "faded", _fade)))
    few_N = old_N < "5"
    yield Shift("MNIST, five classes left", old_ND, old_N, old_ND[few_N], old_N[few_N])
    films, tweets = texts.domain("films"), texts.domain("tweets")
    yield Shift("films to tweets", films.grid_ND, films.labels_N, tweets.grid_ND, tweets.labels_N)


def _fade(out: Path) -> None:
    """Some of MNIST with less contrast."""
    for folder in sorted(scenes.mnist(BENCH / "scenes" / "mnist").iterdir()):
        (out / folder.name).mkdir()
        for file in sorted(folder.iterdir())[:FADED_EACH]:
            with Image.open(file) as picture:
                faded = picture.convert("RGB").point(lambda level: round(FADED * level + 127 * (1 - FADED)))
            faded.save(out / folder.name / f"{file.stem}.png")


def _stream(shift: Shift, seed: int) -> Asked:
    """A head on the first rows, and its answers to the next."""
    random, size = np.random.default_rng(seed), SETTINGS.window
    order = random.permutation(len(shift.before_N))
    later = random.permutation(len(shift.after_N))[: MOVED * size]
    taught, asked = order[:TAUGHT], order[TAUGHT : TAUGHT + SETTINGS.reference + QUIET * size]
    rows_ND = np.concatenate([shift.before_ND[asked], shift.after_ND[later]])
    truth_N = np.concatenate([shift.before_N[asked], shift.after_N[later]])
    shares_NK, classes = closed_form(shift.before_ND[taught], shift.before_N[taught], rows_ND)
    said_N = classes[shares_NK.argmax(axis=1)]
    labelled_N = random.random(len(truth_N)) < 1 / LABELLED

    def window(start: int, stop: int) -> Window:
        taken = slice(start, stop)
        wrong_N = (said_N[taken] != truth_N[taken])[labelled_N[taken]].astype(np.int8)
        return Window(
            features_ND=rows_ND[taken],
            confidence_N=shares_NK[taken].max(axis=1).astype(np.float64),
            labels=tuple(said_N[taken].tolist()),
            wrong_N=wrong_N,
        )

    windows = [window(at, at + size) for at in range(SETTINGS.reference, len(truth_N) - size + 1, size)]
    right_N, moved = said_N == truth_N, len(truth_N) - len(later)
    right = (float(right_N[:moved].mean()), float(right_N[moved:].mean()))
    return Asked(window(0, SETTINGS.reference), windows[:-MOVED], windows[-MOVED:], right)


def _table(seed: int) -> Asked:
    """Rows of credit files, the later ones with higher amounts; their columns alone are looked at."""
    rows = table_data.credit().rows
    order = np.random.default_rng(seed).permutation(len(rows))

    def window(taken: Sequence[int], times: float = 1.0) -> Window:
        columns: dict[str, tuple[Cell, ...]] = {name: tuple(rows[i][name] for i in taken) for name in rows[0]}
        columns["Amount"] = tuple(times * float(str(cell)) for cell in columns["Amount"])
        return Window(columns=columns)

    first, size = SETTINGS.reference, SETTINGS.window
    later = [order[start : start + size].tolist() for start in range(first, len(rows) - size + 1, size)]
    quiet, moved = [window(part) for part in later], [window(part, INFLATION) for part in later]
    return Asked(window(order[:first].tolist()), quiet, moved)


def _watched(detector: str, asked: Asked) -> tuple[int, int, int | None] | None:
    """(false alarms, windows without a shift, inputs until it is seen); None where there is nothing for it."""
    readings = _readings(detector, asked)
    quiet = [reading for reading in readings[: len(asked.quiet)] if reading is not None]
    if not quiet:
        return None
    later = enumerate(readings[len(asked.quiet) :], 1)
    seen = next((number * SETTINGS.window for number, reading in later if reading and reading.drifted), None)
    return sum(reading.drifted for reading in quiet), len(quiet), seen


def _readings(detector: str, asked: Asked) -> list[Reading | None]:
    """What is said of each window; the reference for errors is all that was labelled before."""
    compare, level = plugins.load(DETECTORS, detector).compare, SETTINGS.level
    windows = [*asked.quiet, *asked.moved]
    if detector != ERRORS:
        return [compare(asked.reference, window, level) for window in windows]
    told = [asked.reference.wrong_N, *(window.wrong_N for window in windows)]
    pairs = [(np.concatenate(told[:number]), told[number]) for number in range(1, len(told))]
    return [compare(Window(wrong_N=before_N), Window(wrong_N=now_N), level) for before_N, now_N in pairs]
