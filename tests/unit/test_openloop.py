"""The load generator: it keeps its times, charges a stall to all that the stall delayed, and sends nothing twice.

The server is a few lines of asyncio in the same loop; it answers each request with the request's own number.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.generator.alarm import Alarm
from benchmarks.generator.http1 import HOST, Unreadable, read, request
from benchmarks.generator.loops import ClosedLoop, OpenLoop
from benchmarks.generator.plans import Closed, Open
from benchmarks.generator.record import BROKEN, OK, TIMED_OUT, UNCONNECTED, Record

STALL = 0.5  # seconds
R = TypeVar("R")


class Echo:
    """Answers 200 with the body of the request.

    Args:
        stall_at: number of the request at which all answers stop for ``STALL`` seconds.
        mute: requests that are never answered. cut: requests at which the connection is closed instead.
    """

    def __init__(
        self, stall_at: int | None = None, mute: frozenset[int] = frozenset(), cut: frozenset[int] = frozenset()
    ):
        self.seen: Counter[bytes] = Counter()
        self.connections = 0
        self._stall_at, self._mute, self._cut = stall_at, mute, cut
        self._open = asyncio.Event()
        self._open.set()

    async def __aenter__(self) -> int:
        self._server = await asyncio.start_server(self._serve, HOST, 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                body = await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
                number = self.seen.total()
                self.seen[body] += 1
                if number in self._cut:
                    return
                if number == self._stall_at:
                    self._open.clear()
                    asyncio.get_running_loop().call_later(STALL, self._open.set)
                await self._open.wait()
                if number not in self._mute:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


def requests(count: int) -> list[bytes]:
    return [request("/", str(number).encode(), "text/plain") for number in range(count)]


def done(work: Coroutine[Any, Any, R]) -> R:
    return asyncio.run(work)


def plan(port: int, count: int, rate: float, **more: Any) -> Open:
    return Open(port=port, requests=requests(count), phases=((rate, count / rate),), **more)


def test_an_open_loop_charges_a_stall_to_every_request_that_was_due_in_it() -> None:
    async def work() -> Record:
        async with Echo(stall_at=20) as port:
            return await OpenLoop(plan(port, 200, 200.0)).run()

    record = done(work())
    assert record.count(OK) == 200
    assert record.milliseconds(99) >= 400
    assert (record.took_N > STALL / 2).sum() >= 40  # half of a stall's hundred requests wait for half of it or longer


def test_a_closed_loop_would_have_hidden_the_same_stall() -> None:
    async def work() -> Record:
        async with Echo(stall_at=20) as port:
            return await ClosedLoop(Closed(port=port, requests=requests(7), connections=1, seconds=1.0)).run()

    record = done(work())
    assert record.count(OK) == len(record.status_N) > 50
    assert record.took_N[20] >= 0.4
    assert (record.took_N > STALL / 2).sum() <= 3  # the one that met the stall, and no more than a hiccup beside it


def test_nothing_is_sent_twice_and_every_request_is_accounted_for() -> None:
    server: list[Echo] = []

    async def work() -> Record:
        server.append(Echo(stall_at=30, cut=frozenset({10, 50})))
        async with server[0] as port:
            return await OpenLoop(plan(port, 150, 300.0, connections=4, most=16, keep=True)).run()

    record = done(work())
    assert record.statuses() == {"200": 148, "broken": 2}
    assert len(server[0].seen) == 150
    assert set(server[0].seen.values()) == {1}
    assert all(body == str(number).encode() for number, _, body in record.answers)
    assert np.isnan(record.took_N[record.status_N == BROKEN]).all()


def test_a_request_that_finds_no_free_connection_opens_one_up_to_the_cap() -> None:
    servers: list[Echo] = []

    async def work(most: int) -> Record:
        servers.append(Echo(stall_at=0))
        async with servers[-1] as port:
            return await OpenLoop(plan(port, 40, 200.0, connections=2, most=most)).run()

    wide, narrow = done(work(100)), done(work(5))
    assert wide.connections == servers[0].connections == 40
    assert narrow.connections == servers[1].connections == 5
    assert wide.count(OK) == narrow.count(OK) == 40
    assert np.nanmax(narrow.sent_N - narrow.due_N) > STALL / 2  # and the delay counts
    assert (narrow.took_N >= narrow.sent_N - narrow.due_N).all()


def test_a_request_without_an_answer_is_given_up_and_counts_as_endless() -> None:
    async def work() -> Record:
        async with Echo(mute=frozenset({3})) as port:
            return await OpenLoop(plan(port, 20, 200.0, connections=1, most=1, timeout=0.2)).run()

    record = done(work())
    assert record.status_N[3] == TIMED_OUT
    assert record.count(OK) + record.count(TIMED_OUT) == 20
    assert record.milliseconds(99) == float("inf")
    assert record.goodput(within=0.2) <= record.throughput()


def test_where_nobody_listens_every_request_says_so() -> None:
    async def work() -> Record:
        async with Echo() as port:
            pass
        return await OpenLoop(plan(port, 5, 500.0, connections=1)).run()

    assert done(work()).count(UNCONNECTED) == 5


def test_requests_leave_at_their_moments_and_never_before() -> None:
    async def work() -> Record:
        async with Echo() as port:
            return await OpenLoop(plan(port, 100, 250.0, seed=5)).run()

    record = done(work())
    assert (record.sent_N >= record.due_N).all()
    assert np.array_equal(record.due_N, plan(0, 100, 250.0, seed=5).due())
    assert np.median(record.sent_N - record.due_N) < 0.1


def test_a_stopped_load_is_answered_to_its_end_and_holds_only_what_was_due() -> None:
    async def work() -> Record:
        async with Echo() as port:
            loop = OpenLoop(plan(port, 2_000, 200.0))
            asyncio.get_running_loop().call_later(0.3, loop.stop)
            return await loop.run()

    record = done(work())
    assert 0 < len(record.status_N) < 2_000
    assert record.count(OK) == len(record.status_N)


def test_an_alarm_rings_after_its_moment_and_can_be_set_again() -> None:
    async def work() -> list[float]:
        loop, rung = asyncio.get_running_loop(), asyncio.Queue[float]()
        alarm = Alarm(loop, lambda: rung.put_nowait(Alarm.clock()))
        late = []
        for seconds in (0.01, 0.0, 0.003):
            moment = Alarm.clock() + seconds
            alarm.set(moment)
            late.append(await asyncio.wait_for(rung.get(), 10) - moment)
        alarm.close()
        return late

    assert all(seconds >= 0 for seconds in done(work()))


@given(
    phases=st.lists(st.tuples(st.floats(1, 500), st.floats(0.1, 3)), min_size=1, max_size=4),
    seed=st.none() | st.integers(0, 99),
)
def test_moments_rise_stay_in_their_phase_and_come_again_the_same(
    phases: list[tuple[float, float]], seed: int | None
) -> None:
    asked = Open(port=1, requests=[b""], phases=tuple(phases), seed=seed)
    due_N = asked.due()
    assert np.array_equal(due_N, asked.due())
    assert (np.diff(due_N) >= 0).all()
    assert due_N[0] >= 0
    assert len(due_N) == sum(max(1, round(rate * seconds)) for rate, seconds in phases)
    first = max(1, round(phases[0][0] * phases[0][1]))
    assert (due_N[first:] >= phases[0][1]).all()


@given(body=st.binary(max_size=300), cut=st.integers(0, 400))
def test_an_answer_is_read_when_it_is_complete_and_not_before(body: bytes, cut: int) -> None:
    whole = b"HTTP/1.1 503 Service Unavailable\r\ncontent-LENGTH:  %d\r\nx: y\r\n\r\n%s" % (len(body), body)
    answer = read(whole)
    assert answer is not None
    assert (answer.status, answer.body, answer.last) == (503, body, False)
    if cut < len(whole):
        assert read(whole[:cut]) is None
    with pytest.raises(Unreadable):
        read(whole + b"more")


def test_an_answer_without_a_length_is_an_error() -> None:
    with pytest.raises(Unreadable):
        read(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n")
