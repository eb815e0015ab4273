"""The learning rate by short runs: the one whose validation loss has fallen most after an epoch or two.

A range test reads the rate off a curve of training losses; with a head that starts nearly right, and few labels, that
curve is flat and noisy, so a small grid is tried instead. Promises the same rate for the same seed, and that the
network is left as it was found. Knows nothing of what is trained.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from training.recipe import Context
from training.tune.loop import Fitted
from training.tune.plan import Plan

RATES = (1e-4, 3e-4, 1e-3)
USUAL = 3e-4  # where there is no time to try
_EPOCHS = 2
_SHARE = 0.3  # of the budget, for all of them

Chosen = TypeVar("Chosen", bound=Plan)


def choose(run: Callable[[Plan, Context], Fitted], plan: Chosen, context: Context) -> Chosen:
    """``plan`` with a rate; the very plan where it has one. ``run`` trains a fresh network by a plan."""
    if plan.rate > 0:
        return plan
    silent = replace(context, told=lambda epoch: None, noted=lambda words: None)
    budget = context.budget * _SHARE / len(RATES)
    losses: dict[float, float] = {}
    for rate in RATES:
        trial = replace(plan, rate=rate, epochs=min(_EPOCHS, plan.epochs))
        fitted = run(trial, replace(silent, budget=budget))
        if len(fitted.history) < 2:
            context.noted(f"no time to try learning rates: {USUAL:g} is used")
            return replace(plan, rate=USUAL)
        last = fitted.history[-1].validation_loss
        losses[rate] = last if math.isfinite(last) else math.inf
    best = min(losses, key=lambda rate: (losses[rate], rate))
    told = ", ".join(f"{rate:g}: {loss:.4f}" for rate, loss in losses.items())
    context.noted(f"learning rate {best:g} (validation loss after short runs: {told})")
    return replace(plan, rate=best)
