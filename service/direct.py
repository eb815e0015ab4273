"""A request that came in one piece, to its answer without ASGI: no scope, no channels, no task, one write.

Promises that it looks to uvicorn like any of its own cycles of request and answer, so that pipelining, keep-alive and
the end of the server go on as ever; and that what was begun for a client that has left is brought to its end. Knows
nothing of routes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

Headers = Sequence[tuple[bytes, bytes]]
C = TypeVar("C")


class Reply(NamedTuple):
    """A whole answer."""

    status: int
    headers: Headers
    body: bytes


class Desk(Protocol[C]):
    """What answers requests that came in one piece."""

    def call(self, method: bytes, url: bytes, headers: Headers) -> C | None:
        """What a request asks for; None where it is to go its way through ASGI."""

    def reply(self, call: C, body: bytes) -> Coroutine[asyncio.Future[Any], None, Reply]:
        """The answer; it raises nothing, and waits for nothing but futures of asyncio."""

    def refused(self, status: int) -> None:
        """A request was refused before anybody could ask what it is."""


class _Unheard:
    """The event of a cycle that nobody waits for."""

    def set(self) -> None:
        """Nothing."""


class Direct:
    """One request under way, in the place of uvicorn's ``RequestResponseCycle``.

    Args:
        keep_alive: whether the connection is to live on.
        defaults: headers of every answer.
        write: sends an answer; told whether the connection lives on after it.

    Attributes:
        disconnected: set from outside: the client has left.
    """

    message_event = _Unheard()
    response_started = False

    def __init__(self, keep_alive: bool, defaults: Headers, write: Callable[[bytes, bool], None]) -> None:
        self.keep_alive = keep_alive
        self.disconnected = self.response_complete = False
        self._defaults = defaults
        self._write = write

    def begin(self, work: Coroutine[asyncio.Future[Any], None, Reply]) -> None:
        """Work here and now until something is to be waited for, and go on when it is there."""
        self._work = work
        self._go_on()

    def _go_on(self, future: asyncio.Future[Any] | None = None) -> None:
        """What a task does, without its turn of the event loop: the work takes the result of ``future`` itself."""
        try:
            waited = self._work.send(None)
        except StopIteration as end:
            self._answer(end.value)
            return
        except asyncio.CancelledError:  # the worker ends
            self.response_complete = True
            self._write(b"", False)
            return
        waited._asyncio_future_blocking = False
        waited.add_done_callback(self._go_on)

    def _answer(self, reply: Reply) -> None:
        self.response_complete = True
        if not self.disconnected:
            headers = [*self._defaults, *reply.headers]
            if not self.keep_alive:
                headers.append((b"connection", b"close"))
            lines = b"".join([b"%b: %b\r\n" % header for header in headers])
            self._write(b"%b%b\r\n%b" % (STATUS_LINE[reply.status], lines, reply.body), self.keep_alive)
