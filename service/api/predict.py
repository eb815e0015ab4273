"""``POST /v1/scenes/{scene}/predict``: instances in, answers out, all by one snapshot.

Promises that a bad instance among several answers with its own error in its place. Knows nothing of how features or
answers are computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from starlette.responses import Response

from core.errors import LeptonError, UnsupportedMedia
from service.answering import Outcome, answer
from service.api import multipart
from service.api.access import context_of
from service.api.errors import told
from service.api.schemas import PredictIn, documented, parse
from service.context import Context
from service.engine.snapshot import Snapshot

router = APIRouter(tags=["predict"])

RAW = ("image/jpeg", "image/png", "image/webp", "application/octet-stream")
EXTRA = documented(PredictIn)
EXTRA["requestBody"]["content"] |= {kind: {"schema": {"type": "string", "format": "binary"}} for kind in RAW}
EXTRA["requestBody"]["content"] |= {multipart.TYPE: {"schema": multipart.SCHEMA}}


@router.post("/v1/scenes/{scene}/predict", openapi_extra=EXTRA)
async def predict(scene: str, request: Request, top_k: int | None = Query(None, ge=1)) -> Response:
    """Answer one raw picture, several in a form, or several instances in JSON."""
    context = context_of(request)
    snapshot = context.engine.snapshot(scene)
    instances, asked_k = await _instances(context, request)
    outcomes = await answer(context, snapshot, instances, asked_k or top_k)
    if len(outcomes) == 1 and isinstance(outcomes[0], LeptonError):
        raise outcomes[0]
    return JSONResponse(_body(snapshot, outcomes), headers={"Lepton-Worker": context.worker})


async def _instances(context: Context, request: Request) -> tuple[Sequence[Any], int | None]:
    """What the body has, and the ``top_k`` in it."""
    stated = request.headers.get("content-type", "")
    kind = stated.partition(";")[0].strip().lower()
    if kind in RAW:
        return [await request.body()], None
    if kind == multipart.TYPE:
        most = context.home.settings.serve.max_instances
        form = await context.decode(multipart.read, await request.body(), stated, most)
        return form.instances, form.top_k
    if kind == "application/json":
        asked = await context.decode(parse, PredictIn, await request.body())
        return asked.instances, asked.top_k
    raise UnsupportedMedia(
        f"the content type is {kind[:80]!r}",
        f"send application/json, {multipart.TYPE}, or one picture as {', '.join(RAW)}",
    )


def _body(snapshot: Snapshot, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    body: dict[str, Any] = {
        "scene": snapshot.scene.name,
        "version": snapshot.version,
        "revision": snapshot.revision,
        "sequence": snapshot.sequence,
        "predictions": [_told(outcome) for outcome in outcomes],
    }
    return body | {"fallback": True} if snapshot.fallback else body


def _told(outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, LeptonError):
        return told(outcome)
    return outcome.verdict.told(outcome.prediction.prediction_id)
