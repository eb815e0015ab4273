"""A model beside the one that it was made of: answers to the same rows, time in the same run, size.

Promises paired figures: intervals are of differences row by row, and times are interleaved, and of the thread alone
that computes, so that a busy machine says nothing. Knows nothing of what distinguishes the two.

Legend: N rows, K classes, R rounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from core.bundle import Metric
from core.session import Session
from core.types import Doubles, Example, Scene
from training import evaluate, select
from training.evaluate import Indices, interval

BATCHES = (1, 16)
ROUNDS = 21

Arrays = Mapping[str, NDArray[Any]]
Names = NDArray[np.str_]


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What one of the two answers: (N, K) probabilities with their ``labels``, or (N, 1) values."""

    outputs: Doubles
    labels: tuple[str, ...]


def score(scene: Scene, answers: Answers, examples: Sequence[Example], seed: int) -> Metric:
    """The scene's first figure: balanced accuracy, or R²."""
    if scene.task == "regression":
        values_N = np.array([example.value for example in examples], np.float64)
        whole_N = np.zeros(len(values_N), np.intp)
        return _metric(lambda at_N: evaluate.r2(answers.outputs[at_N, 0], values_N[at_N]), whole_N, seed)
    truth_N, said_N, _ = _words(answers, answers, examples)
    return _mean((said_N == truth_N).astype(np.float64), truth_N.tolist(), seed)


def of_answers(
    scene: Scene, original: Answers, candidate: Answers, examples: Sequence[Example], seed: int
) -> dict[str, Metric]:
    """How alike the two answer, and what is gained or lost in the scene's first figure: balanced accuracy, or R²."""
    if scene.task == "regression":
        values_N = np.array([example.value for example in examples], np.float64)
        whole_N = np.zeros(len(values_N), np.intp)

        def gain(at_N: Indices) -> float:
            told = [evaluate.r2(each.outputs[at_N, 0], values_N[at_N]) for each in (original, candidate)]
            return told[1] - told[0]

        def alike(at_N: Indices) -> float:
            return evaluate.r2(candidate.outputs[at_N, 0], original.outputs[at_N, 0])

        return {"likeness_r2": _metric(alike, whole_N, seed), "change_r2": _metric(gain, whole_N, seed)}
    truth_N, first_N, second_N = _words(original, candidate, examples)
    same_N = (first_N == second_N).astype(np.float64)
    gained_N = (second_N == truth_N).astype(np.float64) - (first_N == truth_N)
    return {
        "agreement": _mean(same_N, [""] * len(examples), seed),
        "change_balanced_accuracy": _mean(gained_N, truth_N.tolist(), seed),
    }


def _words(original: Answers, candidate: Answers, examples: Sequence[Example]) -> tuple[Names, Names, Names]:
    """The truth, and what either says."""
    first_N, second_N = (np.array(each.labels)[each.outputs.argmax(axis=1)] for each in (original, candidate))
    return np.array([example.label or "" for example in examples]), first_N, second_N


def of_costs(original: bytes, candidate: bytes, rows: Arrays, seed: int) -> tuple[dict[str, Metric], dict[int, float]]:
    """Size and time of the candidate as shares of the original's, and by batch the original's milliseconds a row.

    One thread, each batch size in rounds of one run of either.
    """
    share = len(candidate) / len(original)
    told = {"share_of_size": Metric(value=share, low=share, high=share, rows=1)}
    sessions = (Session(original), Session(candidate))
    milliseconds: dict[int, float] = {}
    for batch in BATCHES:
        seconds_R2 = _timed(sessions, {name: _repeated(array, batch) for name, array in rows.items()})

        def ratio(at_R: Indices, seconds_R2: Doubles = seconds_R2) -> float:
            first, second = np.median(seconds_R2[at_R], axis=0)
            return float(second / first)

        told[f"share_of_time_at_batch_{batch}"] = _metric(ratio, np.zeros(ROUNDS, np.intp), seed)
        milliseconds[batch] = 1000 * float(np.median(seconds_R2[:, 0])) / batch
    return told, milliseconds


def _timed(sessions: Sequence[Session], rows: Arrays) -> Doubles:
    """(R, 2) seconds of this thread, in which a session of one thread computes; the first run is not counted."""
    for session in sessions:
        session.features(rows)
    seconds_R2 = np.empty((ROUNDS, len(sessions)))
    for place in range(ROUNDS):
        for which, session in enumerate(sessions):
            begun = time.thread_time()
            session.features(rows)
            seconds_R2[place, which] = time.thread_time() - begun
    return seconds_R2


def _repeated(array: NDArray[Any], batch: int) -> NDArray[Any]:
    return np.resize(array, (batch, *array.shape[1:]))


def _mean(outcomes_N: Doubles, groups_N: Sequence[str], seed: int) -> Metric:
    """Mean over groups of the mean outcome."""
    low, high = select.interval(outcomes_N, groups_N, seed)
    return Metric(value=select.score(outcomes_N, groups_N), low=low, high=high, rows=len(outcomes_N))


def _metric(statistic: Callable[[Indices], float], strata_N: Indices, seed: int) -> Metric:
    low, high = interval(statistic, strata_N, seed)
    everything = np.arange(len(strata_N))
    return Metric(value=statistic(everything), low=low, high=high, rows=len(strata_N))
