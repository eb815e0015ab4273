"""The way of a request past what BentoML has between its server and a mounted application.

Promises that BentoML keeps what it is used for: the lifespan, readiness, and every path that is not one of ours.
Metrics, traces and the access log of our paths are our own (``service.api.edge``). Knows nothing of routes.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

OURS = ("/v1/", "/v2")  # beginnings of paths


class Shortcut:
    """Pure ASGI.

    Args:
        ours: takes the requests for our paths.
        around: BentoML's application, with ours mounted in it, which takes all else.
    """

    def __init__(self, ours: ASGIApp, around: ASGIApp) -> None:
        self._ours = ours
        self._around = around

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Choose the way of a request."""
        if scope["type"] == "http" and scope["path"].startswith(OURS):
            await self._ours(scope, receive, send)
        else:
            await self._around(scope, receive, send)
