"""The labelling queue of a task: recently answered inputs without a label, the most useful first, a share by lot.

Promises that what is offered, and with which chance, is kept before it is handed out, so that accuracy can be told
without bias (``core/offers.py``). What the strategies are is in ``core/queueing.py``. Knows nothing of who asks, and
of how labels are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.bundle import blocks_of
from core.errors import InvalidInput
from core.home import Home
from core.offers import Lot
from core.queueing import STRATEGIES, UNCERTAIN, Choice, Open, choose, diverse, members_apart
from core.tally import labelled
from core.types import Prediction, Scene

LOOKED_AT = 2000  # newest examples that the choice is made from
BY_LOT = "by lot"
_KIND = "it is uncertain, and in the middle of others like it"


@dataclass(frozen=True, kw_only=True)
class Offer:
    """An answered input that a label is wanted of, without its bytes, and why."""

    prediction: Prediction
    why: str


@dataclass(frozen=True)
class _Pool:
    """Recently answered examples, newest first: those without a label, and when the others were answered."""

    open_ones: list[Prediction]
    labelled: dict[str, float]


def offered(home: Home, task: Scene, strategy: str, limit: int) -> list[Offer]:
    """What to label next, at most ``limit``, in the order in which it should be labelled.

    Raises:
        InvalidInput: there is no such strategy, the task has no margin, or nobody can disagree.
    """
    if strategy not in STRATEGIES:
        raise InvalidInput(f"there is no strategy {strategy[:40]!r}", f"choose one of: {', '.join(STRATEGIES)}")
    if strategy != "random" and task.task == "regression":
        raise InvalidInput("a regression has no margin", "choose the strategy random")
    pool = _pool(home, task)
    best, why = _best(home, task, strategy, pool.open_ones, limit)
    choice = _drawn(home, task, pool, best, limit)
    known = {prediction.example: prediction for prediction in pool.open_ones}
    return [
        Offer(prediction=known[example], why=BY_LOT if example in choice.drawn else why.get(example, strategy))
        for example in choice.examples
    ]


def _pool(home: Home, task: Scene) -> _Pool:
    recent = home.predictions.recent(task.name, LOOKED_AT)
    done = labelled(home.ledger.database, task.name, [each.example for each in recent], task.task_name)
    return _Pool(
        [each for each in recent if each.example not in done],
        {each.example: each.created_at for each in recent if each.example in done},
    )


def _best(
    home: Home, task: Scene, strategy: str, open_ones: Sequence[Prediction], limit: int
) -> tuple[list[str], dict[str, str]]:
    """What a strategy wants, best first, and why; nothing where all is left to the lot."""
    margins = {each.example: each.of(task.task_name).margin for each in open_ones}
    uncertain = sorted(margins, key=lambda example: margins[example])
    why = {example: f"the margin between its two best answers was {margin:.2f}" for example, margin in margins.items()}
    if strategy == "margin":
        return uncertain, why
    if strategy == "diverse":
        return _diverse(open_ones, uncertain, limit), why | dict.fromkeys(uncertain[: UNCERTAIN * limit], _KIND)
    if strategy == "disagreement":
        apart = _apart(home, task, open_ones)
        told = {example: f"{words} disagree on it" for example, (_, words) in apart.items()}
        return sorted(apart, key=lambda example: (-apart[example][0], margins[example])), told
    return [], why


def _diverse(open_ones: Sequence[Prediction], uncertain: list[str], limit: int) -> list[str]:
    """The uncertain of different kinds, then the others by margin."""
    known = {each.example: each for each in open_ones}
    newest = open_ones[0].extractor if open_ones else ""
    few = [example for example in uncertain[: UNCERTAIN * limit] if known[example].extractor == newest]
    if len(few) <= limit:
        return uncertain
    rows_ND = np.stack([known[example].features for example in few])
    chosen = [few[place] for place in diverse(rows_ND, limit, seed=0)]
    return chosen + [example for example in uncertain if example not in set(chosen)]


def _apart(home: Home, task: Scene, open_ones: Sequence[Prediction]) -> dict[str, tuple[float, str]]:
    """Example → how far, and who disagrees on it: champion and challenger, or the members of a fusion of logits.

    Raises:
        InvalidInput: nobody can disagree.
    """
    challenge = home.challenges.of(task.name)
    if challenge is not None:
        shadows = home.predictions.shadows(task.name, challenge.version, LOOKED_AT)
        found: dict[str, tuple[float, str]] = {}
        for each in open_ones:
            shadow = shadows.get(each.example)
            ours, theirs = each.of(task.task_name), shadow.of(task.task_name) if shadow is not None else None
            if theirs is not None and theirs.label != ours.label:
                found[each.example] = ours.margin + theirs.margin, "champion and challenger"
        return found
    alias = home.registry.champion(task.name)
    manifest = {} if alias is None else home.registry.version(task.name, alias.version).manifest
    served = None if alias is None else home.registry.latest_revision(task.name, alias.version)
    blocks, first = blocks_of(manifest), home.registry.scene(task.name).task_name
    if len(blocks) < 2 or served is None or task.task_name != first:
        raise InvalidInput(
            f"scene {task.name!r} has neither a challenger nor a fusion of logits whose members could disagree",
            "choose margin or diverse, or let a version challenge: lepton challenge",
        )
    mine = [each for each in open_ones if each.extractor == manifest["extractor"]]
    if not mine:
        return {}
    apart_N = members_apart(np.stack([each.features for each in mine]), served.head, blocks)
    return {each.example: (float(far), "the members of the fusion") for each, far in zip(mine, apart_N, strict=True)}


def _drawn(home: Home, task: Scene, pool: _Pool, best: list[str], limit: int) -> Choice:
    """What is offered; kept with its chances."""
    chance, made = np.random.default_rng(), list[Choice]()
    open_ones = [Open(example=each.example, at=each.created_at) for each in pool.open_ones]
    had = home.offers.chances(task.name, task.task_name, [each.example for each in open_ones])
    share = home.settings.queue.random_share

    def lot(since: float) -> Lot:
        made.append(choose(open_ones, best, pool.labelled, limit, share, since, had.keys(), chance))
        return made[-1].lot

    home.offers.draw(task.name, task.task_name, lot)
    return made[-1]
