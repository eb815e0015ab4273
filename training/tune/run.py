"""A recipe from its configuration to its result: a copy of the backbone is made ready, trained and put in its place.

Promises that the backbone it is given keeps every bit, and that what comes back takes the same inputs and is as wide.
Knows nothing of what a recipe lets be trained: the recipe prepares that itself.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch.utils.hooks import RemovableHandle

from exporters.backbone import Backbone
from training import recipe, tuned
from training.recipe import Context, Rows, Tuned
from training.tune import columns, losses, rate, variation
from training.tune.balance import Balanced
from training.tune.choice import RULES, Rule
from training.tune.layers import Group
from training.tune.loop import Course, Loop
from training.tune.network import Network, torch_body
from training.tune.objective import Objective, Supervised
from training.tune.plan import Plan
from training.tune.prepare import feeds, shares, spreads


@dataclass
class Job:
    """One training being prepared: a recipe sets what it wants otherwise.

    Attributes:
        labels: the loss of the labels, of all tasks. objective: what is minimised; the same, unless a recipe puts more
            around it.
        groups: what is trained of the body, with its ``scale`` on the rate.
        thaw: called before each epoch with its number and how many there are.
        chosen: which epoch's weights come back; where it says nothing, the plan does.
        handles: remove what happens inside the body while it trains.
        merge: makes the trained body one of the backbone's own kind again.
    """

    network: Network
    labels: Supervised | Balanced
    objective: Objective
    groups: Sequence[Group] = ()
    thaw: Callable[[int, int], object] | None = None
    chosen: Rule | None = None
    handles: Sequence[RemovableHandle] = ()
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
    context = replace(context, noted=_both(notes.append, context.noted))
    varied = variation.of(base.modality, plan, context.scene.task, context.rewriter)
    train, held = feeds(base, rows, plan, context, varied.rewrite if varied.rewrites else None)

    def loop(plan: Plan, context: Context) -> tuple[Job, Loop]:
        job = _job(base, rows, plan, context, prepare)
        job.handles = varied.attach(job.network.body, context.seed)
        course = Course(
            train=train,
            held=held,
            objective=job.objective,
            groups=job.groups,
            vary=varied.vary,
            thaw=job.thaw,
            chosen=job.chosen or RULES[plan.keep],
        )
        return job, Loop(job.network, course, plan, context)

    if plan.rate == 0:
        laid = columns.lay(context.scene, context.head)
        plan = rate.choose(loop(plan, context)[1], plan, context, rate.chance_of(laid, train.targets_NK))
    job, training = loop(plan, replace(context, budget=context.budget - (context.clock() - begun)))
    fitted = training.run()
    for handle in job.handles:
        handle.remove()
    return Tuned(
        backbone=tuned.moved(base, job.merge(job.network.body).cpu(), name) if fitted.best > 0 else base,
        head=job.network.trained_head(),
        history=fitted.history,
        best=fitted.best,
        seconds=context.clock() - begun,
        stopped=fitted.stopped,
        settings=recipe.told(plan),
        notes=tuple(notes),
    )


def _job(base: Backbone, rows: Rows, plan: Plan, context: Context, prepare: Callable[[Job], None]) -> Job:
    body = copy.deepcopy(torch_body(base))
    network = Network(body, context.transform, context.head, dropout=plan.dropout, spreads=spreads(rows, context))
    labels = _labels(rows, plan, context)
    job = Job(network=network, labels=labels, objective=labels)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(context.seed)  # whatever a recipe adds begins alike in every process
        prepare(job)
    return job


def _labels(rows: Rows, plan: Plan, context: Context) -> Supervised | Balanced:
    if context.scene.further:
        laid = columns.lay(context.scene, context.head)
        return Balanced(laid, shares(rows, context), plan.balance, plan.smoothing)
    costs_KK = losses.cost_table(plan.costs, context.head.labels) if plan.costs else None
    return Supervised(context.scene.task, plan.smoothing, costs_KK)


def _both(first: Callable[[str], None], second: Callable[[str], None]) -> Callable[[str], None]:
    def told(words: str) -> None:
        first(words)
        second(words)

    return told
