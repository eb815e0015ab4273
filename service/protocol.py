"""HTTP/1.1 as uvicorn speaks it, with the limits that uvicorn has not: on time, on size and on connections.

Promises that a client which sends slowly, without end, or no HTTP at all costs a bounded amount of memory for a bounded
time; that what could be read in two ways is refused; that answers keep the order of their requests, refusals too; and
that whoever is refused while it still sends can read why. Knows nothing of routes.

A connection reads a head, then a body, then rests. A deadline stands only while something is awaited that has not
come in one piece, so that usual requests cost no timer.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import httptools
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from core.config import ServeSettings
from core.errors import LeptonError
from service.api.refusals import (
    LATE,
    AddressTooLong,
    HeadTooLarge,
    WrongVersion,
    crowded,
    too_slow,
    unreadable,
    written,
)
from service.direct import Desk, Direct
from service.shortcut import Shortcut

MOST_ADDRESS = 8192  # bytes of path and query
MOST_HEADERS = 128
MOST_PIPELINED = 64  # requests that wait on one connection
LINGER_SECONDS = 5.0  # how long a refused client is listened to, so that it does not miss the answer
LINGER_BODIES = 4  # and for how many times the largest body
GRACE_SECONDS = 2.0  # for the application to answer a body that came too slowly
HEAD, BODY, REST = "head", "body", "rest"
UPGRADE = frozenset({b"upgrade", b"connection", b"http2-settings"})


class Limited(HttpToolsProtocol):
    """One connection; ``limits``, ``ours`` and ``desk`` are set by :func:`protocol`."""

    limits: ServeSettings
    ours: ASGIApp | None = None
    desk: Desk[Any] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.ours is not None:
            self.app = Shortcut(self.ours, self.app)
        self._state = HEAD
        self._timer: asyncio.TimerHandle | None = None  # of what is awaited, or of the end
        self._unread: asyncio.TimerHandle | None = None  # of an answer that the client does not read
        self._since = 0.0  # when the body began
        self._body = 0  # bytes of it so far
        self._trailers = 0  # headers after the body
        self._loose = 0  # bytes since the parser last made something whole of them
        self._ended = False  # nothing more is read
        self._spare = self.limits.max_body_bytes * LINGER_BODIES  # bytes that are thrown away before that is enough
        self._refusal: bytes | None = None  # to be said when all before it is answered
        self._upgrading = self._coded = False
        self._closing: _Closing | None = None
        self._call: Any = None  # what the desk is to answer, while it is not known whether all of it comes at once
        self._whole = b""  # its body
        self.access_log = self.access_log and self.access_logger.isEnabledFor(logging.INFO)
        self._plain = not self.access_log and self.limit_concurrency is None  # nothing is asked of uvicorn's own cycle

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._closing = _Closing(self)
        open_now = len(self.connections)
        if open_now > 2 * self.limits.max_connections:
            transport.abort()
        elif open_now > self.limits.max_connections:
            self._say(self._written(crowded()))
        else:
            self._await()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go of everything."""
        self._ended = True
        self._forget()
        self.resume_writing()
        self.pipeline.clear()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)
        self._closing = self.cycle = None  # type: ignore[assignment]  # which hold this

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if self._ended:
            self._throw_away(len(data))
            return
        self._unset_keepalive_if_required()
        self._loose += len(data)
        refusal: LeptonError | None = None
        try:
            self._feed(data)
        except _Refused as refused:
            refusal = refused.error
        except httptools.HttpParserError as error:
            within = error.__context__
            refusal = within.error if isinstance(within, _Refused) else unreadable()
        if self._call is not None:  # more is to come, and the application is to see it come
            self._begin()
        if refusal is not None:
            self._refuse(refusal)
        if self._ended:
            return
        if self._state is REST and (self._busy() or not self._loose):
            self._forget()
        elif self._state is not REST and self._loose > self.limits.max_header_bytes:
            self._refuse(_head_too_large())
        elif self._timer is None:
            self._await()

    def on_message_begin(self) -> None:
        """A request begins."""
        if self._ended:
            raise _Refused(unreadable())
        self._state, self._trailers, self._coded = HEAD, 0, False
        self.url, self.headers, self.expect_100_continue = b"", [], False

    def on_url(self, url: bytes) -> None:
        """A piece of the address."""
        self.url += url
        if len(self.url) > MOST_ADDRESS:
            raise _Refused(AddressTooLong(f"the address has more than {MOST_ADDRESS} bytes", "send data in the body"))

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; one that comes after the body is passed over."""
        if self._state is BODY:
            self._trailers += 1
        else:
            name = name.lower()
            if name == b"transfer-encoding":
                self._coded = True
                if value.strip().lower() != b"chunked":
                    raise _Refused(unreadable())
            elif name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
            self.headers.append((name, value))
        if len(self.headers) + self._trailers > MOST_HEADERS:
            raise _Refused(_head_too_large())

    def on_headers_complete(self) -> None:
        """The request is known; its body may follow."""
        if self.parser.should_upgrade():  # the parser would take the body for another protocol
            self._upgrading = True
            return
        version = self.parser.get_http_version()
        if version not in {"1.1", "1.0"}:
            raise _Refused(WrongVersion(f"HTTP/{version} is not spoken here", "use HTTP/1.1"))
        if version == "1.0" and self._coded:
            raise _Refused(unreadable())
        if self._loose > self.limits.max_header_bytes < sum(len(name) + len(value) for name, value in self.headers):
            raise _Refused(_head_too_large())
        if len(self.pipeline) >= MOST_PIPELINED:
            raise _Refused(crowded())
        self._state, self._loose, self._body, self._since = BODY, 0, 0, self.loop.time()
        self._forget()
        if self.desk is not None and self._plain and version == "1.1" and not self._is_special():
            self._call = self.desk.call(self.parser.get_method(), self.url, self.headers)
        if self._call is None:
            self._begin()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._loose = 0
        self._body += len(body)
        if self._call is not None:
            self._whole += body
            return
        super().on_body(body)
        if self.cycle.response_complete and self._body > self.limits.max_body_bytes:
            self.end()

    def on_message_complete(self) -> None:
        """The request is here."""
        if self._upgrading:
            return
        self._state, self._loose = REST, 0
        if self._call is None:
            super().on_message_complete()
        elif self.desk is not None:
            call, body, self._call, self._whole = self._call, self._whole, None, b""
            direct = Direct(self.parser.should_keep_alive(), self.server_state.default_headers, self._reply)
            self.cycle = direct  # type: ignore[assignment]  # it has what is looked at from outside
            direct.begin(self.desk.reply(call, body))

    def on_response_complete(self) -> None:
        """The next request in line, or the refusal that waited for this answer."""
        last = not self.pipeline
        super().on_response_complete()
        if self.transport.is_closing():
            return
        if self._ended:
            self._unset_keepalive_if_required()
        if last and self._refusal is not None:
            self._say(self._refusal)

    def pause_writing(self) -> None:
        """The client does not read; it is not waited for forever."""
        super().pause_writing()
        self._unread = self.loop.call_later(self.limits.body_seconds, self._not_read)

    def resume_writing(self) -> None:
        """It reads again."""
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        super().resume_writing()

    def end(self) -> None:
        """Close, but where a request is still coming in, read and forget it for a while: a client that is cut off while
        it sends would not see the answer."""
        self._ended, self._refusal = True, None
        self._forget()
        self.pipeline.clear()
        if self._state is REST or self.transport.is_closing():
            self.transport.close()
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.resume_reading()
        self._timer = self.loop.call_later(LINGER_SECONDS, self.transport.abort)

    def _feed(self, data: bytes) -> None:
        """Let the parser read; where the client offers another protocol, go on in this one."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._upgrading = False
            method = self.parser.get_method()
            if method == b"CONNECT":
                raise _Refused(unreadable()) from None
            version = self.parser.get_http_version().encode()
            close = any(name == b"connection" and b"close" in value.lower() for name, value in self.headers)
            kept = [(name, value) for name, value in self.headers if name not in UPGRADE]
            kept += [(b"connection", b"close")] if close else []
            lines = b"".join(b"%b: %b\r\n" % header for header in kept)
            head = b"%b %b HTTP/%b\r\n%b\r\n" % (method, self.url, version, lines)
            self.parser = httptools.HttpRequestParser(self)
            self._feed(head + data[offer.args[0] :])

    def _is_special(self) -> bool:
        """Whether a request waits in line, comes in chunks, asks before it sends, or finds its client not reading."""
        return self._coded or self.expect_100_continue or self.flow.write_paused or self._busy()

    def _begin(self) -> None:
        """Hand a request whose head is known, and what has come of its body, to the application."""
        url, headers, expects, body = self.url, self.headers, self.expect_100_continue, self._whole
        self._call, self._whole = None, b""
        super().on_message_begin()  # makes the scope, and forgets the rest
        self.url, self.expect_100_continue = url, expects
        self.headers += headers
        super().on_headers_complete()
        self.cycle.transport = self._closing  # type: ignore[assignment]
        if body:
            super().on_body(body)

    def _reply(self, answer: bytes, keep_alive: bool) -> None:
        """Send an answer of the desk's."""
        self.transport.write(answer)
        if not keep_alive:
            self.end()
        self.on_response_complete()

    def _busy(self) -> bool:
        """Whether a request is being answered, or waits for it."""
        return bool(self.pipeline) or (self.cycle is not None and not self.cycle.response_complete)

    def _await(self) -> None:
        """Set the deadline of what is awaited now."""
        if self._state is BODY:
            self._timer = self.loop.call_later(self.limits.body_seconds, self._check_body)
        else:
            self._timer = self.loop.call_later(self.limits.header_seconds, self._no_head)

    def _forget(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _no_head(self) -> None:
        """No head came in time."""
        self._timer = None
        if self._busy():  # the answers before it are still to be given
            self._refusal, self._ended = b"", True
        else:
            self.transport.abort()

    def _not_read(self) -> None:
        """The client has not read in time; while it still sends, it may read later."""
        if self._state is BODY and not self._ended:
            self._unread = self.loop.call_later(self.limits.body_seconds, self._not_read)
        else:
            self.transport.abort()

    def _check_body(self) -> None:
        """Whether the body comes fast enough."""
        self._timer = None
        now = self.loop.time()
        if self.flow.read_paused:  # it is we who are slow
            self._since, self._body = now, 0
        left = self._since + self.limits.body_seconds + self._body / self.limits.body_rate - now
        if left > 0:
            self._timer = self.loop.call_later(left, self._check_body)
        elif self.cycle.response_complete:
            self.end()
        elif LATE in self.scope["state"]:
            self._refuse(too_slow())
        else:  # the application answers, so that it is counted and logged
            self.scope["state"][LATE] = True
            self.cycle.message_event.set()
            self._timer = self.loop.call_later(GRACE_SECONDS, self._check_body)

    def _refuse(self, error: LeptonError) -> None:
        """Answer a request that cannot be read to its end, after those before it, and close."""
        if self._ended:
            return
        self._ended = True
        self._forget()
        if self._state is BODY:
            if self.pipeline and self.pipeline[0][0] is self.cycle:
                self.pipeline.popleft()
                self._refusal = self._written(error)
                return
            begun = self.cycle.response_started
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            if begun:
                self.end()
            else:
                self._say(self._written(error))
        elif self._busy():
            self._refusal = self._written(error)
        else:
            self._say(self._written(error))

    def _written(self, error: LeptonError) -> bytes:
        """The answer to who is refused, counted."""
        if self.desk is not None:
            self.desk.refused(error.status)
        return written(error)

    def _say(self, answer: bytes) -> None:
        if self._state is REST:  # of the request before
            self._state = HEAD
        self._refusal = None
        self.transport.write(answer)
        self.end()

    def _throw_away(self, size: int) -> None:
        self._spare -= size
        if self._spare < 0:
            self.transport.abort()


class _Closing:
    """A transport as uvicorn uses it while it answers, whose end is the connection's."""

    def __init__(self, connection: Limited) -> None:
        self.write = connection.transport.write
        self.is_closing = connection.transport.is_closing
        self.close = connection.end


class _Refused(Exception):
    """Raised inside the parser, which keeps it as the context of its own error."""

    def __init__(self, error: LeptonError) -> None:
        super().__init__(str(error))
        self.error = error


def protocol(limits: ServeSettings, ours: ASGIApp | None = None, desk: Desk[Any] | None = None) -> type[Limited]:
    """The class of connections with these limits.

    Args:
        ours: takes requests for our own paths, past BentoML.
        desk: answers some of them without ASGI, where they come in one piece.
    """
    return type(
        "Connection", (Limited,), {"limits": limits, "ours": staticmethod(ours) if ours else None, "desk": desk}
    )


def _head_too_large() -> HeadTooLarge:
    return HeadTooLarge("the headers are too long, or too many", "send fewer and shorter headers")
