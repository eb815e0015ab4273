"""One request and its answer, as they look from outside: which route, what status, how long, how many bytes.

Promises that neither a path, a query, a header nor a body gets into the access log or the metrics: only templates of
routes, names of served scenes, numbers, and a request id of a bounded length and alphabet. Knows nothing of what is
asked or answered.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime

from starlette.types import Message, Receive, Scope, Send

from core.ids import uuid7
from service.context import Context
from service.tracing import SCOPE, VERSION

OTHER = "other"  # route of whatever matched none, and method that HTTP does not have
GONE = 499  # no answer was begun: the client left before, or the worker was stopped; the number is nginx's
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE"})
HEADER = b"x-request-id"
GIVEN = re.compile(rb"[A-Za-z0-9._~:/+=@-]{1,128}")


class Exchange:
    """Stands between the server and the application, and counts; ``receive`` and ``send`` take their places.

    Attributes:
        request_id: the client's ``X-Request-Id`` where that can be used, else one of our own; sent back.
        started: whether an answer was begun.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.request_id = _request_id(scope)
        self._scope, self._receive, self._send = scope, receive, send
        self._status = GONE
        self._bytes_in = self._bytes_out = 0
        self._came, self._begun = time.time(), time.perf_counter()
        self.started = False
        context = _context(scope)
        if context is not None and context.tracing is not None:
            scope[SCOPE] = context.tracing.begin(scope["headers"])

    async def receive(self) -> Message:
        """The next part of the request."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._bytes_in += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        """The next part of the answer."""
        if message["type"] == "http.response.start":
            self.started, self._status = True, message["status"]
            message = {**message, "headers": [*message.get("headers", ()), (HEADER, self.request_id.encode())]}
        elif message["type"] == "http.response.body":
            self._bytes_out += len(message.get("body", b""))
        await self._send(message)

    def done(self) -> None:
        """Count it, and log it where that is asked for."""
        context = _context(self._scope)
        if context is None:
            return
        seconds, route = time.perf_counter() - self._begun, template(self._scope)
        context.metrics.request_seconds.labels(route).observe(seconds)
        context.metrics.requests.labels(route, str(self._status)).inc()
        if context.access is not None:
            context.access.write(self._line(context, route, seconds))
        if SCOPE in self._scope:
            self._scope[SCOPE].end(self._method(), route, self._status, **self._answered_by(context))

    def _line(self, context: Context, route: str, seconds: float) -> dict[str, object]:
        return {
            "time": datetime.fromtimestamp(self._came, UTC).isoformat(timespec="milliseconds"),
            "method": self._method(),
            "route": route,
            "status": self._status,
            "seconds": round(seconds, 6),
            "bytes_in": self._bytes_in,
            "bytes_out": self._bytes_out,
            "worker": context.worker,
            "scene": _scene(self._scope, context),
            "request_id": self.request_id,
        }

    def _method(self) -> str:
        method: str = self._scope["method"]
        return method if method in METHODS else OTHER

    def _answered_by(self, context: Context) -> dict[str, str]:
        """The scene, and the version where it is known."""
        told = {"scene": _scene(self._scope, context), "version": self._scope.get(VERSION)}
        return {name: value for name, value in told.items() if value is not None}


def template(scope: Scope) -> str:
    """The template of the route, never the path itself: a scan would make a series of every guess."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) and path != "/{path:path}" else OTHER


def _context(scope: Scope) -> Context | None:
    """The worker's parts, once it has started."""
    held = getattr(scope["app"].state, "context", None) if "app" in scope else None
    return held if isinstance(held, Context) else None


def _scene(scope: Scope, context: Context) -> str | None:
    """The scene that the path names, where it is one that is served."""
    named = scope.get("path_params", {}).get("scene")
    return named if any(held.scene.name == named for held in context.engine.snapshots()) else None


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == HEADER and GIVEN.fullmatch(value):
            return str(value, "ascii")
    return uuid7()
