"""Which backbone fits this scene.

Every candidate's features of one class-balanced subsample go through the closed-form head, and its leave-one-out score
ranks it: a probe on cached features beats published transferability scores (arXiv 2503.18528). Promises a table with a
reason for each candidate, tried or not, the same for the same data and seed unless the time runs out. Knows nothing of
export to bundles, of parity or of the test split: only training examples are looked at.

Of several tasks each has its share of the subsample, and the score is the mean over them of the tasks' scores.

The rule: the quickest candidate that loses at most one point to the best and cannot be told from it by a paired
bootstrap over the examples. A point of leave-one-out accuracy on a few hundred rows is worth less than the
latency of a larger model. Of two of which one is the other with more features, one has to be told from the other, or is
not taken (``zoo.yields``): rows do not show a point or two, and many draws have told from how many of them on which one
goes first (docs/decisions/0024).

Legend: N rows, K classes, R resamples.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core.calibrate import calibrated, leave_one_out
from core.errors import InvalidInput, LeptonError
from core.preprocess import Limits, Preprocessor
from core.session import Session
from core.types import Doubles, Example, GridRows, Scene, Task
from training import features, zoo
from training.assemble import Assembly, alone
from training.tasks import by_task
from training.timing import quickest
from training.zoo import Setting

SAMPLE = 512
PICTURES = Scene(name="candidates", task="classification", modality="image")
_RESAMPLES = 1000
_WORTH = 0.01  # of the score, given up for speed

Clock = Callable[[], float]
Drawn = Sequence[tuple[Scene, Sequence[Example]]]  # of every task the rows that it is tried on


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One line of the table.

    Attributes:
        score: leave-one-out balanced accuracy, or R squared for regression, mean over the tasks; None where it was not
            tried.
        low, high: 95 % interval of the score, bootstrap over examples.
        milliseconds: an example through ONNX Runtime, one thread, batch 1, undisturbed.
        seconds: that trying it took.
        size: side of the pictures in pixels; None of other modalities.
        model_bytes: of the composed graph. reason: why it was chosen, or not.
    """

    name: str
    size: int | None = None
    score: float | None = None
    low: float = math.nan
    high: float = math.nan
    milliseconds: float = math.nan
    model_bytes: int = 0
    dimension: int = 0
    seconds: float = math.nan
    chosen: bool = False
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What trying a candidate gave: its line, and what each row counted.

    ``outcomes_N`` is 1 or 0 (correct or not), or 1 - squared error / variance for regression: the score is the mean
    over classes of their means.
    """

    candidate: Candidate
    outcomes_N: Doubles


def subsample(examples: Sequence[Example], task: Task, seed: int, most: int = SAMPLE) -> tuple[Example, ...]:
    """At most ``most`` training examples: classes in turn, so that none is crowded out; independent of their order.

    Classes of a single example are left out, since leaving that one out leaves nothing.
    """
    rng = np.random.default_rng(seed)
    decks_by_class: dict[str, list[Example]] = defaultdict(list)
    for example in sorted((e for e in examples if e.split == "train"), key=lambda e: e.digest):
        decks_by_class[example.label or "" if task == "classification" else ""].append(example)
    decks = [
        [deck[i] for i in rng.permutation(len(deck))] for _, deck in sorted(decks_by_class.items()) if len(deck) > 1
    ]
    turns = [deck[turn] for turn in range(max(map(len, decks), default=0)) for deck in decks if turn < len(deck)]
    return tuple(turns[:most])


def spread(examples: Sequence[Example], scene: Scene, seed: int, most: int = SAMPLE) -> tuple[Example, ...]:
    """The same for all tasks of a scene: tasks in turn, and the classes of each in turn."""
    decks = [subsample(mine, task.task, seed, most) for task, mine in by_task(scene, examples)]
    turns = [deck[turn].digest for turn in range(max(map(len, decks))) for deck in decks if turn < len(deck)]
    whole = {example.digest: example for example in examples}
    return tuple(whole[digest] for digest in dict.fromkeys(turns))[:most]


def select(  # noqa: PLR0913 - what is compared, by what, and who hears of it
    examples: Sequence[Example],
    candidates: Sequence[tuple[str, Setting]],
    cache: Path,
    *,
    scene: Scene = PICTURES,
    limits: Limits,
    budget: float = math.inf,
    seed: int = 0,
    clock: Clock = time.perf_counter,
    told: Callable[[Candidate], None] = lambda candidate: None,
) -> tuple[Candidate, ...]:
    """Try (name, setting) candidates in turn and mark one as chosen; the table, best first.

    ``scene`` gives the tasks and the modality. ``budget`` is in seconds: the first candidate is always tried, and
    another only where the time that the dearest one so far took is still left. ``told`` hears of each as it was tried.

    Raises:
        InvalidInput: no candidate works, or there is too little to compare them on.
    """
    drawn = _draw(examples, scene, seed)
    rows = list({row.digest: row for _, mine in drawn for row in mine}.values())
    trials, others = _try_all(
        candidates,
        budget,
        clock,
        lambda name, setting: _try(
            name, alone(zoo.load(name, setting), scene, cache, rows, limits), drawn, cache, seed
        ),
        told,
    )
    if not trials:
        raise InvalidInput(
            f"no backbone works here: {'; '.join(f'{other.name}: {other.reason}' for other in others) or 'none given'}",
            "choose others from lepton backbones",
        )
    return (*decide(trials, groups(drawn), seed), *others)


def decide(trials: Sequence[Trial], groups_N: Sequence[str], seed: int) -> tuple[Candidate, ...]:
    """The candidates tried, best first, the one that the rule picks marked, each with its reason."""
    ranked = sorted(trials, key=lambda trial: -_score(trial.candidate))
    unshown = {place: words for place, trial in enumerate(ranked) if (words := _unshown(trial, trials, groups_N, seed))}
    top = next(place for place in range(len(ranked)) if place not in unshown)
    best = ranked[top]
    lines: list[Candidate] = []
    near: list[int] = []
    for place, trial in enumerate(ranked):
        behind = _score(best.candidate) - _score(trial.candidate)
        low, _ = interval(best.outcomes_N - trial.outcomes_N, groups_N, seed)
        told_apart = low > 0
        if place not in unshown and behind <= _WORTH and not told_apart:
            near.append(place)
        words = "told apart from it" if told_apart else "not told apart from it"
        reason = unshown.get(place, f"{100 * behind:.1f} points behind the best, {words}")
        lines.append(replace(trial.candidate, reason=reason))
    pick = min(near, key=lambda place: (lines[place].milliseconds, lines[place].model_bytes, place))
    lines[top] = replace(lines[top], reason="the best score" if top == 0 else "the best that was shown")
    why = "" if pick == top else "the quickest of those as good as the best: "
    lines[pick] = replace(lines[pick], chosen=True, reason=f"{why}{lines[pick].reason}")
    return tuple(lines)


def _unshown(trial: Trial, trials: Sequence[Trial], groups_N: Sequence[str], seed: int) -> str:
    """Why a candidate is not taken beside another one that was tried; empty where it may be."""
    for other in trials:
        if not zoo.yields(trial.candidate.name, other.candidate.name, len(groups_N)):
            continue
        if interval(trial.outcomes_N - other.outcomes_N, groups_N, seed)[0] <= 0:
            ahead = 100 * (_score(trial.candidate) - _score(other.candidate))
            return f"{ahead:+.1f} points beside {other.candidate.name}, which goes first: not told apart from it"
    return ""


def score(outcomes_N: Doubles, groups_N: Sequence[str]) -> float:
    """Mean over groups of the groups' mean outcomes."""
    return float(np.mean([outcomes_N[members].mean() for members in _members(groups_N)]))


