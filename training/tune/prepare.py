"""Rows and their labels as the loop takes them: targets, weights, and the classes that a head can be trained on.

Promises that what cannot be learned is refused before any weight moves. Knows nothing of weights.

Legend: N rows, K classes (1 for regression) of all tasks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from core.errors import InvalidInput
from core.preprocess import Preprocessor, modality
from core.types import Example, Scene
from exporters.backbone import Backbone
from training.recipe import Context, Rows, TooFew
from training.tasks import by_task
from training.tune import columns, losses
from training.tune.batches import Feed, Rewrite
from training.tune.columns import Columns
from training.tune.plan import Plan

LEAST = 2  # classes
ONE_TASK = ("class_weights", "costs", "mix")  # settings that speak of the classes of one task


def spreads(rows: Rows, context: Context) -> tuple[float, ...]:
    """Of each task the standard deviation of regression targets on the head's scale; 1 for classification."""
    return tuple(_spread(task, mine) for task, mine in by_task(context.scene, rows.train))


def shares(rows: Rows, context: Context) -> tuple[float, ...]:
    """Of each task the share of the training rows that are labelled for it."""
    train = _known(rows.train, context)
    table_NK = columns.targets(train, context.scene, context.head, spreads(rows, context))
    laid = columns.lay(context.scene, context.head)
    return tuple(float(columns.known(table_NK, each).float().mean()) for each in laid)


def feeds(base: Backbone, rows: Rows, plan: Plan, context: Context, rewrite: Rewrite | None) -> tuple[Feed, Feed]:
    """Training and validation rows.

    Raises:
        TooFew: fewer than two classes in every task, or no validation row of any of them.
        InvalidInput: several tasks, and a setting that is for one.
    """
    _check(plan, context.scene)
    preprocessor = modality(base.modality).preprocessor(base.inputs, base.files, context.limits)
    train, held = (_known(side, context) for side in (rows.train, rows.validation))
    left = len(rows.train) - len(train)
    if left:
        context.noted(f"{left} training rows are left out: their class has one example, or none but wrong ones")
    if all(_alike(each, train, context) for each in columns.lay(context.scene, context.head)):
        raise TooFew(
            f"{len(train)} training rows of one class leave nothing to tune",
            "give at least two examples of each of two classes",
        )
    if not train or not held:
        raise TooFew(
            f"{len(train)} training and {len(held)} validation rows are too few to tune a backbone on",
            "give more labelled examples of the same classes, or use --recipe closed_form",
        )
    each = spreads(rows, context)
    return _feed(train, preprocessor, plan, context, each, rewrite), _feed(
        held, preprocessor, plan, context, each, None
    )


def _check(plan: Plan, scene: Scene) -> None:
    """Settings that speak of the classes of one task."""
    set_ones = [name for name in ONE_TASK if getattr(plan, name) != getattr(Plan(), name)]
    if scene.further and set_ones:
        raise InvalidInput(
            f"{', '.join(set_ones)} is for a scene with one task, and {scene.name!r} has {len(scene.tasks)}",
            "leave it out; balance says how much each task counts",
        )


def _alike(of: Columns, train: Sequence[Example], context: Context) -> bool:
    """Whether there is nothing to tell apart in a task: rows of one class alone."""
    if of.task.task == "regression":
        return False
    mine = next(mine for task, mine in by_task(context.scene, train) if task.task_name == of.task.task_name)
    return len({example.label for example in mine} & set(of.labels)) < LEAST


def _spread(task: Scene, examples: Sequence[Example]) -> float:
    if task.task == "classification":
        return 1.0
    values = [example.value for example in examples if example.value is not None]
    return max(float(np.std(values)) / task.scale, 1e-12)


def _known(examples: Sequence[Example], context: Context) -> list[Example]:
    """Those that have a label of some task which its head knows."""
    wanted: set[str] = set()
    for task, mine in by_task(context.scene, examples):
        labels = context.head.of(task.task_name).labels
        wanted |= {e.digest for e in mine if task.task == "regression" or e.label in labels}
    return [example for example in examples if example.digest in wanted]


def _feed(
    examples: Sequence[Example],
    preprocessor: Preprocessor,
    plan: Plan,
    context: Context,
    each: Sequence[float],
    rewrite: Rewrite | None,
) -> Feed:
    targets_NK = columns.targets(examples, context.scene, context.head, each, context.soft)
    weights_N = torch.ones(len(examples))
    if plan.class_weights == "balanced" and context.scene.task == "classification":
        weights_N = losses.balanced(targets_NK)
    return Feed(examples, targets_NK, weights_N, preprocessor, context.unlabelled, rewrite)
