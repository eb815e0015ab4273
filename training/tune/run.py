"""A recipe from its configuration to its result: a copy of the backbone is made ready, trained and put in its place.

Promises that the backbone it is given keeps every bit, and that what comes back takes the same inputs and is as wide.
Knows nothing of what a recipe lets be trained: the recipe prepares that itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch

from exporters.backbone import Backbone
from training import recipe, tuned
from training.recipe import Context, Rows, Tuned
from training.tune import losses, rate
from training.tune.layers import Group
from training.tune.loop import Course, Fitted, Loop
from training.tune.network import Network, body_of
from training.tune.objective import Objective, Supervised
from training.tune.plan import Plan
from training.tune.prepare import feeds, spread


@dataclass
class Job:
    """One training being prepared: a recipe sets what it wants otherwise.

    Attributes:
        groups: what is trained of the body, with its ``scale`` on the rate.
        thaw: called before each epoch with its number.
        merge: makes the trained body one of the backbone's own kind again.
    """

    network: Network
    objective: Objective
    groups: Sequence[Group] = ()
    thaw: Callable[[int], None] | None = None
    merge: Callable[[torch.nn.Module], torch.nn.Module] = field(default=lambda body: body)


def tune_body(
    base: Backbone, rows: Rows, plan: Plan, context: Context, name: str, prepare: Callable[[Job], None]
) -> Tuned:
    """Train a copy of ``base`` as ``prepare`` says.

    Raises:
        InvalidInput: the backbone is no torch model, or there is too little to learn from.
    """
    begun = context.clock()
    notes: list[str] = []

    def noted(words: str) -> None:
        notes.append(words)
        context.noted(words)

    context = replace(context, noted=noted)
    train, held = feeds(base, rows, plan, context, None)
    jobs: list[Job] = []

    def run(plan: Plan, context: Context) -> Fitted:
        jobs[:] = [_job(base, rows, plan, context, prepare)]
        course = Course(train=train, held=held, objective=jobs[0].objective, groups=jobs[0].groups, thaw=jobs[0].thaw)
        return Loop(jobs[0].network, course, plan, context).run()

    chosen = rate.choose(run, plan, context)
    fitted = run(chosen, replace(context, budget=context.budget - (context.clock() - begun)))
    job = jobs[0]
    backbone = base
    if fitted.best > 0:
        backbone = tuned.moved(base, job.merge(job.network.body).cpu(), name)
    return Tuned(
        backbone=backbone,
        head=job.network.trained_head(),
        history=fitted.history,
        best=fitted.best,
        seconds=context.clock() - begun,
        stopped=fitted.stopped,
        settings=recipe.told(chosen),
        notes=tuple(notes),
    )


def _job(base: Backbone, rows: Rows, plan: Plan, context: Context, prepare: Callable[[Job], None]) -> Job:
    network = Network(
        body_of(base), context.transform, context.head, dropout=plan.dropout, spread=spread(rows, context)
    )
    costs_KK = losses.cost_table(plan.costs, context.head.labels) if plan.costs else None
    job = Job(network=network, objective=Supervised(context.scene.task, plan.smoothing, costs_KK))
    prepare(job)
    return job