def groups(drawn: Drawn) -> list[str]:
    """The class of every row, with its task's name before it; empty classes for values."""
    return [f"{task.task_name}\0{row.label or ''}" for task, rows in drawn for row in rows]


def over_tasks(counted: Sequence[Doubles], drawn: Drawn) -> Doubles:
    """(N,) what the rows of every task counted, so that the mean over ``groups`` is the mean over tasks."""
    whole = len(set(groups(drawn)))
    shares = [whole / (len(drawn) * len(set(groups([each])))) for each in drawn]
    return np.concatenate([outcomes_N * share for outcomes_N, share in zip(counted, shares, strict=True)])


def outcomes(features_ND: GridRows, rows: Sequence[Example], task: Task) -> Doubles:
    """(N,) what each row counts when the head that answers it was fitted on all others."""
    if task == "regression":
        values_N = np.array([row.value for row in rows], np.float64)
        left = leave_one_out(features_ND, values_N[:, None], np.ones(len(rows)))
        errors_N: Doubles = np.square(left.scores_NK[:, 0] - values_N)
        counted_N: Doubles = 1.0 - errors_N / max(float(values_N.var()), np.finfo(np.float64).tiny)
        return counted_N
    labels = [row.label or "" for row in rows]
    classes = sorted(set(labels))
    truth_N = np.array([classes.index(label) for label in labels])
    targets_NK, ones_N = np.eye(len(classes))[truth_N], np.ones(len(rows))
    logits_NK = calibrated(leave_one_out(features_ND, targets_NK, ones_N).scores_NK, targets_NK, ones_N)
    right_N: Doubles = (logits_NK.argmax(axis=1) == truth_N).astype(np.float64)
    return right_N


