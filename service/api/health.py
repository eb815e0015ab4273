"""``/livez``, ``/readyz`` as Kubernetes asks them, ``/metrics`` as Prometheus does.

Knows nothing of what is measured.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import PlainTextResponse, Response

from core.errors import Unavailable
from service.api.access import context_of

router = APIRouter(tags=["health"])


@router.get("/livez", response_class=PlainTextResponse)
async def livez(request: Request) -> str:
    """200 as long as the worker's threads run."""
    if not context_of(request).alive():
        _refuse_without_gpu(request)
        raise Unavailable("a thread of this worker has died", "restart the worker")
    return "\n"


@router.get("/readyz", response_class=PlainTextResponse)
async def readyz(request: Request) -> str:
    """200 once what is registered is served."""
    if not context_of(request).ready():
        _refuse_without_gpu(request)
        raise Unavailable("this worker is still preparing what it serves", "ask again in a second")
    return "\n"


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    """Metrics of all workers."""
    context = context_of(request)
    return Response(await context.store(context.metrics.render), media_type=CONTENT_TYPE_LATEST)


def _refuse_without_gpu(request: Request) -> None:
    lost = context_of(request).engine.lost()
    if lost is not None:
        raise Unavailable(f"this worker has lost its GPU: {lost}", "restart the worker")
