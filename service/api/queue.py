"""``GET /v1/queue``: which answered instances are most worth a label.

Margin sampling after Scheffer, Decomain and Wrobel, "Active hidden Markov models for information extraction" (2001).
An item carries its input where that was kept, so that whoever labels can look at it. Knows nothing of how labels are
used.
"""

from __future__ import annotations

import random
from typing import Any

from fastapi import APIRouter, Query, Request

from core.errors import InvalidInput
from core.tally import labelled
from core.tasks import task_of
from core.types import Prediction, Scene
from service.api.access import context_of
from service.api.instances import json_of
from service.context import Context

router = APIRouter(tags=["queue"])

STRATEGIES = ("margin", "random")
MOST_BYTES = 16 * 2**20  # of inputs in one answer; further items come without
LOOKED_AT = 2000  # newest examples that the choice is made from


@router.get("/v1/queue")
async def queue(
    request: Request,
    scene: str,
    strategy: str = "margin",
    limit: int = Query(20, ge=1, le=500),
    task: str | None = Query(None, description="Of several tasks of the scene, which one; the first if absent."),
) -> dict[str, Any]:
    """Recently answered instances without a label of the task: the least certain first, or by lot."""
    context = context_of(request)
    if strategy not in STRATEGIES:
        raise InvalidInput(f"there is no strategy {strategy[:40]!r}", f"choose one of: {', '.join(STRATEGIES)}")
    asked = task_of(context.engine.scene(scene), task)
    if strategy == "margin" and asked.task == "regression":
        raise InvalidInput("a regression has no margin", "choose the strategy random")
    told = {"scene": scene} | ({"task": asked.task_name} if asked.task_name else {})
    return told | {"strategy": strategy, "items": await context.store(_items, context, asked, strategy, limit)}


def _items(context: Context, task: Scene, strategy: str, limit: int) -> list[dict[str, Any]]:
    items, left = list[dict[str, Any]](), MOST_BYTES
    for prediction in _choose(context, task, strategy, limit):
        item = _item(prediction, task.task_name)
        data = context.home.predictions.instance(prediction.example) if left > 0 else None
        if data is not None and len(data) <= left:
            left -= len(data)
            item["instance"] = json_of(data, task)
        items.append(item)
    return items


def _choose(context: Context, task: Scene, strategy: str, limit: int) -> list[Prediction]:
    recent = context.home.predictions.recent(task.name, LOOKED_AT)
    examples = [prediction.example for prediction in recent]
    done = labelled(context.home.ledger.database, task.name, examples, task.task_name)
    open_ones = [prediction for prediction in recent if prediction.example not in done]
    if strategy == "margin":
        return sorted(open_ones, key=lambda prediction: prediction.of(task.task_name).margin)[:limit]
    return random.sample(open_ones, min(limit, len(open_ones)))


def _item(prediction: Prediction, task: str) -> dict[str, Any]:
    item: dict[str, Any] = {"prediction_id": prediction.prediction_id, "example": prediction.example}
    said = prediction.of(task)
    if said.value is not None:
        return item | {"value": said.value}
    return item | {"label": said.label, "confidence": said.confidence, "margin": said.margin}
