"""The layer around all routes: a cap on bodies, an account of every request, and a last catch.

Promises that no body above the cap is ever held, whether it states its length or not, and that an error of ours is
answered in the one form and logged with the request's id. Knows nothing of routes but their templates.
"""

from __future__ import annotations

import logging

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import LeptonError, MalformedRequest, TooLarge
from service.api.errors import response, unexpected
from service.api.exchange import Exchange, template

logger = logging.getLogger(__name__)

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
        exchange = Exchange(scope, receive, send)
        try:
            if scope["path"] in self._streamed:
                await self._app(scope, exchange.receive, exchange.send)
            else:
                await self._capped(scope, exchange.receive, exchange.send)
        except ClientDisconnect:  # nobody is left to be answered
            logger.info("request %s: the client left before it had sent everything", exchange.request_id)
        except Exception:
            named = (scope["method"], template(scope), exchange.request_id)
            logger.exception("%s %s, request %s, could not be answered", *named)
            if exchange.started:
                raise
            await response(unexpected(), path=scope["path"])(scope, exchange.receive, exchange.send)
        finally:
            exchange.done()

    async def _capped(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            stated = _stated(scope)
            if stated is not None and stated > self._most:
                raise self._too_large()
            await self._app(scope, _Counting(receive, self._most, self._too_large()), send)
        except LeptonError as error:
            answer = response(error, path=scope["path"])
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
