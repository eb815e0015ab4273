"""How many labels a scene needs: what the labelling queue offers, beside labels at random.

Real features, a pool that is answered by the head of the labels so far, ten labels a round chosen as ``GET /v1/queue``
chooses them, the reserved random share included. Counted is the first round at which the head reaches 90 % of the
accuracy that it has when the whole pool is labelled.

Promises that all strategies begin with the same labels and are judged on the same rows, that no strategy sees.

Legend: N rows, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from benchmarks.adaptation_parts import streams
from benchmarks.adaptation_parts.measured import Curve, Measured
from benchmarks.draws import Names, mean_and_half
from benchmarks.report import Claim, Row
from core.head import HeadState
from core.head import Row as Labelled
from core.label_settings import QueueSettings
from core.queueing import UNCERTAIN, Open, choose, diverse
from core.statistics import from_grid
from core.types import Doubles, GridRows, Head

STRATEGIES = ("random", "margin", "diverse")
ROUND, ROUNDS = 10, 30
FIRST = 10
REACHED = 0.9
WEIGHT = 4  # of a label of feedback, beside training data


@dataclass(frozen=True, eq=False)
class Case:
    """A scene: what was there before, and what is to be labelled."""

    name: str
    base_ND: GridRows
    base_N: Names
    rows_ND: GridRows
    labels_N: Names


@dataclass(frozen=True, kw_only=True)
class Run:
    """Accuracy after every round, by the labels there were, and with the whole pool labelled."""

    counts: Sequence[int]
    accuracies: Sequence[float]
    final: float


def measured(*, quick: bool) -> Measured:
    """Labels needed by each strategy, and the claim that ours need no more than labels at random."""
    seeds, rows, claims, curves = 2 if quick else 5, list[Row](), list[Claim](), list[Curve]()
    for case in cases():
        runs: dict[str, list[Run]] = {}
        for seed in range(seeds):
            for name in STRATEGIES:
                runs.setdefault(name, []).append(_run(case, name, seed))
        needed = {name: np.array([_needed(run) for run in each]) for name, each in runs.items()}
        rows += [_row(case, name, needed) for name in STRATEGIES]
        curves += [_curve(case, name, each) for name, each in runs.items()]
        for name in STRATEGIES[1:]:
            less = float((needed["random"] - needed[name]).mean())
            words = f"{case.name}: labels that {name} saves beside random, on average"
            claims.append(Claim(claim=words, value=less, bound=0.0, holds=less >= 0.0))
    return Measured(rows=rows, claims=claims, curves=curves)


def cases() -> list[Case]:
    """Digits of another scanner after MNIST, and photographs from nothing."""
    pair = streams.digits()
    photo_ND, photo_N = streams.photographs()
    nothing_ND, nothing_N = np.zeros((0, pair.old_ND.shape[1]), np.int16), np.array([], dtype=pair.old_N.dtype)
    return [
        Case("digits after MNIST", pair.old_ND[::5], pair.old_N[::5], pair.new_ND, pair.new_N),
        Case("photographs from nothing", nothing_ND, nothing_N, photo_ND, photo_N),
    ]


def _row(case: Case, name: str, needed: Mapping[str, Doubles]) -> Row:
    mean, half = mean_and_half(needed[name])
    less, less_half = mean_and_half(needed["random"] - needed[name]) if name != "random" else (0.0, 0.0)
    return {
        "part": "queue",
        "case": case.name,
        "strategy": name,
        "labels to 90 % of final accuracy": round(mean, 1),
        "± 95 %": round(half, 1),
        "fewer than at random": round(less, 1),
        "± of that": round(less_half, 1),
        "seeds": len(needed[name]),
    }


def _curve(case: Case, name: str, runs: Sequence[Run]) -> Curve:
    values_SN = np.array([run.accuracies for run in runs])
    return Curve(panel=case.name, name=name, along="labels", at_N=runs[0].counts, values_SN=values_SN)


def _needed(run: Run) -> float:
    """Labels until the head was good enough; all that there were, where it never was."""
    reached = (count for count, found in zip(run.counts, run.accuracies, strict=True) if found >= REACHED * run.final)
    return float(next(reached, FIRST + ROUND * ROUNDS))


def _run(case: Case, strategy: str, seed: int) -> Run:
    order = np.random.default_rng(seed).permutation(len(case.labels_N))
    test, pool = order[: len(order) // 3], order[len(order) // 3 :]
    chance = np.random.default_rng([seed, STRATEGIES.index(strategy)])
    rounds = min(ROUNDS, (len(pool) - FIRST) // ROUND)
    state = _begun(case, seed)
    taken = set(pool[:FIRST].tolist())
    state.add(_rows(case, pool[:FIRST]))
    counts, accuracies = list[int](), list[float]()
    for _ in range(rounds):
        head = state.solve()
        counts.append(len(taken))
        accuracies.append(_accuracy(case, head, test))
        left = np.array([n for n in pool if n not in taken])
        chosen = _chosen(case, strategy, head, left, chance, seed)
        taken |= set(chosen)
        state.add(_rows(case, np.array(chosen)))
    whole = _begun(case, seed)
    whole.add(_rows(case, pool))
    return Run(counts=counts, accuracies=accuracies, final=_accuracy(case, whole.solve(), test))


def _begun(case: Case, seed: int) -> HeadState:
    state = HeadState(case.rows_ND.shape[1], key=str(seed).encode())
    state.add(Labelled(f"b{n}", case.base_ND[n], str(case.base_N[n]), None, 1) for n in range(len(case.base_N)))
    return state


def _rows(case: Case, places: np.ndarray[tuple[int], np.dtype[np.int64]]) -> list[Labelled]:
    return [Labelled(f"n{n}", case.rows_ND[n], str(case.labels_N[n]), None, WEIGHT) for n in places]


def _chosen(
    case: Case,
    strategy: str,
    head: Head | None,
    left: np.ndarray[tuple[int], np.dtype[np.int64]],
    chance: np.random.Generator,
    seed: int,
) -> list[int]:
    """What the queue offers of what is left."""
    best: list[str] = []
    if strategy != "random" and head is not None:
        told_NK = np.sort(_probabilities(head, case.rows_ND[left]), axis=1)
        margins_N = told_NK[:, -1] - told_NK[:, -2] if told_NK.shape[1] > 1 else np.ones(len(left))
        uncertain = left[np.argsort(margins_N, kind="stable")]
        best = [str(n) for n in uncertain]
        if strategy == "diverse":
            few = uncertain[: UNCERTAIN * ROUND]
            picked = [str(few[place]) for place in diverse(case.rows_ND[few], ROUND, seed)]
            best = picked + [name for name in best if name not in set(picked)]
    open_ones = [Open(example=str(n), at=1.0) for n in left]
    share = QueueSettings().random_share
    return [int(name) for name in choose(open_ones, best, {}, ROUND, share, 0.0, set(), chance).examples]


def _probabilities(head: Head, rows_ND: GridRows) -> Doubles:
    told_NK: Doubles = softmax(from_grid(rows_ND) @ head.weight + head.bias, axis=1)
    return told_NK


def _accuracy(case: Case, head: Head | None, places: np.ndarray[tuple[int], np.dtype[np.int64]]) -> float:
    if head is None:
        return 0.0
    told = _probabilities(head, case.rows_ND[places]).argmax(axis=1)
    return float(np.mean([head.labels[k] == str(label) for k, label in zip(told, case.labels_N[places], strict=True)]))
