"""One request and its answer, as they look from outside: which route, what status, how long, how many bytes.

Promises that neither a path, a query, a header nor a body gets into the access log or the metrics: only templates of
routes, names of served scenes, numbers, and a request id of a bounded length and alphabet. Knows nothing of what is
asked or answered.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

from starlette.types import Message, Receive, Scope, Send

from core.ids import uuid7
from service.context import Context
from service.tracing import SCOPE, VERSION

OTHER = "other"  # route of whatever matched none, and method that HTTP does not have
GONE = 499  # no answer was begun: the client left before, or the worker was stopped; the number is nginx's
ANSWERS = ("/predict", "/infer")  # ends of the routes that answer
METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE"})
HEADER = b"x-request-id"
GIVEN = re.compile(rb"[A-Za-z0-9._~:/+=@-]{1,128}")


class Told(NamedTuple):
    """A request and its answer: ``method`` and ``scene`` are as the client named them, ``route`` is a template."""

    method: str
    route: str
    scene: str | None
    status: int
    bytes_out: int


class Account:
    """Of one request, from when it came.

    Attributes:
        request_id: the client's ``X-Request-Id`` where that can be used, else one of our own; sent back.
        bytes_in: of its body, as far as that was looked at.
    """

    __slots__ = ("_begun", "bytes_in", "request_id")

    def __init__(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self._begun = time.perf_counter()
        self.request_id = _request_id(headers)
        self.bytes_in = 0

    def done(self, context: Context, told: Told) -> None:
        """Count what it came to, and log it where that is asked for."""
        seconds = time.perf_counter() - self._begun
        context.metrics.answered(told.route, told.status, seconds)
        if told.status == 200 and told.scene is not None and told.route.endswith(ANSWERS):
            context.stopwatch.took(told.scene, seconds)
        if context.access is not None:
            context.access.write(self._line(context, told, seconds))

    def _line(self, context: Context, told: Told, seconds: float) -> dict[str, object]:
        return {
            "time": datetime.fromtimestamp(time.time() - seconds, UTC).isoformat(timespec="milliseconds"),
            "method": known_method(told.method),
            "route": told.route,
            "status": told.status,
            "seconds": round(seconds, 6),
            "bytes_in": self.bytes_in,
            "bytes_out": told.bytes_out,
            "worker": context.worker,
            "scene": _served(told.scene, context),
            "request_id": self.request_id,
        }


class Exchange:
    """Stands between the server and the application, and counts; ``receive`` and ``send`` take their places.

    Attributes:
        started: whether an answer was begun.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._account = Account(scope["headers"])
        self._scope, self._receive, self._send = scope, receive, send
        self._status = GONE
        self._bytes_out = 0
        self.started = False
        context = _context(scope)
        if context is not None and context.tracing is not None:
            scope[SCOPE] = context.tracing.begin(scope["headers"])

    @property
    def request_id(self) -> str:
        """That of the request."""
        return self._account.request_id

    async def receive(self) -> Message:
        """The next part of the request."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._account.bytes_in += len(message.get("body", b""))
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
        """Count and log it, and end its span."""
        context = _context(self._scope)
        if context is None:
            return
        scope = self._scope
        route, scene = template(scope), scope.get("path_params", {}).get("scene")
        told = Told(scope["method"], route, scene, self._status, self._bytes_out)
        self._account.done(context, told)
        if SCOPE in scope:
            known = {"scene": _served(scene, context), "version": scope.get(VERSION)}
            more = {name: value for name, value in known.items() if value is not None}
            scope[SCOPE].end(known_method(told.method), route, told.status, **more)


def template(scope: Scope) -> str:
    """The template of the route, never the path itself: a scan would make a series of every guess."""
    path = getattr(scope.get("route"), "path", None)
    return path if isinstance(path, str) and path != "/{path:path}" else OTHER


def _context(scope: Scope) -> Context | None:
    """The worker's parts, once it has started."""
    held = getattr(scope["app"].state, "context", None) if "app" in scope else None
    return held if isinstance(held, Context) else None


def known_method(method: str) -> str:
    """A method that HTTP has; a word for any other."""
    return method if method in METHODS else OTHER


def _served(named: str | None, context: Context) -> str | None:
    """The scene that the path names, where it is one that is served."""
    return named if any(held.scene.name == named for held in context.engine.snapshots()) else None


def _request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    for name, value in headers:
        if name == HEADER and GIVEN.fullmatch(value):
            return str(value, "ascii")
    return uuid7()
