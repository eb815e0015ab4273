"""``/v1/feedback``: labels in, one by one; looked up, corrected, withdrawn.

Knows nothing of what a label amounts to.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from core.events import Receipt
from core.labels import check_label
from core.tasks import task_of
from service.api.access import context_of
from service.api.body import json_of
from service.api.schemas import CorrectionIn, FeedbackIn, documented, parse
from service.context import Context
from service.intake import take

router = APIRouter(tags=["feedback"])


def answer(receipt: Receipt) -> dict[str, Any]:
    """A receipt as JSON."""
    return {"event_id": receipt.event_id, "status": receipt.status, "sequence": receipt.sequence}


@router.post("/v1/feedback", status_code=202, openapi_extra=documented(FeedbackIn))
async def feedback(request: Request) -> dict[str, Any]:
    """Take a label in; when this is answered, it is on disk."""
    context = context_of(request)
    told = await context.decode(parse, FeedbackIn, await json_of(request))
    return answer(await take(context, told))


@router.get("/v1/feedback/{event_id:path}")
async def look_up(event_id: str, request: Request) -> dict[str, Any]:
    """Where a label stands, whether and why it waits, and the first version and revision that include it."""
    return await context_of(request).store(_look_up, context_of(request), event_id)


@router.patch("/v1/feedback/{event_id:path}", openapi_extra=documented(CorrectionIn))
async def correct(event_id: str, request: Request) -> dict[str, Any]:
    """Say something else in place of what was said."""
    context = context_of(request)
    told = parse(CorrectionIn, await json_of(request))
    return await context.store(_correct, context, event_id, told)


@router.delete("/v1/feedback/{event_id:path}")
async def withdraw(event_id: str, request: Request) -> dict[str, Any]:
    """Take a label back, for good."""
    context = context_of(request)
    return await context.store(_withdraw, context, event_id)


def _look_up(context: Context, event_id: str) -> dict[str, Any]:
    ledger = context.home.ledger
    receipt, scene = ledger.status(event_id), ledger.scene_of(event_id)
    since, held = None, None
    if receipt.status == "accepted":
        held = context.home.holds.about(event_id, receipt.sequence)
    if receipt.status not in {"pending", "orphaned"} and held is None:
        gone = receipt.status == "withdrawn"
        since = context.home.registry.served_since(scene, receipt.sequence, taken_back=gone)
    served = None if since is None else {"version": since[0], "revision": since[1]}
    task = ledger.task_of(event_id)
    told = {"scene": scene} | ({} if task is None else {"task": task})
    waits = {} if held is None else {"status": "held", "held": {"reason": held.reason, "words": held.words}}
    return answer(receipt) | waits | told | {"served_since": served}


def _correct(context: Context, event_id: str, told: CorrectionIn) -> dict[str, Any]:
    scene = context.home.registry.scene(context.home.ledger.scene_of(event_id))
    check_label(task_of(scene, context.home.ledger.task_of(event_id)), told.label, told.value)
    receipt = context.home.ledger.correct(event_id, label=told.label, value=told.value, confidence=told.confidence)
    context.metrics.labels.labels(scene.name, "corrected").inc()
    return answer(receipt)


def _withdraw(context: Context, event_id: str) -> dict[str, Any]:
    scene = context.home.ledger.scene_of(event_id)
    receipt = context.home.ledger.withdraw(event_id)
    context.metrics.labels.labels(scene, "withdrawn").inc()
    return answer(receipt)
