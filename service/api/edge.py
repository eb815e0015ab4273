"""The layer around all routes: a cap on bodies, the time of every request, and a last catch.

Promises that no body above the cap is ever held, whether it states its length or not, and that an error of ours is
answered in the one form and logged. Knows nothing of routes but their templates.
"""

from __future__ import annotations

import logging
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import LeptonError, MalformedRequest, TooLarge
from service.api.errors import response, unexpected
from service.context import Context

logger = logging.getLogger(__name__)

OTHER = "other"  # route label of whatever matched none
DRAINED = 4  # times the cap: so much of a refused body is read and thrown away, so that the client hears the answer


class Edge:
    """Pure ASGI: starlette's own middleware classes would read and buffer.

    Args:
        app: what it surrounds.
        max_body_bytes: of one request.
        streamed: paths whose bodies are read piece by piece and have caps of their own.
    """

    def __init__(self, app: ASGIApp, max_body_bytes: int, streamed: frozenset[str]) -> None:
        self._app = app
        self._most = max_body_bytes
        self._streamed = streamed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, begun = False, time.perf_counter()

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            if scope["path"] in self._streamed:
                await self._app(scope, receive, watched)
            else:
                await self._capped(scope, receive, watched)
        except Exception:
            logger.exception("%s %s could not be answered", scope["method"], _template(scope))
            if started:
                raise
            await response(unexpected())(scope, receive, send)
        finally:
            _measure(scope, time.perf_counter() - begun)

    async def _capped(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            stated = _stated(scope)
            if stated is not None and stated > self._most:
                raise self._too_large()
            await self._app(scope, _Counting(receive, self._most, self._too_large()), send)
        except LeptonError as error:
            answer = response(error)
            if not await _drain(receive, self._most * DRAINED):
                answer.headers["connection"] = "close"
            await answer(scope, receive, send)

    def _too_large(self) -> TooLarge:
        return TooLarge(f"the body has more than {self._most} bytes", "send less in one request")


class _Counting:
    """A ``receive`` that raises once more than ``most`` bytes have come."""

    def __init__(self, receive: Receive, most: int, error: TooLarge) -> None:
        self._receive = receive
        self._left = most
        self._error = error

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._left -= len(message.get("body", b""))
            if self._left < 0:
                raise self._error
        return message


def _stated(scope: Scope) -> int | None:
    for name, value in scope["headers"]:
        if name == b"content-length":
            if not value.isdigit():
                raise MalformedRequest("the content length is no number", "send the length in bytes")
            return int(value)
    return None


async def _drain(receive: Receive, most: int) -> bool:
    """Read and forget the rest of a body; False where there is more than ``most``."""
    while most > 0:
        message = await receive()
        if message["type"] != "http.request" or not message.get("more_body", False):
            return True
        most -= len(message.get("body", b""))
    return False


def _measure(scope: Scope, seconds: float) -> None:
    context = getattr(scope["app"].state, "context", None) if "app" in scope else None
    if isinstance(context, Context):
        context.metrics.request_seconds.labels(_template(scope)).observe(seconds)


def _template(scope: Scope) -> str:
    """The template of the route, never the path itself: a scan would make a series of every guess."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) and path != "/{path:path}" else OTHER
