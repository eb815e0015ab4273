"""The stage between features and head: a recipe is tried, and takes the floor's place only where it is no worse.

Promises that the floor, the closed form on the untouched backbone, is judged first and is what stays where a recipe
has too little to learn from, finds nothing better, runs out of time, or gives a graph that is not faithful; and that
the words say which. A backbone that no recipe can move is an error, since it was asked for. Knows nothing of files,
databases or the registry.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch

from core.bundle import Tuning
from core.errors import InvalidInput, ParityFailed
from core.types import Example, Scene
from exporters.backbone import Backbone
from exporters.parity import Parity
from training import judge, recipe
from training.assemble import Assembly
from training.judge import Bench, Decision, Judged
from training.recipe import Context, Rows, TooFew, Tuned
from training.tasks import by_task, group
from training.tune import network
from training.tune.device import Device

CARVED = 5  # where data have no validation side, one row in so many of each class becomes it, or fewer
KEPT = 2  # rows of each class that stay for training


class Helped(Exception):
    """This process helped to tune; the first one goes on alone."""


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What is to be tried, and who hears of it.

    Attributes:
        name, config: the recipe. budget: seconds.
        epoch: called with every epoch. noted: called with what a person should know.
    """

    name: str
    config: Any
    budget: float
    unlabelled: Sequence[Example] = ()
    rewriter: Callable[[str], str] | None = None
    device: Device = field(default_factory=Device)
    epoch: Callable[[recipe.Epoch], None] = field(default=lambda epoch: None, repr=False)
    noted: Callable[[str], None] = field(default=lambda words: None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What came of trying a recipe.

    Attributes:
        judged: the tuned backbone in its graph, where it is to be served; None: the floor stays.
        decision: both on the same validation rows; None where there was nothing to compare.
        trained: score of the head that was trained along, on the tuned features.
        words: what happened, a sentence.
    """

    name: str
    rows: Rows
    words: str
    tuned: Tuned | None = None
    judged: Judged | None = field(default=None, repr=False)
    decision: Decision | None = None
    trained: float = float("nan")


def attempt(floor: Assembly, parity: Parity, rows: Rows, bench: Bench, ask: Ask) -> Attempt:
    """Judge the floor, tune its one backbone, judge what came of it, decide.

    Raises:
        InvalidInput: the backbone cannot be tuned, or a setting does not fit the data.
        Helped: this is not the first of several processes.
    """
    check(ask.name, floor.backbones)
    (base,) = floor.backbones
    stays = "the untouched backbone stays"
    try:
        held = judge.of_assembly(floor, parity, rows, bench)
        made = recipe.load(ask.name).tune(base, rows, ask.config, _context(held, bench, ask))
    except TooFew as few:
        if not ask.device.first:
            raise Helped from few
        return Attempt(name=ask.name, rows=rows, words=f"{few.message}: {stays}")
    if not ask.device.first:
        raise Helped
    if not made.moved:
        why = f"{ask.name} found nothing better than its start ({made.stopped}): {stays}"
        return Attempt(name=ask.name, rows=rows, words=why, tuned=made)
    try:
        found = judge.judge(made.backbone, rows, bench)
    except ParityFailed as failed:
        why = f"the graph of what {ask.name} made is not faithful ({failed.message}): {stays}"
        return Attempt(name=ask.name, rows=rows, words=why, tuned=made)
    decision = judge.decide(held, found, ask.name, bench.seed)
    assert made.head is not None, "what was moved was trained with a head"
    return Attempt(
        name=ask.name,
        rows=rows,
        words=decision.words,
        tuned=made,
        judged=found if decision.accepted else None,
        decision=decision,
        trained=judge.trained_score(found, made.head, rows, bench.scene),
    )


def check(name: str, backbones: Sequence[Backbone]) -> None:
    """Whether a recipe can move these at all, before anything is computed.

    Raises:
        InvalidInput: several at once, or one that is no torch model.
    """
    if name == recipe.FLOOR:
        return
    if len(backbones) != 1:
        raise InvalidInput(
            f"{name} tunes one backbone, and {' + '.join(backbone.name for backbone in backbones)} were chosen",
            "name one by --backbone, or use --recipe closed_form",
        )
    network.torch_body(backbones[0])


def can_move(backbone: Backbone) -> bool:
    """Whether a recipe can move a backbone's weights."""
    return isinstance(backbone.body, torch.nn.Module)


def check_processes(name: str, backbones: Sequence[str], device: Device) -> None:
    """Several processes tune one backbone that was named: a choice by time could fall out differently in each.

    Raises:
        InvalidInput: they were started for anything else.
    """
    if device.world > 1 and (name == recipe.FLOOR or len(backbones) != 1):
        raise InvalidInput(
            f"{device.world} processes were started, and they can only tune one backbone together",
            "give --recipe (not closed_form) and one --backbone, or start one process",
        )


def rewriter_of(named: str | None) -> Callable[[str], str] | None:
    """The user's own function, named as ``module:function``.

    >>> rewriter_of("textwrap:dedent")("  a")
    'a'

    Raises:
        InvalidInput: there is none of that name.
    """
    if named is None:
        return None
    module, _, function = named.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidInput(f"--rewriter {named!r} names no function: {error}", "give MODULE:FUNCTION") from error
    if not callable(found):
        raise InvalidInput(f"--rewriter {named!r} is no function", "give MODULE:FUNCTION")
    return cast("Callable[[str], str]", found)


def sides(examples: Sequence[Example], scene: Scene, seed: int, most: float = math.inf) -> Rows:
    """Training and validation rows; where the data have no validation side, a fifth of each class of every task, never
    its last two.

    The examples keep the side that the data gave them: only the recipe treats them so.

    Args:
        most: validation rows that are wanted of all classes together, where a fifth of the examples is more.
    """
    train = tuple(example for example in examples if example.split == "train")
    held = tuple(example for example in examples if example.split == "validation")
    if held:
        return Rows(train=train, validation=held)
    carved = _carved(train, scene, seed, min(1 / CARVED, most / max(1, len(train))))
    kept = tuple(example for example in train if example.digest not in carved)
    return Rows(train=kept, validation=tuple(example for example in train if example.digest in carved))


def told(attempt: Attempt, base: str, run: str, seed: int) -> Tuning | None:
    """What the manifest says; None where the floor stays."""
    made, decision = attempt.tuned, attempt.decision
    if attempt.judged is None or made is None or decision is None:
        return None
    return Tuning(
        recipe=attempt.name,
        base=base,
        settings=dict(made.settings),
        seed=seed,
        epochs=made.history[-1].number,
        best=made.best,
        seconds=round(made.seconds, 1),
        stopped=made.stopped,
        floor=decision.floor,
        score=decision.candidate,
        trained=attempt.trained,
        rows=decision.rows,
        run=run,
    )


def _carved(train: Sequence[Example], scene: Scene, seed: int, share: float) -> set[str]:
    """A share of each class, one row at least: class after class, task after task; what an earlier one took counts for
    a later one."""
    chance, found = np.random.default_rng(seed), set[str]()
    classes = _classes(train, scene)
    left = {name: len(members) for name, members in classes.items()}
    mine: dict[str, list[tuple[int, str]]] = {}
    for name, members in classes.items():
        for digest in members:
            mine.setdefault(digest, []).append(name)
    for members in classes.values():
        wanted = max(1, int(share * len(members))) - len(found.intersection(members))
        for place in chance.permutation(len(members)):
            digest = members[place]
            if wanted > 0 and digest not in found and all(left[name] > KEPT for name in mine[digest]):
                found.add(digest)
                wanted -= 1
                left |= {name: left[name] - 1 for name in mine[digest]}
    return found


def _classes(train: Sequence[Example], scene: Scene) -> dict[tuple[int, str], list[str]]:
    """The rows of each class, by the number of its task and its name, in that order."""
    found: dict[tuple[int, str], list[str]] = {}
    for number, (task, mine) in enumerate(by_task(scene, sorted(train, key=lambda example: example.digest))):
        for example in mine:
            found.setdefault((number, group(task, example)), []).append(example.digest)
    return dict(sorted(found.items()))


def _context(held: Judged, bench: Bench, ask: Ask) -> Context:
    return Context(
        scene=bench.scene,
        head=held.head,
        transform=held.assembly.transforms[0],
        limits=bench.limits,
        seed=bench.seed,
        budget=ask.budget,
        device=ask.device,
        unlabelled=ask.unlabelled,
        rewriter=ask.rewriter,
        told=ask.epoch,
        noted=ask.noted,
    )
