"""The two loops: requests that leave when they are due, and requests that wait for each other.

Promises that every request of a plan leaves at most once and is accounted for: answered, timed out or broken. In the
open loop its latency counts from the intended moment, so a server that stalls is charged with everything that would
have been sent meanwhile (no coordinated omission). Knows nothing of processes.

Legend: N requests.
"""

from __future__ import annotations

import asyncio
import gc
from collections import deque
from collections.abc import Coroutine
from typing import Any

import numpy as np

from benchmarks.generator.alarm import Alarm
from benchmarks.generator.connection import IDLE, Connection
from benchmarks.generator.http1 import HOST, Answer
from benchmarks.generator.plans import Closed, Open
from benchmarks.generator.record import BROKEN, TIMED_OUT, UNCONNECTED, Record

SWEEP_SECONDS = 0.05  # how often requests that are overdue are looked for
_PENDING = -100
_NEVER = float("nan")


class Pool:
    """What both loops share: connections, and a row a request. Used for one load."""

    def __init__(self, port: int, requests: tuple[bytes, ...], timeout: float, keep: bool) -> None:
        self._loop = asyncio.get_running_loop()
        self._port, self._requests, self._timeout, self._keep = port, requests, timeout, keep
        self._clock = Alarm.clock
        self._due: list[float] = []
        self._sent: list[float] = []
        self._took: list[float] = []
        self._status: list[int] = []
        self._answers: list[tuple[int, bytes, bytes]] = []
        self._all: set[Connection] = set()
        self._flying: dict[int, Connection] = {}  # by number, so in the order of sending
        self._opening = 0
        self._most_open = 0
        self._tasks: set[asyncio.Task[Any]] = set()
        self._done = self._loop.create_future()
        self._sweeper: asyncio.TimerHandle | None = None
        self._begun = 0.0

    def answered(self, connection: Connection, answer: Answer) -> None:
        """Of :class:`Owner`."""
        number, connection.number = connection.number, IDLE
        self._took[number] = self._clock() - self._begun - self._due[number]
        self._status[number] = answer.status
        self._flying.pop(number, None)
        if self._keep:
            self._answers.append((number, answer.head, answer.body))
        if answer.last:
            connection.abort()
        else:
            self._free(connection)

    def ended(self, connection: Connection) -> None:
        """Of :class:`Owner`."""
        self._all.discard(connection)
        number, connection.number = connection.number, IDLE
        if number != IDLE:
            self._flying.pop(number, None)
            if self._status[number] == _PENDING:
                self._status[number] = BROKEN
        self._gone(connection)

    def _free(self, connection: Connection) -> None:
        raise NotImplementedError

    def _gone(self, connection: Connection) -> None:
        raise NotImplementedError

    def _sweep(self) -> None:
        """Give up what is overdue, oldest first."""
        overdue = self._clock() - self._begun - self._timeout
        for number, connection in list(self._flying.items()):
            if self._due[number] > overdue:
                break
            self._status[number] = TIMED_OUT
            connection.abort()
        self._sweeper = self._loop.call_later(SWEEP_SECONDS, self._sweep)

    async def _open(self, count: int) -> list[Connection | None]:
        """Connections for the beginning; the garbage of an earlier load is collected before this one starts."""
        gc.collect()
        return list(await asyncio.gather(*(self._connect() for _ in range(count))))

    async def _connect(self) -> Connection | None:
        """A connection, or None where nobody takes it."""
        self._opening += 1
        try:
            _, made = await self._loop.create_connection(lambda: Connection(self), HOST, self._port)
        except OSError:
            return None
        finally:
            self._opening -= 1
        self._all.add(made)
        self._most_open = max(self._most_open, len(self._all))
        return made

    def _send(self, connection: Connection, number: int) -> None:
        self._sent[number] = self._clock() - self._begun
        self._flying[number] = connection
        connection.send(number, self._requests[number % len(self._requests)])

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _finish(self) -> None:
        if not self._done.done():
            self._done.set_result(None)

    async def _until_done(self) -> Record:
        """Wait for the end, then close everything."""
        try:
            self._sweep()
            await self._done
            ended = self._clock() - self._begun
        finally:
            if self._sweeper is not None:
                self._sweeper.cancel()
            for task in list(self._tasks):
                task.cancel()
            for connection in list(self._all):
                connection.abort()
        return Record(
            due_N=np.array(self._due),
            sent_N=np.array(self._sent),
            took_N=np.array(self._took),
            status_N=np.array(self._status, np.int16),
            seconds=ended,
            connections=self._most_open,
            begun=self._begun,
            answers=self._answers,
        )