def interval(outcomes_N: Doubles, groups_N: Sequence[str], seed: int) -> tuple[float, float]:
    """95 % percentile bootstrap of the score; rows are drawn again within their groups, so that none is ever empty."""
    rng = np.random.default_rng(seed)
    totals_R = np.zeros(_RESAMPLES)
    members = _members(groups_N)
    for rows in members:
        drawn_RN = rng.integers(len(rows), size=(_RESAMPLES, len(rows)))
        totals_R += outcomes_N[rows][drawn_RN].mean(axis=1)
    low, high = np.percentile(totals_R / len(members), (2.5, 97.5))
    return float(low), float(high)


def latency(session: Session, preprocessor: Preprocessor, example: Example) -> float:
    """Milliseconds of one example, alone in its batch, on a machine that does nothing else."""
    inputs = preprocessor.batch([preprocessor.read(features.content(example))])
    return 1000 * quickest([lambda: session.features(inputs)])[0]


def _draw(examples: Sequence[Example], scene: Scene, seed: int) -> Drawn:
    """The subsample of every task."""
    most = SAMPLE // len(scene.tasks)
    drawn = [(task, subsample(mine, task.task, seed, most)) for task, mine in by_task(scene, examples)]
    for task, rows in drawn:
        if len(rows) < 4 or (task.task == "classification" and len({row.label for row in rows}) < 2):
            of_task = f" for task {task.task_name}" if task.task_name else ""
            raise InvalidInput(
                f"{len(rows)} training examples are too few to compare backbones on{of_task}",
                "give at least two classes of two examples each, or name one backbone",
            )
    return drawn


def _try_all(
    candidates: Sequence[tuple[str, Setting]],
    budget: float,
    clock: Clock,
    attempt: Callable[[str, Setting], Trial],
    told: Callable[[Candidate], None],
) -> tuple[list[Trial], list[Candidate]]:
    """What could be tried within the budget, and lines for what could not."""
    trials: list[Trial] = []
    others: list[Candidate] = []
    start, dearest = clock(), 0.0
    for name, setting in candidates:
        begun = clock()
        left = budget - (begun - start)
        if trials and left < dearest:
            reason = f"not tried: the dearest so far took {dearest:.0f} s, and {max(left, 0):.0f} s were left"
            others.append(Candidate(name=name, size=setting.size, reason=reason))
            continue
        found = None
        try:
            found = attempt(name, setting)
        except (LeptonError, LookupError) as error:
            others.append(Candidate(name=name, size=setting.size, reason=f"failed: {error}"))
        took = clock() - begun
        dearest = max(dearest, took)
        if found is not None:
            trials.append(replace(found, candidate=replace(found.candidate, seconds=took)))
            told(trials[-1].candidate)
    return trials, others


def _try(name: str, assembly: Assembly, drawn: Drawn, cache: Path, seed: int) -> Trial:
    session, groups_N = assembly.session, groups(drawn)
    counted: list[Doubles] = []
    for task, rows in drawn:
        features_ND = features.extract(session, assembly.preprocessor, assembly.extractor, rows, cache)
        counted.append(outcomes(features_ND, rows, task.task))
    outcomes_N = over_tasks(counted, drawn)
    low, high = interval(outcomes_N, groups_N, seed)
    candidate = Candidate(
        name=name,
        size=session.size[0] if "image" in session.inputs else None,
        score=score(outcomes_N, groups_N),
        low=low,
        high=high,
        milliseconds=latency(session, assembly.preprocessor, drawn[0][1][0]),
        model_bytes=len(assembly.model),
        dimension=session.width,
    )
    return Trial(candidate=candidate, outcomes_N=outcomes_N)


def _members(groups_N: Sequence[str]) -> list[NDArray[np.intp]]:
    names = np.array(groups_N)
    return [np.flatnonzero(names == name) for name in sorted(set(groups_N))]


def _score(candidate: Candidate) -> float:
    assert candidate.score is not None
    return candidate.score
