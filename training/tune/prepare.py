"""Rows and their labels as the loop takes them: targets, weights, and the classes that a head can be trained on.

Promises that what cannot be learned is refused before any weight moves. Knows nothing of weights.

Legend: N rows, K classes (1 for regression).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from core.preprocess import Preprocessor, modality
from core.types import Example
from exporters.backbone import Backbone
from training.recipe import Context, Rows, TooFew
from training.tune import losses
from training.tune.batches import Feed, Rewrite
from training.tune.plan import Plan

LEAST = 2  # classes


def spread(rows: Rows, context: Context) -> float:
    """Standard deviation of regression targets on the head's scale; 1 for classification."""
    if context.scene.task == "classification":
        return 1.0
    values = [example.value for example in rows.train if example.value is not None]
    return max(float(np.std(values)) / context.scene.scale, 1e-12)


def feeds(base: Backbone, rows: Rows, plan: Plan, context: Context, rewrite: Rewrite | None) -> tuple[Feed, Feed]:
    """Training and validation rows.

    Raises:
        TooFew: fewer than two classes, or no validation row of any of them.
    """
    preprocessor = modality(base.modality).preprocessor(base.inputs, base.files, context.limits)
    train, held = (_known(side, context) for side in (rows.train, rows.validation))
    left = len(rows.train) - len(train)
    if left:
        context.noted(f"{left} training rows are left out: their class has one example, or none but wrong ones")
    if context.scene.task == "classification" and len({example.label for example in train}) < LEAST:
        raise TooFew(
            f"{len(train)} training rows of one class leave nothing to tune",
            "give at least two examples of each of two classes",
        )
    if not train or not held:
        raise TooFew(
            f"{len(train)} training and {len(held)} validation rows are too few to tune a backbone on",
            "give more labelled examples of the same classes, or use --recipe closed_form",
        )
    width = spread(rows, context)
    return _feed(train, preprocessor, plan, context, width, rewrite), _feed(
        held, preprocessor, plan, context, width, None
    )


def _known(examples: Sequence[Example], context: Context) -> list[Example]:
    if context.scene.task == "regression":
        return [example for example in examples if example.value is not None]
    return [example for example in examples if example.label in context.head.labels]


def _feed(
    examples: Sequence[Example],
    preprocessor: Preprocessor,
    plan: Plan,
    context: Context,
    width: float,
    rewrite: Rewrite | None,
) -> Feed:
    targets_NK = _targets(examples, context, width)
    weights_N = torch.ones(len(examples))
    if plan.class_weights == "balanced" and context.scene.task == "classification":
        weights_N = losses.balanced(targets_NK)
    return Feed(examples, targets_NK, weights_N, preprocessor, context.unlabelled, rewrite)


def _targets(examples: Sequence[Example], context: Context, width: float) -> torch.Tensor:
    if context.scene.task == "regression":
        scale = width * context.scene.scale
        said = [context.soft[e.digest].item() if e.digest in context.soft else e.value or 0.0 for e in examples]
        return torch.tensor([(value - context.scene.offset) / scale for value in said], dtype=torch.float32)[:, None]
    labels = context.head.labels
    at_N = torch.tensor([labels.index(example.label or "") for example in examples])
    targets_NK = torch.nn.functional.one_hot(at_N, len(labels)).float()
    for place, example in enumerate(examples):
        if example.digest in context.soft:
            targets_NK[place] = torch.from_numpy(context.soft[example.digest]).float()
    return targets_NK
