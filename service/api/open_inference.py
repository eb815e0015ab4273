"""``/v2``: the Open Inference Protocol, version 2, as clients of KServe and of Triton speak it.

A scene is a model; its version is the champion that serves. Promises that predictions are logged as those of ``/v1``
are, so that their ids can be sent to ``/v1/feedback``, and that errors have the protocol's own form. Tensors are
answered and learned from, but not kept. Knows nothing of their form.
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from core.errors import NotFound, Unavailable
from service.answering import Asked, answer_all
from service.api import inference, outputs
from service.api.access import context_of
from service.api.body import JSON, check_type
from service.api.entrance import admitted, limit
from service.api.schemas import documented
from service.context import Context
from service.engine.routing import Routed
from service.engine.snapshot import Snapshot
from service.identity import digest
from service.keys import HEADER, check_key
from service.tracing import NOT_TRACED, SCOPE, VERSION

router = APIRouter(tags=["open inference protocol"])

LENGTH = "Inference-Header-Content-Length"
EXTRA = documented(inference.InferIn)
EXTRA["requestBody"]["content"] |= {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}


@router.get("/v2")
async def server(request: Request) -> dict[str, Any]:
    """The server, and the extensions of the protocol that it speaks."""
    context_of(request)
    return {"name": "lepton", "version": request.app.version, "extensions": ["binary_tensor_data"]}


@router.get("/v2/health/live")
async def live(request: Request) -> dict[str, bool]:
    """200 as long as the worker's threads run."""
    if not context_of(request).alive():
        raise Unavailable("a thread of this worker has died", "restart the worker")
    return {"live": True}


@router.get("/v2/health/ready")
async def ready(request: Request) -> dict[str, bool]:
    """200 once what is registered is served."""
    if not context_of(request).ready():
        raise Unavailable("this worker is still preparing what it serves", "ask again in a second")
    return {"ready": True}


@router.get("/v2/models/{scene}")
async def model(scene: str, request: Request) -> dict[str, Any]:
    """Inputs and outputs of a scene's champion."""
    return outputs.metadata(_snapshot(context_of(request), scene))


@router.get("/v2/models/{scene}/versions/{version}")
async def model_version(scene: str, version: str, request: Request) -> dict[str, Any]:
    """The same, where this version serves."""
    return outputs.metadata(_snapshot(context_of(request), scene, version))


@router.get("/v2/models/{scene}/ready")
async def model_ready(scene: str, request: Request) -> dict[str, Any]:
    """200 where the scene serves."""
    return {"name": _snapshot(context_of(request), scene).scene.name, "ready": True}


@router.get("/v2/models/{scene}/versions/{version}/ready")
async def model_version_ready(scene: str, version: str, request: Request) -> dict[str, Any]:
    """200 where this version serves."""
    return {"name": _snapshot(context_of(request), scene, version).scene.name, "ready": True}


@router.post("/v2/models/{scene}/infer", openapi_extra=EXTRA)
async def infer(scene: str, request: Request) -> Response:
    """Answer a batch."""
    context = context_of(request)
    return await _infer(context, _snapshot(context, scene), request, routed=True)


@router.post("/v2/models/{scene}/versions/{version}/infer", openapi_extra=EXTRA)
async def infer_version(scene: str, version: str, request: Request) -> Response:
    """The same, by this version or not at all."""
    context = context_of(request)
    return await _infer(context, _snapshot(context, scene, version), request)


def _snapshot(context: Context, scene: str, version: str | None = None) -> Snapshot:
    """What serves the scene.

    Raises:
        NotFound: no such scene, or another version serves it. Unavailable: none does just now.
    """
    snapshot = context.engine.snapshot(scene)
    if version is not None and version != snapshot.version:
        raise NotFound(
            f"version {version[:80]!r} does not serve {scene!r}; {snapshot.version} does",
            "name that one, name none, or make yours the champion",
        )
    return snapshot


async def _infer(context: Context, snapshot: Snapshot, request: Request, routed: bool = False) -> Response:
    serve = context.home.settings.serve
    lengths = request.headers.getlist(LENGTH)
    headers = dict(request.headers.raw)
    deadline = admitted(context, snapshot.scene, headers)
    check_type(request.headers, JSON, "application/octet-stream", "")  # Triton's own client states none
    body = await request.body()
    way = Routed(snapshot)
    if routed:
        key = check_key(request.headers.get(HEADER))
        way = context.engine.route(snapshot.scene.name, key, lambda: digest(body))
    fits = (way.snapshot, serve.max_instances, serve.max_instance_bytes)
    asked = await context.decode(inference.read, body, lengths, *fits)
    limit(context, snapshot.scene, headers, len(asked.instances))
    trace = request.scope.get(SCOPE, NOT_TRACED)
    snapshot, answered = await answer_all(context, way, Asked(asked.instances, len(body), deadline, trace=trace))
    request.scope[VERSION] = snapshot.version
    told, length = await context.decode(outputs.answer, snapshot, asked.name, asked.outputs, answered)
    said = {"Lepton-Worker": context.worker} | ({} if length is None else {LENGTH: str(length)})
    kind = "application/json" if length is None else "application/octet-stream"
    return Response(told, headers=said, media_type=kind)
