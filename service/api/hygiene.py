"""``/v1/scenes/{scene}/…``: who labels, which labels wait, and the head that the guard holds.

Knows nothing of how any of it is decided.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Query, Request

from core.annotators import annotators, remove, without
from core.holds import Hold
from service.api.access import context_of
from service.context import Context

router = APIRouter(tags=["labels"])

TASK = Query(None, description="Of several tasks of the scene, which one; the first if absent.")


@router.get("/v1/scenes/{scene}/quarantine")
async def quarantine(scene: str, request: Request) -> dict[str, Any]:
    """Labels that wait for a second opinion or because they look wrong, and the head that the guard holds."""
    return await context_of(request).store(_quarantine, context_of(request), scene)


@router.post("/v1/feedback/{event_id:path}/release")
async def release(event_id: str, request: Request) -> dict[str, Any]:
    """Say that a label which waits was looked at and stands."""
    return await context_of(request).store(_release, context_of(request), event_id)


@router.post("/v1/scenes/{scene}/guard/accept")
async def accept(scene: str, request: Request) -> dict[str, Any]:
    """Let the head that the guard holds be served."""
    return await context_of(request).store(_accept, context_of(request), scene)


@router.get("/v1/scenes/{scene}/annotators")
async def everybody(scene: str, request: Request, task: str | None = TASK) -> dict[str, Any]:
    """Everybody who labels the scene: how much, and how well they agree with others and with the head."""
    return await context_of(request).store(_everybody, context_of(request), scene, task)


@router.delete("/v1/scenes/{scene}/annotators/{annotator:path}/labels")
async def take_out(scene: str, annotator: str, request: Request) -> dict[str, Any]:
    """Withdraw all labels of an annotator, for good: the head becomes one that never saw them."""
    return await context_of(request).store(_take_out, context_of(request), scene, annotator)


@router.get("/v1/scenes/{scene}/annotators/{annotator:path}")
async def one(scene: str, annotator: str, request: Request, task: str | None = TASK) -> dict[str, Any]:
    """One annotator, and how the head would answer without them."""
    return await context_of(request).store(_one, context_of(request), scene, annotator, task)


def told(hold: Hold | None) -> dict[str, Any] | None:
    """A hold as JSON."""
    return None if hold is None else {name: value for name, value in asdict(hold).items() if name != "scene"}


def _quarantine(context: Context, scene: str) -> dict[str, Any]:
    context.home.registry.scene(scene)
    waiting = context.home.holds.waiting(scene)
    said = context.home.holds.events(scene, [each.example for each in waiting])
    items = [asdict(each) | {"events": said.get(each.example, [])} for each in waiting]
    return {"scene": scene, "labels": items, "guard": told(context.home.holds.of(scene))}


def _release(context: Context, event_id: str) -> dict[str, Any]:
    receipt = context.home.ledger.release(event_id)
    context.metrics.labels.labels(context.home.ledger.scene_of(event_id), "released").inc()
    return {"event_id": receipt.event_id, "status": receipt.status, "sequence": receipt.sequence}


def _accept(context: Context, scene: str) -> dict[str, Any]:
    context.home.registry.scene(scene)
    return {"scene": scene, "accepted": told(context.home.holds.accept(scene))}


def _everybody(context: Context, scene: str, task: str | None) -> dict[str, Any]:
    return {"scene": scene, "annotators": [asdict(each) for each in annotators(context.home, scene, task)]}


def _one(context: Context, scene: str, annotator: str, task: str | None) -> dict[str, Any]:
    who, what_if = without(context.home, scene, annotator, task)
    return {"scene": scene, "annotator": asdict(who), "without": asdict(what_if)}


def _take_out(context: Context, scene: str, annotator: str) -> dict[str, Any]:
    removal = remove(context.home, scene, annotator)
    context.metrics.labels.labels(scene, "withdrawn").inc(removal.events)
    return {"scene": scene, **asdict(removal)}
