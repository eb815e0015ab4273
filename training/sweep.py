"""The line between the weights that tuning began from and those that it ended with: the point that comes nearest.

Promises the start itself, and so no change, where no point of the line is better than it (WiSE-FT,
``training/fuse/wise_ft.py``). Knows nothing of the ledger or of the gate.
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
from training.merge.weights import mean
from training.recipe import Rows
from training.select import spread
from training.tasks import by_task

SHARES = (0.0, 0.5, 1.0)  # of the tuned weights: each costs a pass over the rows, and they tell no finer points apart
SAMPLE = 256  # rows that are looked at at every point, those that judge among them

Known = Mapping[float, Mapping[str, GridRows]]


class Line:
    """The points between a backbone and what it became.

    Args:
        start: the one backbone that tuning began from, assembled. moved: the same, tuned.
        sides: rows, of which those of validation judge.
    """

    def __init__(self, start: Assembly, moved: Backbone, sides: Rows, scene: Scene, seed: int) -> None:
        (self._base,), (transform,) = start.backbones, start.transforms
        held = spread(_as_training(sides.validation), scene, seed, SAMPLE // 2)
        drawn = [*held, *spread(sides.train, scene, seed, SAMPLE - len(held))]
        self._examples = sorted(drawn, key=lambda example: features.size(features.read(example, start.preprocessor)))
        self._judges = _judges(scene, self._examples, {example.digest for example in held}, seed)
        batches = [
            {name: torch.from_numpy(array) for name, array in batch.items()}
            for batch in assemble.batches(start.preprocessor, self._examples)
        ]
        self._models, self._recipe = Models(transform.kind, batches, [self._base, moved]), moved.recipe

    def at(self, share: float) -> Backbone:
        """The backbone with this share of the tuned weights."""
        return self._base if share == 0 else tuned.moved(self._base, self._body(share), self._recipe)

    def best(self, known: Known | None = None) -> float:
        """The share that is best by the squared error of leave-one-out answers on the rows that judge; of several
        tasks, by the mean.

        Args:
            known: features at some shares, by example; of others torch computes them, a step of rounding away.
        """
        scores = {share: _score(self._judges, self._features(share, known or {})) for share in SHARES}
        return max(SHARES, key=lambda share: (scores[share], -abs(share - 0.5)))

    def _features(self, share: float, known: Known) -> GridRows:
        if share in known:
            return np.stack([known[share][example.digest] for example in self._examples])
        return self._models.features(self._body(share))[1]

    def _body(self, share: float) -> torch.nn.Module:
        return self._models.filled(mean(self._models.states, [1.0 - share, share]))


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


def _score(judges: Sequence[_Judges], rows_ND: GridRows) -> float:
    """How near leave-one-out answers come, mean over the tasks."""
    found = []
    for each in judges:
        nearness_J = _nearness(each.rows, members.held_out(each.rows, rows_ND[each.places]))
        found.append(members.score(each.rows, nearness_J))
    return float(np.mean(found))


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
