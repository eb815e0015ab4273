"""The layer around all routes: what no route may be sent, an account of every request, and a last catch.

Promises that no body above the cap is ever held, whether it states its length or not; that a compressed body is refused
before it is read; that a body which comes too slowly ends; and that an error of ours is answered in the one form and
logged with the request's id. Knows nothing of routes but their templates.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import LeptonError, MalformedRequest, TooLarge, UnsupportedMedia
from service.api.errors import response, unexpected
from service.api.exchange import Exchange, template
from service.api.refusals import LATE, too_slow

logger = logging.getLogger(__name__)


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
            most = None if scope["path"] in self._streamed else self._most
            await self._guarded(scope, _Incoming(scope, exchange.receive, most), exchange.send)
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

    async def _guarded(self, scope: Scope, incoming: _Incoming, send: Send) -> None:
        async def answer(message: Message) -> None:
            if incoming.refused and message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        try:
            incoming.check()
            await self._app(scope, incoming, answer)
        except LeptonError as error:
            if error.status == 500:
                logger.error("%s", error)
            await response(error, path=scope["path"])(scope, incoming, answer)


class _Incoming:
    """A ``receive`` that raises once more than ``most`` bytes have come, or too few in their time.

    Attributes:
        refused: whether it has; the rest of the body is not waited for then.
    """

    def __init__(self, scope: Scope, receive: Receive, most: int | None) -> None:
        self.refused = False
        self._scope, self._receive = scope, receive
        self._most = self._left = most

    async def __call__(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            if LATE in self._scope.get("state", ()) and message.get("more_body", False):
                self.refused = True
                raise too_slow()
            if self._left is not None:
                self._left -= len(message.get("body", b""))
                if self._left < 0:
                    self.refused = True
                    raise _too_large(self._most)
        return message

    def check(self) -> None:
        """Look at what the headers say of the body. Raises as ``check_head``."""
        try:
            check_head(self._scope["headers"], self._most)
        except TooLarge:
            self.refused = True
            raise


def check_head(headers: Iterable[tuple[bytes, bytes]], most: int | None) -> None:
    """Look at what the headers of a request say of its body, ``most`` bytes where that is given.

    Raises:
        TooLarge: it is above the cap. UnsupportedMedia: compressed. MalformedRequest: its length is no number.
    """
    for name, value in headers:
        if name == b"content-length":
            if not value.isdigit():
                raise MalformedRequest("the content length is no number", "send the length in bytes")
            if most is not None and int(value) > most:
                raise _too_large(most)
        elif name == b"content-encoding" and value.strip().lower() not in {b"identity", b""}:
            coding = value[:40].decode("latin-1")
            raise UnsupportedMedia(f"the body is encoded as {coding!r}", "send it as it is, without compression")


def _too_large(most: int | None) -> TooLarge:
    return TooLarge(f"the body has more than {most} bytes", "send less in one request")
