"""One worker's connections, with an application of a few lines behind them: time, size, order, nothing left behind."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
import uvicorn
import uvloop
from starlette.types import Receive, Scope, Send

from core.config import ServeSettings
from service.protocol import MOST_PIPELINED, protocol
from tests.processes import free_port
from tests.waiting import until
from tests.wires import Wire, request, wire

LIMITS = ServeSettings(
    header_seconds=0.3,
    body_seconds=0.3,
    body_rate=1000.0,
    max_connections=8,
    max_body_bytes=2**17,
    max_header_bytes=4096,
)


class Echo:
    """Answers ``/echo`` with the body, ``/held`` when it is let go, and anything else at once, the body unread."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] == "/stream":
            await stream(receive, send)
            return
        told = scope["path"].encode()
        if scope["path"] == "/echo":
            told, more = b"", True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                told, more = told + message["body"], message["more_body"]
        elif scope["path"] == "/held":
            await self.gate.wait()
        elif scope["path"] == "/large":
            told = b"x" * 2**24
        headers = [(b"content-length", b"%d" % len(told)), (b"x-seen", repr(scope["headers"]).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": told})


async def stream(receive: Receive, send: Send) -> None:
    """Answer every piece of the body with a megabyte, while more comes."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    more = True
    while more:
        more = (await receive()).get("more_body", False)
        await send({"type": "http.response.body", "body": b"x" * 2**20, "more_body": True})
    await send({"type": "http.response.body", "body": b"the end"})


class Worker:
    """uvicorn in a thread, on a port of its own."""

    def __init__(self) -> None:
        self.port = free_port()
        self.app = Echo()
        options: dict[str, Any] = {"lifespan": "off", "log_config": None, "timeout_keep_alive": 1}
        self.server = uvicorn.Server(
            uvicorn.Config(self.app, host="127.0.0.1", port=self.port, http=protocol(LIMITS), **options)
        )
        self.loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        until(lambda: self.server.started)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        await self.server.serve()

    def let_go(self) -> None:
        assert self.loop is not None
        self.loop.call_soon_threadsafe(self.app.gate.set)

    def quiet(self) -> bool:
        """Whether neither connections nor requests are left."""
        return not self.server.server_state.connections and not self.server.server_state.tasks

    def stop(self) -> None:
        self.let_go()
        self.server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()


@pytest.fixture(scope="module")
def running() -> Iterator[Worker]:
    made = Worker()
    yield made
    made.stop()


@pytest.fixture
def worker(running: Worker) -> Worker:
    """With nothing left of the test before, and the gate shut."""
    until(running.quiet)
    running.app.gate.clear()
    return running


def ask(worker: Worker, data: bytes) -> tuple[int, bytes, bool]:
    """The status and the body of the one answer, and whether the connection ends then."""
    with wire(worker.port) as line:
        line.send(data)
        reply = line.reply()
        line.half_close()
        return reply.status, reply.body, reply.headers.get("connection") == "close" and line.closed()


def is_good(worker: Worker) -> bool:
    return ask(worker, request("/echo", body=b"good"))[:2] == (200, b"good")


def test_a_connection_that_says_nothing_is_closed(worker: Worker) -> None:
    with wire(worker.port) as line:
        assert line.closed()
    assert is_good(worker)


@pytest.mark.parametrize("begun", [b"G", b"POST /echo HTTP/1.1\r\nhost: a\r\n", b"\r\n", b"\r\n\r\n\r\n"])
def test_a_head_that_never_ends_is_closed(worker: Worker, begun: bytes) -> None:
    with wire(worker.port) as line:
        line.send(begun)
        assert line.closed()
    with wire(worker.port) as line:  # and so is the second one on a connection
        line.send(request("/echo", body=b"1") + begun)
        assert line.reply().body == b"1"
        assert line.closed()
    assert is_good(worker)


def test_a_head_that_comes_byte_by_byte_is_closed_when_its_time_is_over(worker: Worker) -> None:
    head, pause = b"GET / HTTP/1.1\r\na: " + b"a" * 1000, threading.Event()
    with wire(worker.port) as line:
        sent = 0
        while line.send(head[sent : sent + 1]):
            sent += 1
            pause.wait(0.02)
        assert 2 < sent < 100
        assert line.closed()
    assert is_good(worker)


def test_a_slow_body_is_refused_while_others_are_answered(worker: Worker) -> None:
    with wire(worker.port) as slow:
        slow.send(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nhalf")
        assert is_good(worker)
        reply = slow.reply()
        assert (reply.status, reply.code(), reply.headers["connection"]) == (408, "too_slow", "close")
        slow.half_close()
        assert slow.closed()
    until(worker.quiet)


def test_a_body_that_goes_on_at_the_rate_is_let_be(worker: Worker) -> None:
    """Ten times the time that a silent body would have."""
    with wire(worker.port) as slow:
        slow.send(b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 3000\r\n\r\n")
        pause = threading.Event()
        for _ in range(30):
            slow.send(b"x" * 100)
            pause.wait(0.05)
        assert slow.reply().body == b"x" * 3000


def test_an_answer_that_nobody_reads_does_not_keep_its_connection(worker: Worker) -> None:
    with wire(worker.port) as line:
        line.send(request("/large", method="GET"))
        until(worker.quiet)
    assert is_good(worker)


def test_a_client_that_reads_nothing_before_it_has_sent_all_is_not_cut_off(worker: Worker) -> None:
    with wire(worker.port) as line:
        line.send(b"POST /stream HTTP/1.1\r\nhost: a\r\ncontent-length: 3000\r\n\r\n")
        pause = threading.Event()
        for _ in range(30):
            line.send(b"x" * 100)
            pause.wait(0.05)
        came = b""
        while b"the end" not in came[-30:]:
            piece = line.socket.recv(2**20)
            assert piece, "the connection was cut"
            came += piece
    assert len(came) > 2**20


def test_pipelined_requests_are_answered_in_their_order_and_the_refusal_last(worker: Worker) -> None:
    with wire(worker.port) as line:
        line.send(request("/held", method="GET") + b"".join(request("/echo", body=b"%d" % n) for n in range(20)))
        line.send(b"nonsense\r\n\r\n")
        worker.let_go()
        assert line.reply().body == b"/held"
        assert [line.reply().body for _ in range(20)] == [b"%d" % n for n in range(20)]
        assert line.reply().status == 400
        line.half_close()
        assert line.closed()
    until(worker.quiet)


def test_a_broken_body_in_line_is_refused_after_those_before_it(worker: Worker) -> None:
    broken = b"POST /echo HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"
    with wire(worker.port) as line:
        line.send(request("/held", method="GET") + request("/echo", body=b"1") + broken)
        worker.let_go()
        assert [line.reply().body for _ in range(2)] == [b"/held", b"1"]
        assert line.reply().status == 400
    until(worker.quiet)


def test_more_requests_than_may_wait_on_a_connection_are_refused_after_those(worker: Worker) -> None:
    with wire(worker.port) as line:
        line.send(request("/held", method="GET") + request("/echo", body=b"1") * (MOST_PIPELINED + 10))
        worker.let_go()
        assert [line.reply().status for _ in range(MOST_PIPELINED + 1)] == [200] * (MOST_PIPELINED + 1)
        assert line.reply().status == 503
    until(worker.quiet)


def test_a_connection_too_many_is_told_so_and_the_next_one_is_served_when_there_is_room(worker: Worker) -> None:
    held = [Wire(worker.port) for _ in range(LIMITS.max_connections)]
    for line in held:
        line.send(request("/echo", body=b"1"))
        assert line.reply().status == 200
    with wire(worker.port) as one_more:
        reply = one_more.reply()
        assert (reply.status, reply.code(), reply.headers["retry-after"]) == (503, "unavailable", "1")
    for line in held:
        line.close()
    until(worker.quiet)
    assert is_good(worker)


READ_IN_TWO_WAYS = {
    "both lengths": b"POST /echo HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "both, the other way round": b"POST /echo HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n",
    "two lengths": b"POST /echo HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
    "the same length twice": b"POST /echo HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello",
    "a list of lengths": b"POST /echo HTTP/1.1\r\ncontent-length: 5, 5\r\n\r\nhello",
    "a length with a sign": b"POST /echo HTTP/1.1\r\ncontent-length: +5\r\n\r\nhello",
    "a length beyond counting": b"POST /echo HTTP/1.1\r\ncontent-length: 99999999999999999999999\r\n\r\n",
    "a folded header": b"GET /echo HTTP/1.1\r\na: b\r\n c\r\n\r\n",
    "a space before the colon": b"GET /echo HTTP/1.1\r\ncontent-length : 5\r\n\r\nhello",
    "bare line ends": b"GET /echo HTTP/1.1\na: b\n\n",
    "a carriage return in a value": b"GET /echo HTTP/1.1\r\na: b\rc: d\r\n\r\n",
    "a zero in a value": b"GET /echo HTTP/1.1\r\na: b\0c\r\n\r\n",
    "an unknown coding": b"POST /echo HTTP/1.1\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    "a coding before the chunks": b"POST /echo HTTP/1.1\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": b"POST /echo HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk without a size": b"POST /echo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    "a chunk beyond counting": b"POST /echo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
}
NO_HTTP = {
    "TLS": bytes.fromhex("16030100c8010000c403036162"),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "bytes": b"\x00\x01\x02\x03\r\n\r\n",
    "words": b"hello there\r\n\r\n",
    "a method that nobody has": b"FOO / HTTP/1.1\r\n\r\n",
    "a tunnel": b"CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n",
    "an address that is none": b"GET foo HTTP/1.1\r\n\r\n",
    "an address in Latin-1": b"GET /\xff HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("data", [*READ_IN_TWO_WAYS.values(), *NO_HTTP.values()], ids=[*READ_IN_TWO_WAYS, *NO_HTTP])
def test_what_is_no_request_or_could_be_two_is_refused_and_closed(worker: Worker, data: bytes) -> None:
    status, body, ended = ask(worker, data)
    assert (status, ended) == (400, True), body
    assert is_good(worker)


@pytest.mark.parametrize("version", ["0.9", "2.0"])
def test_another_version_is_refused(worker: Worker, version: str) -> None:
    assert ask(worker, request("/echo", method="GET", version=version))[::2] == (505, True)


def test_http_1_0_is_answered_and_closed(worker: Worker) -> None:
    assert ask(worker, request("/echo", body=b"old", version="1.0")) == (200, b"old", True)


@pytest.mark.parametrize("offer", ["h2c", "websocket"])
def test_an_offer_of_another_protocol_is_passed_over_and_its_body_is_read(worker: Worker, offer: str) -> None:
    """As Java's own client does with every first request."""
    headers = ("connection: Upgrade, HTTP2-Settings", f"upgrade: {offer}", "http2-settings: AAMAAABk")
    with wire(worker.port) as line:
        line.send(request("/echo", *headers, body=b"first") + request("/echo", body=b"second"))
        first, second = line.reply(), line.reply()
    assert (first.status, first.body, second.body) == (200, b"first", b"second")
    assert "upgrade" not in first.headers["x-seen"]


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\na: " + b"b" * 5000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 200 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"a" * 5000, 431),
        (b"POST /echo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 200, 431),
        (b"POST /echo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1;" + b"a" * 2**20, 431),
    ],
    ids=["address", "one header", "many headers", "a name without end", "trailers", "a chunk's extension"],
)
def test_a_head_above_the_caps_is_refused_and_closed(worker: Worker, head: bytes, status: int) -> None:
    assert ask(worker, head)[::2] == (status, True)
    assert is_good(worker)


def test_headers_after_a_body_are_no_headers_of_the_request(worker: Worker) -> None:
    chunked = b"POST /held HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nx-late: y\r\n\r\n"
    with wire(worker.port) as line:
        line.send(chunked)
        worker.let_go()
        assert "x-late" not in line.reply().headers["x-seen"]


def test_a_body_that_nobody_asked_for_is_thrown_away_up_to_a_point(worker: Worker) -> None:
    with wire(worker.port) as line:
        line.send(request("/other", body=b"x" * 2**16) + request("/echo", body=b"good"))
        assert [line.reply().body for _ in range(2)] == [b"/other", b"good"]
        line.send(b"POST /other HTTP/1.1\r\ncontent-length: 1000000000\r\n\r\n")
        assert line.reply().body == b"/other"
        assert line.send(b"x" * 2**26) < 2**26
    until(worker.quiet)


def leave(line: Wire, kind: str) -> None:
    """Begin something and go."""
    line.send(
        {
            "silent": b"",
            "in the head": b"POST /echo HTTP/1.1\r\nhost:",
            "in the body": b"POST /echo HTTP/1.1\r\ncontent-length: 100\r\n\r\nhalf",
            "while it is answered": request("/held", method="GET"),
            "while others wait": request("/held", method="GET") * 5,
            "while it is refused": b"nonsense\r\n\r\n",
        }[kind]
    )


@pytest.mark.parametrize("how", ["close", "reset", "half_close"])
@pytest.mark.parametrize(
    "kind",
    ["silent", "in the head", "in the body", "while it is answered", "while others wait", "while it is refused"],
)
def test_two_hundred_clients_that_leave_leave_nothing_behind(worker: Worker, kind: str, how: str) -> None:
    assert is_good(worker)
    until(worker.quiet)
    here = psutil.Process()
    before = here.num_fds()
    for _ in range(40):
        lines = [Wire(worker.port) for _ in range(5)]
        for line in lines:
            leave(line, kind)
            getattr(line, how)()
        if how == "half_close":
            for line in lines:
                line.close()
        worker.let_go()
        until(worker.quiet)
    until(lambda: here.num_fds() <= before)
    assert is_good(worker)
