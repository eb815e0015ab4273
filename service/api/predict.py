"""``POST /v1/scenes/{scene}/predict``: instances in, answers out, all by one snapshot.

Promises that a bad instance among several answers with its own error in its place. Knows nothing of how features or
answers are computed.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from starlette.responses import Response

from core.errors import InvalidInput, LeptonError, TooLarge, UnsupportedMedia
from core.ids import prediction_id
from core.types import Prediction
from service.api.access import context_of
from service.api.errors import told
from service.api.instances import bytes_of
from service.api.schemas import PredictIn, documented, parse
from service.context import Context, Embedded
from service.engine.answer import Verdict, verdict
from service.engine.snapshot import Snapshot

router = APIRouter(tags=["predict"])

RAW = ("image/jpeg", "image/png", "image/webp", "application/octet-stream")
EXTRA = documented(PredictIn)
EXTRA["requestBody"]["content"] |= {kind: {"schema": {"type": "string", "format": "binary"}} for kind in RAW}

Outcome = tuple[Prediction, Verdict] | LeptonError


@router.post("/v1/scenes/{scene}/predict", openapi_extra=EXTRA)
async def predict(scene: str, request: Request, top_k: int | None = Query(None, ge=1)) -> Response:
    """Answer one raw picture, or several instances in JSON."""
    context = context_of(request)
    snapshot = context.engine.snapshot(scene)
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and kind not in RAW:
        raise UnsupportedMedia(
            f"the content type is {kind[:80]!r}", f"send application/json, or one picture as {', '.join(RAW)}"
        )
    body = await request.body()
    instances: list[Any] = [body]
    if kind == "application/json":
        asked = await context.decode(parse, PredictIn, body)
        instances, top_k = asked.instances, asked.top_k or top_k
    most = context.home.settings.serve.max_instances
    if len(instances) > most:
        raise TooLarge(f"the request has {len(instances)} instances, of {most} at most", "send several requests")
    del body
    with context.predicting.of(len(instances)):
        outcomes = await asyncio.gather(*(_answer(context, snapshot, told, top_k) for told in instances))
    _count(context, snapshot, outcomes)
    context.log.put([outcome[0] for outcome in outcomes if isinstance(outcome, tuple)])
    if len(outcomes) == 1 and isinstance(outcomes[0], LeptonError):
        raise outcomes[0]
    return JSONResponse(_body(snapshot, outcomes), headers={"Lepton-Worker": context.worker})


async def _answer(context: Context, snapshot: Snapshot, told: Any, top_k: int | None) -> Outcome:
    try:
        data = told
        if not isinstance(told, bytes):
            most = context.home.settings.serve.max_image_bytes
            data = await context.decode(bytes_of, told, snapshot.scene, most)
        if not data:
            raise InvalidInput("the picture is empty", "send the bytes of a file")
        embedded = await context.embed(snapshot, data)
    except LeptonError as error:
        return error
    said = verdict(snapshot, embedded.answer.outputs, top_k)
    kept = data if context.home.settings.serve.keep_instances else None
    return _prediction(snapshot, embedded, said, kept), said


def _prediction(snapshot: Snapshot, embedded: Embedded, said: Verdict, kept: bytes | None) -> Prediction:
    now = time.time()
    return Prediction(
        prediction_id=prediction_id(snapshot.scene.name, now),
        scene=snapshot.scene.name,
        version=snapshot.version,
        extractor=snapshot.extractor,
        revision=snapshot.revision,
        example=embedded.example,
        features=embedded.answer.features,
        label=said.label,
        value=said.value,
        confidence=said.confidence,
        margin=said.margin,
        created_at=now,
        media=embedded.media if kept is not None else "",
        instance=kept,
    )


def _body(snapshot: Snapshot, outcomes: list[Outcome]) -> dict[str, Any]:
    body: dict[str, Any] = {
        "scene": snapshot.scene.name,
        "version": snapshot.version,
        "revision": snapshot.revision,
        "sequence": snapshot.sequence,
        "predictions": [
            told(outcome) if isinstance(outcome, LeptonError) else outcome[1].told(outcome[0].prediction_id)
            for outcome in outcomes
        ],
    }
    return body | {"fallback": True} if snapshot.fallback else body


def _count(context: Context, snapshot: Snapshot, outcomes: list[Outcome]) -> None:
    bad = sum(isinstance(outcome, LeptonError) for outcome in outcomes)
    for outcome, number in (("answered", len(outcomes) - bad), ("refused", bad)):
        if number:
            context.metrics.predictions.labels(snapshot.scene.name, outcome).inc(number)
