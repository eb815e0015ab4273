"""Requests for predictions that came in one piece, answered without ASGI by the very functions of the way through it.

Promises the same status, headers, body, counts and line in the access log, whichever way a request goes. Knows nothing
of connections.
"""

from __future__ import annotations

import logging
import re

from fastapi import FastAPI

from core.errors import LeptonError
from service.api.access import context_in
from service.api.edge import check_head
from service.api.errors import response, unexpected
from service.api.exchange import GONE, HEADER, OTHER, Account, Told
from service.api.predict import AFTER, BEFORE, Call, Headers, admit, headers_of, said
from service.context import Context
from service.direct import Reply

logger = logging.getLogger(__name__)

METHOD, ROUTE = "POST", BEFORE + "{scene}" + AFTER
_URL = re.compile(rf"{BEFORE}([a-z0-9_-]+){AFTER}(?:\?([^#]*))?".encode())  # others are looked at in ASGI


class Predictions:
    """Answers requests for predictions.

    Args:
        app: holds the worker's parts.
        most: bytes of a body.
    """

    def __init__(self, app: FastAPI, most: int) -> None:
        self._app = app
        self._most = most

    def call(self, method: bytes, url: bytes, headers: Headers) -> Call | None:
        """The request as a call, where it is one for predictions that is not traced, and the worker has started."""
        found = _URL.fullmatch(url) if method == b"POST" else None
        context = self._context()
        if found is None or context is None or context.tracing is not None:
            return None
        return Call(found[1].decode(), found[2] or b"", headers)

    async def reply(self, call: Call, body: bytes) -> Reply:
        """The answer, counted and logged."""
        account, context = Account(call.headers), context_in(self._app)
        reply = Reply(GONE, (), b"")
        try:
            reply = await self._reply(account, context, call, body)
        finally:
            account.done(context, Told(METHOD, ROUTE, call.scene, reply.status, len(reply.body)))
        return Reply(reply.status, [*reply.headers, (HEADER, account.request_id.encode())], reply.body)

    def refused(self, status: int) -> None:
        """Count a request that was refused unread."""
        context = self._context()
        if context is not None:
            context.metrics.requests.labels(OTHER, str(status)).inc()

    async def _reply(self, account: Account, context: Context, call: Call, body: bytes) -> Reply:
        try:
            check_head(call.headers, self._most)
            entry = admit(context, call)
            account.bytes_in = len(body)
            _, data = await said(context, call, entry, body)
            return Reply(200, headers_of(data, context), data)
        except LeptonError as error:
            if error.status == 500:
                logger.error("%s", error)
            refusal = response(error)
        except Exception:
            logger.exception("%s %s, request %s, could not be answered", METHOD, ROUTE, account.request_id)
            refusal = response(unexpected())
        return Reply(refusal.status_code, refusal.raw_headers, bytes(refusal.body))

    def _context(self) -> Context | None:
        held: Context | None = getattr(self._app.state, "context", None)
        return held