class OpenLoop(Pool):
    """Runs an :class:`Open` plan."""

    def __init__(self, plan: Open) -> None:
        super().__init__(plan.port, tuple(plan.requests), plan.timeout, plan.keep)
        self._plan = plan
        self._due = plan.due().tolist()
        self._sent, self._took = [_NEVER] * len(self._due), [_NEVER] * len(self._due)
        self._status = [_PENDING] * len(self._due)
        self._idle: deque[Connection] = deque()
        self._waiting: deque[int] = deque()  # due, and not sent yet
        self._next = 0  # the first that is not due yet
        self._alarm = Alarm(self._loop, self._ring)

    async def run(self) -> Record:
        """Send everything, wait for all of it."""
        try:
            opened = await self._open(self._plan.connections)
            self._idle.extend(connection for connection in opened if connection is not None)
            self._begun = self._clock() + SWEEP_SECONDS
            self._alarm.set(self._begun + self._due[0])
            return await self._until_done()
        finally:
            self._alarm.close()

    def stop(self) -> None:
        """Send nothing more than what is due now; ``run`` returns when that is answered."""
        due = max(1, self._next)
        for rows in (self._due, self._sent, self._took, self._status):
            del rows[due:]
        self._finished()

    def _ring(self) -> None:
        now = self._clock() - self._begun
        while self._next < len(self._due) and self._due[self._next] <= now:
            self._waiting.append(self._next)
            self._next += 1
        self._pump()
        if self._next < len(self._due):
            self._alarm.set(self._begun + self._due[self._next])

    def _pump(self) -> None:
        while self._waiting and self._idle:
            self._send(self._idle.popleft(), self._waiting.popleft())
        room = self._plan.most - len(self._all) - self._opening
        for _ in range(min(room, len(self._waiting) - self._opening)):
            self._spawn(self._grow())

    async def _grow(self) -> None:
        made = await self._connect()
        if made is not None:
            self._free(made)
        elif self._waiting:  # charged to the one that has waited longest, so that a dead server ends the load
            self._status[self._waiting.popleft()] = UNCONNECTED
            self._finished()

    def _free(self, connection: Connection) -> None:
        self._idle.append(connection)  # the one that was longest idle goes first: none grows so old that it is closed
        self._pump()
        self._finished()

    def _gone(self, connection: Connection) -> None:
        if connection in self._idle:
            self._idle.remove(connection)
        self._pump()
        self._finished()

    def _sweep(self) -> None:
        overdue = self._clock() - self._begun - self._timeout
        while self._waiting and self._due[self._waiting[0]] <= overdue:
            self._status[self._waiting.popleft()] = TIMED_OUT
        super()._sweep()
        self._finished()

    def _finished(self) -> None:
        if self._next >= len(self._due) and not self._waiting and not self._flying:
            self._finish()


class ClosedLoop(Pool):
    """Runs a :class:`Closed` plan."""

    def __init__(self, plan: Closed) -> None:
        super().__init__(plan.port, tuple(plan.requests), plan.timeout, plan.keep)
        self._plan = plan
        self._over = False

    async def run(self) -> Record:
        """Send until the time is over, wait for what is under way."""
        opened = await self._open(self._plan.connections)
        self._begun = self._clock()
        self._loop.call_later(self._plan.seconds, self.stop)
        for connection in opened:
            self._start(connection)
        return await self._until_done()

    def stop(self) -> None:
        """Send nothing more; ``run`` returns when all is answered."""
        self._over = True
        if not self._flying:
            self._finish()

    def _start(self, connection: Connection | None) -> None:
        number = len(self._due)
        self._due.append(self._clock() - self._begun)
        self._sent.append(_NEVER)
        self._took.append(_NEVER)
        self._status.append(UNCONNECTED if connection is None else _PENDING)
        if connection is not None:
            self._send(connection, number)

    def _free(self, connection: Connection) -> None:
        if not self._over:
            self._start(connection)
        elif not self._flying:
            self._finish()

    def _gone(self, connection: Connection) -> None:
        if self._over or self._done.done():
            self.stop()
        else:
            self._spawn(self._replace())

    async def _replace(self) -> None:
        made = await self._connect()
        if made is None:
            self._start(None)
            await asyncio.sleep(SWEEP_SECONDS)
            self._gone_on()
            return
        if self._over:
            made.abort()
        else:
            self._start(made)

    def _gone_on(self) -> None:
        if not self._over:
            self._spawn(self._replace())
