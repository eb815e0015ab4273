"""The examples of a scene task by task: to whatever looks at one task, a scene with one task and examples of it.

Promises that an example without a label of a task gives none there. Knows nothing of heads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from core.types import Example, Scene

HEADROOM = 8.0  # a regression's range reaches this many times as far from its mean as the values first seen


def by_task(scene: Scene, examples: Sequence[Example]) -> list[tuple[Scene, tuple[Example, ...]]]:
    """Every task of the scene, the first one first, with the examples that are labelled for it."""
    first, *others = scene.tasks
    mine = tuple(example for example in examples if example.label is not None or example.value is not None)
    return [(first, mine), *((task, _of(task, examples)) for task in others)]


def group(task: Scene, example: Example) -> str:
    """What rows of a task are balanced by: the class; of values, all alike."""
    return example.label or "" if task.task == "classification" else ""


def scaled(task: Scene, taught: Sequence[Example]) -> Scene:
    """The task with an offset and a scale for its values, where it has values."""
    if task.task == "classification":
        return task
    values = [example.value for example in taught if example.value is not None]
    offset = float(np.float32(np.mean(values)))
    reach = max(abs(value - offset) for value in values)
    return replace(task, offset=offset, scale=2.0 ** math.ceil(math.log2(HEADROOM * reach)) if reach > 0 else 1.0)


def _of(task: Scene, examples: Sequence[Example]) -> tuple[Example, ...]:
    said = [(example, example.further[task.task_name]) for example in examples if task.task_name in example.further]
    if task.task == "regression":
        return tuple(replace(example, label=None, value=float(value), further={}) for example, value in said)
    return tuple(replace(example, label=str(label), value=None, further={}) for example, label in said)
