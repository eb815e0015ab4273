"""The learning rate by a range test: it rises step by step until it does harm, and a part of that is used.

A head in closed form starts nearly right on its own training rows, so that neither the slope of the loss (Smith,
arXiv 1506.01186) nor a few short runs tell much; what tells networks apart is the rate that tears them up. There the
loss exceeds what a constant answer costs. Promises the same rate for the same seed, and that the network trained
afterwards is a fresh one. Knows nothing of what is trained.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TypeVar

import torch

from core.types import Task
from training.recipe import Context
from training.tune.columns import Columns, known
from training.tune.loop import Loop
from training.tune.plan import Plan

USUAL = 3e-4  # where there is no time to try
UNSEEN = 2e-3  # where nothing did harm that shows: a head near zero hides it; half of it leaves small networks unmoved
_LOWEST, _HIGHEST, _STEPS = 1e-5, 1e-1, 41
_SHARE = 0.15  # of the budget, at most
_PART = 0.1  # of the rate that does harm
_ENOUGH = 26  # steps up to the rate that does harm where USUAL is right: a test of fewer is no better than to take that
_SMOOTH = 0.5
_MORE = 1.1  # times the first loss: more is harm, too, where the head is no better than chance

Chosen = TypeVar("Chosen", bound=Plan)


def rates() -> list[float]:
    """The rates that are tried, rising evenly in their logarithm.

    >>> len(rates()), rates()[0], round(rates()[-1], 6)
    (41, 1e-05, 0.1)
    """
    return [_LOWEST * (_HIGHEST / _LOWEST) ** (step / (_STEPS - 1)) for step in range(_STEPS)]


def harmful(losses: Iterator[float], chance: float) -> tuple[float | None, int]:
    """The first of ``rates()`` at which the smoothed loss exceeds chance, or None; and how many were tried.

    >>> harmful(iter([0.1] * 20 + [9.0] * 20), chance=1.0) == (rates()[20], 21)
    True
    """
    smoothed = first = math.nan
    tried = 0
    for rate, loss in zip(rates(), losses, strict=False):
        tried += 1
        smoothed = loss if tried == 1 else _SMOOTH * smoothed + (1 - _SMOOTH) * loss
        first = smoothed if tried == 1 else first
        if not smoothed <= max(chance, _MORE * first):
            return rate, tried
    return None, tried


def choose(loop: Loop, plan: Chosen, context: Context, chance: float) -> Chosen:
    """``plan`` with a rate; ``loop`` trains a network that is thrown away."""
    with closing(loop.ramp(rates(), context.budget * _SHARE, _ENOUGH)) as losses:
        found, tried = harmful(losses, chance)
    if found is None and tried < _STEPS:
        context.noted(f"no time to try learning rates: {USUAL:g} is used")
        return replace(plan, rate=USUAL)
    if found is None:
        context.noted(f"no learning rate up to {_HIGHEST:g} did harm that shows: {UNSEEN:g} is used")
        return replace(plan, rate=UNSEEN)
    rate = float(f"{_PART * found:.2g}")
    context.noted(f"learning rate {rate:g}: a tenth of what did harm in a range test")
    return replace(plan, rate=rate)


def chance_of(laid: Sequence[Columns], targets_NK: torch.Tensor) -> float:
    """What the best constant answer costs: the entropy of the classes, or 1 for values; mean over tasks."""
    return sum(_chance(each.task.task, each.of(targets_NK)[known(targets_NK, each)]) for each in laid) / len(laid)


def _chance(task: Task, targets_NK: torch.Tensor) -> float:
    """The same of one task.

    >>> round(_chance("classification", torch.eye(4)), 4) == round(math.log(4), 4)
    True
    """
    if task == "regression":
        return 1.0
    share_K = targets_NK.mean(dim=0)
    return float(-(share_K * share_K.clamp(min=1e-12).log()).sum())
