"""The line between the weights that tuning began from and those that it ended with: the point that judges best.

Promises the start itself, and so no change, where no point of the line is better than it (WiSE-FT,
``training/fuse/wise_ft.py``). Choices are made on features by torch, a step of rounding away from what is served.
Knows nothing of the ledger or of the gate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from core.types import Example, Scene
from exporters.backbone import Backbone
from training import assemble, tuned
from training.assemble import Assembly
from training.fuse import wise_ft
from training.merge.bench import targets
from training.merge.members import Given as Rows
from training.merge.soup import Kitchen
from training.merge.weights import Given
from training.recipe import Rows as Sides
from training.select import subsample

SAMPLE = 256  # rows that are looked at at every point, those that judge among them


@dataclass(frozen=True)
class Point:
    """The backbone at the point that was chosen, and the share of the tuned weights in it."""

    backbone: Backbone
    share: float


def sweep(start: Assembly, moved: Backbone, sides: Sides, scene: Scene, seed: int) -> Point:
    """The best point by the leave-one-out score on the validation rows.

    Args:
        start: the one backbone that tuning began from, assembled. moved: the same, tuned.
    """
    (base,), (transform,) = start.backbones, start.transforms
    held = subsample(_as_training(sides.validation), scene.task, seed, SAMPLE // 2)
    examples = [*held, *subsample(sides.train, scene.task, seed, SAMPLE - len(held))]
    judged_N = np.arange(len(examples)) < len(held)
    rows = Rows(members=(), task=scene.task, targets_NK=targets(scene, examples), judged_N=judged_N, seed=seed)
    batches = [
        {name: torch.from_numpy(array) for name, array in batch.items()}
        for batch in assemble.batches(start.preprocessor, examples)
    ]
    kitchen = Kitchen(rows, transform.kind, batches, [base, moved])
    states = kitchen.states
    found = wise_ft.fuse(Given(states=states, base=states[0], score=kitchen.score, fisher=kitchen.fisher))
    share = found.chosen["share"]
    if share == 0:
        return Point(base, 0.0)
    if share == 1:
        return Point(moved, 1.0)
    return Point(tuned.moved(base, kitchen.filled(found.state), moved.recipe), share)


def _as_training(examples: Sequence[Example]) -> list[Example]:
    """Those that judge as ``subsample`` draws them: it looks at training rows alone."""
    return [replace(example, split="train") for example in examples]
