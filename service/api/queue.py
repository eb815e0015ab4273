"""``GET /v1/queue``: which answered instances are most worth a label.

An item carries its input where that was kept, so that whoever labels can look at it, and why it was chosen. A share of
what is served is drawn by lot; what was offered, and with which chance, is kept, so that accuracy can be told without
bias (``core/offers.py``). Knows nothing of how labels are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from core.bundle import blocks_of
from core.errors import InvalidInput
from core.label_studio import prelabelled
from core.offers import Lot
from core.queueing import STRATEGIES, UNCERTAIN, Choice, Open, choose, diverse, members_apart
from core.tally import labelled
from core.tasks import task_of
from core.types import Prediction, Scene
from service.api.access import context_of
from service.api.instances import json_of
from service.context import Context

router = APIRouter(tags=["queue"])

MOST_BYTES = 16 * 2**20  # of inputs in one answer; further items come without
LOOKED_AT = 2000  # newest examples that the choice is made from
FORMATS = ("json", "label-studio")


@dataclass(frozen=True)
class _Pool:
    """Recently answered examples, newest first: those without a label, and when the others were answered."""

    open_ones: list[Prediction]
    labelled: dict[str, float]


@router.get("/v1/queue", response_model=None)
async def queue(
    request: Request,
    scene: str,
    strategy: str = Query("margin", description="margin, random, diverse or disagreement."),
    limit: int = Query(20, ge=1, le=500),
    task: str | None = Query(None, description="Of several tasks of the scene, which one; the first if absent."),
    format: str = Query("json", description="json, or label-studio: tasks to import there, answers as predictions."),
) -> dict[str, Any] | JSONResponse:
    """Recently answered instances without a label of the task, the most useful first, a share of them by lot."""
    context = context_of(request)
    if strategy not in STRATEGIES:
        raise InvalidInput(f"there is no strategy {strategy[:40]!r}", f"choose one of: {', '.join(STRATEGIES)}")
    if format not in FORMATS:
        raise InvalidInput(f"there is no format {format[:40]!r}", f"choose one of: {', '.join(FORMATS)}")
    asked = task_of(context.engine.scene(scene), task)
    if strategy != "random" and asked.task == "regression":
        raise InvalidInput("a regression has no margin", "choose the strategy random")
    items = await context.store(_items, context, asked, strategy, limit)
    if format == "label-studio":
        return JSONResponse([prelabelled(asked, item) for item in items])
    told = {"scene": scene} | ({"task": asked.task_name} if asked.task_name else {})
    return told | {"strategy": strategy, "items": items}


def _items(context: Context, task: Scene, strategy: str, limit: int) -> list[dict[str, Any]]:
    pool = _pool(context, task)
    best, why = _best(context, task, strategy, pool.open_ones, limit)
    choice = _drawn(context, task, pool, best, limit)
    known = {prediction.example: prediction for prediction in pool.open_ones}
    items, left = list[dict[str, Any]](), MOST_BYTES
    for example in choice.examples:
        item = _item(known[example], task.task_name)
        item["why"] = "by lot" if example in choice.drawn else why.get(example, strategy)
        data = context.home.predictions.instance(example) if left > 0 else None
        if data is not None and len(data) <= left:
            left -= len(data)
            item["instance"] = json_of(data, task)
        items.append(item)
    return items


def _pool(context: Context, task: Scene) -> _Pool:
    recent = context.home.predictions.recent(task.name, LOOKED_AT)
    done = labelled(context.home.ledger.database, task.name, [each.example for each in recent], task.task_name)
    return _Pool(
        [each for each in recent if each.example not in done],
        {each.example: each.created_at for each in recent if each.example in done},
    )


def _best(
    context: Context, task: Scene, strategy: str, open_ones: Sequence[Prediction], limit: int
) -> tuple[list[str], dict[str, str]]:
    """What a strategy wants, best first, and why; nothing where all is left to the lot."""
    margins = {each.example: each.of(task.task_name).margin for each in open_ones}
    uncertain = sorted(margins, key=lambda example: margins[example])
    why = {example: f"the margin between its two best answers is {margin:.2f}" for example, margin in margins.items()}
    if strategy == "margin":
        return uncertain, why
    if strategy == "diverse":
        return _diverse(open_ones, uncertain, limit), why | dict.fromkeys(uncertain[: UNCERTAIN * limit], _KIND)
    if strategy == "disagreement":
        apart = _apart(context, task, open_ones)
        told = {example: f"{words} disagree on it" for example, (_, words) in apart.items()}
        return sorted(apart, key=lambda example: (-apart[example][0], margins[example])), told
    return [], why


_KIND = "it is uncertain, and in the middle of others like it"


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


def _apart(context: Context, task: Scene, open_ones: Sequence[Prediction]) -> dict[str, tuple[float, str]]:
    """Example → how far, and who disagrees on it: champion and challenger, or the members of a fusion of logits.

    Raises:
        InvalidInput: nobody can disagree.
    """
    challenge = context.home.challenges.of(task.name)
    if challenge is not None:
        shadows = context.home.predictions.shadows(task.name, challenge.version, LOOKED_AT)
        found: dict[str, tuple[float, str]] = {}
        for each in open_ones:
            shadow = shadows.get(each.example)
            ours, theirs = each.of(task.task_name), shadow.of(task.task_name) if shadow is not None else None
            if theirs is not None and theirs.label != ours.label:
                found[each.example] = ours.margin + theirs.margin, "champion and challenger"
        return found
    snapshot = context.engine.snapshot(task.name)
    version = context.home.registry.version(task.name, snapshot.version)
    blocks, head = blocks_of(version.manifest), snapshot.head
    if len(blocks) < 2 or head is None or task.task_name != task_of(snapshot.scene, None).task_name:
        raise InvalidInput(
            f"scene {task.name!r} has neither a challenger nor a fusion of logits whose members could disagree",
            "choose margin or diverse, or let a version challenge: lepton challenge",
        )
    mine = [each for each in open_ones if each.extractor == snapshot.extractor]
    if not mine:
        return {}
    apart_N = members_apart(np.stack([each.features for each in mine]), head, blocks)
    return {each.example: (float(far), "the members of the fusion") for each, far in zip(mine, apart_N, strict=True)}


def _drawn(context: Context, task: Scene, pool: _Pool, best: list[str], limit: int) -> Choice:
    """What is offered; kept with its chances."""
    chance, made = np.random.default_rng(), list[Choice]()
    open_ones = [Open(example=each.example, at=each.created_at) for each in pool.open_ones]
    offered = context.home.offers.chances(task.name, task.task_name, [each.example for each in open_ones])
    share = context.home.settings.queue.random_share

    def lot(since: float) -> Lot:
        made.append(choose(open_ones, best, pool.labelled, limit, share, since, offered.keys(), chance))
        return made[-1].lot

    context.home.offers.draw(task.name, task.task_name, lot)
    return made[-1]


def _item(prediction: Prediction, task: str) -> dict[str, Any]:
    item: dict[str, Any] = {"prediction_id": prediction.prediction_id, "example": prediction.example}
    said = prediction.of(task)
    if said.value is not None:
        return item | {"value": said.value}
    return item | {"label": said.label, "confidence": said.confidence, "margin": said.margin}
