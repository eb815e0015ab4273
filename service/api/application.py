"""The FastAPI application: routes, errors, edge and lifespan put together.

Promises that every answer, of unknown paths too, has the form of contracts. Knows nothing of BentoML.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api import (
    batch,
    challenger,
    docs,
    errors,
    feedback,
    health,
    hygiene,
    open_inference,
    predict,
    queue,
    scenes,
    subjects,
)
from service.api.edge import Edge
from service.context import Context

RESOURCES = (predict, batch, hygiene, feedback, scenes, challenger, queue, subjects, open_inference, health, docs)
METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE"]


class Application(FastAPI):
    """Answers requests for predictions itself; the router takes all others."""

    hot: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http" and predict.asked_for(scope):
            scope["app"] = self
            await self.hot(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def application(build: Callable[[], Context], max_body_bytes: int) -> Application:
    """The application of one worker; ``build`` is called when it starts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        context = await asyncio.to_thread(build)
        context.start()
        app.state.context = context
        try:
            await context.settle()
            yield
        finally:
            app.state.context = None
            await asyncio.to_thread(context.stop)

    app = Application(
        title="Lepton",
        summary="Models that learn where they serve.",
        version="1",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    errors.install(app)
    app.add_middleware(Edge, max_body_bytes=max_body_bytes, streamed=frozenset({batch.PATH}))
    app.hot = Edge(predict.serve, max_body_bytes=max_body_bytes, streamed=frozenset())
    for resource in RESOURCES:
        app.router.routes.extend(resource.router.routes)
    app.add_api_route("/{path:path}", _nothing, methods=METHODS, include_in_schema=False)
    return app


async def _nothing(request: Request) -> None:
    """Whatever no route takes: BentoML would answer it in a form of its own."""
    methods: set[str] = set()
    for route in request.app.routes:
        if route.matches(request.scope)[0] is Match.PARTIAL:
            methods |= set(getattr(route, "methods", None) or ())
    if methods:
        raise HTTPException(405, headers={"Allow": ", ".join(sorted(methods))})
    raise HTTPException(404)
