"""The line between the weights that tuning began from and those that it ended with: the point that comes nearest.

Promises the start itself, and so no change, where no point of the line is better than it (WiSE-FT,
``training/fuse/wise_ft.py``); where somebody judges again by more rows, only where it is better than all others by more
than a standard error (as in ``training/judge.py``). Of several that were tuned from one start, each on a part of the
rows, the line follows the mean of their moves, and ends beyond it: each went only as far as its part of the rows leads.
Knows nothing of the ledger or of the gate.

That moves from one start add up, and how far to follow them has to be chosen: Ilharco et al., "Editing models with task
arithmetic", arXiv 2212.04089 (two halves at the reach here are scaled by 0.75 there).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

import numpy as np
import torch

from core.types import Doubles, Example, GridRows, Scene
from exporters.backbone import Backbone
from training import assemble, features, tuned
from training.assemble import Assembly
from training.merge import members
from training.merge.bench import targets
from training.merge.soup import Models
from training.merge.weights import State, mean, moves, total
from training.merge.weights import moved as moved_by
from training.recipe import Rows
from training.select import spread
from training.tasks import by_task

SHARES = (0.0, 0.5, 1.0)  # of the tuned weights: each costs a pass over the rows, and they tell no finer points apart
REACH = 1.5  # times the mean move of several; on the draws where it was looked for 2 is about as good, 1 is not
SAMPLE = 256  # rows that are looked at at every point, those that judge among them

Known = Mapping[float, Mapping[str, GridRows]]


class Line:
    """The points between a backbone and what it became.

    Args:
        start: the one backbone that tuning began from, assembled. moved: the same, tuned, or several that were.
        sides: rows, of which those of validation judge.
    """

    def __init__(self, start: Assembly, moved: Sequence[Backbone], sides: Rows, scene: Scene, seed: int) -> None:
        (self._base,), (transform,) = start.backbones, start.transforms
        held = spread(_as_training(sides.validation), scene, seed, SAMPLE // 2)
        drawn = [*held, *spread(sides.train, scene, seed, SAMPLE - len(held))]
        self._examples = sorted(drawn, key=lambda example: features.size(features.read(example, start.preprocessor)))
        self._judges = _judges(scene, self._examples, {example.digest for example in held}, seed)
        batches = [
            {name: torch.from_numpy(array) for name, array in batch.items()}
            for batch in assemble.batches(start.preprocessor, self._examples)
        ]
        self._models, self._recipe = Models(transform.kind, batches, [self._base, *moved]), moved[0].recipe
        self._first, *self._tuned = self._models.states
        self._end = self._tuned[0] if len(moved) == 1 else _beyond(self._first, self._tuned)

    def at(self, share: float) -> Backbone:
        """The backbone with this share of the tuned weights."""
        return self._base if share == 0 else self._moved(self._end, share)

    def ends(self, share: float) -> tuple[Backbone, ...]:
        """Each of those that were tuned, with as much of the start in it."""
        return tuple(self._moved(state, share) for state in self._tuned)

    def best(self, known: Known | None = None, *, again: bool = False) -> float:
        """The share that is best by the squared error of leave-one-out answers on the rows that judge; of several
        tasks, by the mean.

        Args:
            known: features at some shares, by example; of others torch computes them, a step of rounding away.
            again: somebody judges again by rows of their own.
        """
        told = {share: self._nearnesses(share, (known or {}).get(share)) for share in SHARES}
        scores = {share: self._score(near) for share, near in told.items()}
        best = max(SHARES, key=lambda share: (scores[share], -abs(share - 0.5)))
        if best > 0 or not again:
            return best
        near = max(SHARES[1:], key=lambda share: scores[share])
        return near if scores[best] - scores[near] <= _chance(told[best], told[near]) else best

    def _moved(self, state: State, share: float) -> Backbone:
        body = self._models.filled(mean([self._first, state], [1.0 - share, share]))
        return tuned.moved(self._base, body, self._recipe)

    def _nearnesses(self, share: float, known: Mapping[str, GridRows] | None) -> list[Doubles]:
        """How near the answers come at one share, in each task."""
        if known is None:
            state = mean([self._first, self._end], [1.0 - share, share])
            rows_ND = self._models.features(self._models.filled(state))[1]
        else:
            rows_ND = np.stack([known[example.digest] for example in self._examples])
        return [_nearness(each.rows, members.held_out(each.rows, rows_ND[each.places])) for each in self._judges]

    def _score(self, nearnesses: Sequence[Doubles]) -> float:
        scores = [members.score(each.rows, of_J) for each, of_J in zip(self._judges, nearnesses, strict=True)]
        return float(np.mean(scores))


@dataclass(frozen=True)
class _Judges:
    """The rows of one task: which they are of all, and what is true of them."""

    places: list[int]
    rows: members.Given


def _judges(scene: Scene, examples: Sequence[Example], held: AbstractSet[str], seed: int) -> list[_Judges]:
    """Of each task that any example of the digests ``held`` is labelled for; those are the ones that judge."""
    place = {example.digest: number for number, example in enumerate(examples)}
    found = []
    for task, mine in by_task(scene, examples):
        places = [place[example.digest] for example in mine]
        judged_N = np.array([example.digest in held for example in mine], np.bool_)
        if judged_N.any():
            targets_NK = targets(task, mine)
            rows = members.Given(members=(), task=task.task, targets_NK=targets_NK, judged_N=judged_N, seed=seed)
            found.append(_Judges(places, rows))
    return found


def _beyond(first: State, tuned_ones: Sequence[State]) -> State:
    """Where the mean of several moves leads, and as much further as ``REACH`` says."""
    ways = [moves(state, first) for state in tuned_ones]
    way = {name: REACH / len(ways) * total([each[name] for each in ways]) for name in ways[0]}
    return moved_by(first, tuned_ones, way)


def _chance(ones: Sequence[Doubles], others: Sequence[Doubles]) -> float:
    """The standard error of the difference between two points, mean over the tasks."""
    errors = [(one_J - other_J).std() / np.sqrt(len(one_J)) for one_J, other_J in zip(ones, others, strict=True)]
    return float(np.linalg.norm(errors)) / len(errors)


def _nearness(rows: members.Given, scores_NK: Doubles) -> Doubles:
    """(J,) of each judged row 1 less its squared error: right or wrong of so few rows does not tell two points apart of
    which one errs on a row in fifteen and the other on a row in twenty."""
    if rows.task == "regression":
        return members.outcomes(rows, scores_NK)
    nearness_J: Doubles = 1.0 - np.square(scores_NK - rows.targets_NK)[rows.judged_N].sum(axis=1)
    return nearness_J


def _as_training(examples: Sequence[Example]) -> list[Example]:
    """Those that judge as ``spread`` draws them: it looks at training rows alone."""
    return [replace(example, split="train") for example in examples]
