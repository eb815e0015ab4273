"""``GET /v1/queue``: which answered instances are most worth a label.

An item carries its input where that was kept, so that whoever labels can look at it, and why it was chosen
(``core/labelling.py``). Knows nothing of how it is chosen, and of how labels are used.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse

from core.errors import InvalidInput
from core.label_studio import prelabelled
from core.labelling import Offer, offered
from core.tasks import task_of
from core.types import Scene
from service.api.access import context_of
from service.api.instances import json_of
from service.context import Context

router = APIRouter(tags=["queue"])

MOST_BYTES = 16 * 2**20  # of inputs in one answer; further items come without
FORMATS = ("json", "label-studio")


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
    if format not in FORMATS:
        raise InvalidInput(f"there is no format {format[:40]!r}", f"choose one of: {', '.join(FORMATS)}")
    asked = task_of(context.engine.scene(scene), task)
    items = await context.store(_items, context, asked, strategy, limit)
    if format == "label-studio":
        return JSONResponse([prelabelled(asked, item) for item in items])
    told = {"scene": scene} | ({"task": asked.task_name} if asked.task_name else {})
    return told | {"strategy": strategy, "items": items}


def _items(context: Context, task: Scene, strategy: str, limit: int) -> list[dict[str, Any]]:
    items, left = list[dict[str, Any]](), MOST_BYTES
    for offer in offered(context.home, task, strategy, limit):
        item = _item(offer, task.task_name)
        data = context.home.predictions.instance(offer.prediction.example) if left > 0 else None
        if data is not None and len(data) <= left:
            left -= len(data)
            item["instance"] = json_of(data, task)
        items.append(item)
    return items


def _item(offer: Offer, task: str) -> dict[str, Any]:
    prediction = offer.prediction
    item: dict[str, Any] = {"prediction_id": prediction.prediction_id, "example": prediction.example}
    said = prediction.of(task)
    if said.value is not None:
        return item | {"value": said.value, "why": offer.why}
    told = {"label": said.label, "confidence": said.confidence, "margin": said.margin}
    return item | told | {"why": offer.why}
