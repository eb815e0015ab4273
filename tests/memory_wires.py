"""Connections without sockets: bytes go into the protocol in the very pieces that a test chooses, and answers come out.

Promises that pieces arrive one after the other, each after the event loop had its turn, so that what depends on how
bytes are cut is the same at every run. Knows nothing of what a right answer is.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import uvicorn
import uvloop
from fastapi import FastAPI
from uvicorn.server import ServerState

from service.protocol import Limited
from tests.waiting import until
from tests.wires import PATIENCE, Reply

DATE = [(b"date", b"Sun, 01 Nov 2026 00:00:00 GMT")]
TURNS = 3  # of the event loop, between two pieces


class Line(asyncio.Transport):
    """The client's end of a connection: what was written to it, and whether it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False
        self.protocol: Limited | None = None

    def write(self, data: Any) -> None:
        assert not self.closed, "nothing is written after the end"
        if data:
            self.writes.append(bytes(data))

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def can_write_eof(self) -> bool:
        return False

    def replies(self) -> list[Reply]:
        """The complete answers so far."""
        found, left = [], b"".join(self.writes)
        while b"\r\n\r\n" in left:
            head, _, rest = left.partition(b"\r\n\r\n")
            first, *lines = head.decode("latin-1").split("\r\n")
            headers = {name: value for name, value in (line.split(": ", 1) for line in lines)}
            length = int(headers["content-length"])
            if len(rest) < length:
                break
            found.append(Reply(int(first.split()[1]), headers, rest[:length]))
            left = rest[length:]
        return found

    def await_replies(self, count: int = 1) -> list[Reply]:
        """So many answers, as soon as they are there."""
        until(lambda: len(self.replies()) == count)
        return self.replies()


class Switchboard:
    """An application behind connections without sockets, in an event loop of its own; a context manager."""

    def __init__(self, app: FastAPI, connection: type[Limited]) -> None:
        self._app = app
        self._connection = connection
        self._config = uvicorn.Config(app, log_config=None)
        self._config.load()
        self.state = ServerState()
        self.state.default_headers = DATE
        self._loop = uvloop.new_event_loop()
        self._ended = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._live(),))

    def __enter__(self) -> Switchboard:
        self._thread.start()
        assert self._ready.wait(PATIENCE)
        return self

    def __exit__(self, *error: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
        self._loop.close()

    def open(self) -> Line:
        """A new connection."""
        line: Line = self._there(self._open())
        return line

    def send(self, line: Line, *pieces: bytes) -> None:
        """Pieces, one after the other."""
        self._there(self._send(line, pieces))

    def tell(self, line: Line, *events: tuple[object, ...]) -> None:
        """Events of the connection, name and arguments of each, in one turn of the event loop."""
        self._there(self._tell(line, events))

    def ask(self, *pieces: bytes, count: int = 1) -> Line:
        """Pieces over a new connection, and so many answers."""
        line = self.open()
        self.send(line, *pieces)
        line.await_replies(count)
        return line

    async def _live(self) -> None:
        async with self._app.router.lifespan_context(self._app):
            self._ready.set()
            await self._ended.wait()
            while self.state.tasks:
                await self._turn()

    async def _open(self) -> Line:
        line = Line()
        line.protocol = self._connection(self._config, self.state, {}, self._loop)
        line.protocol.connection_made(line)
        return line

    async def _send(self, line: Line, pieces: Sequence[bytes]) -> None:
        assert line.protocol is not None
        for piece in pieces:
            if not line.closed:
                line.protocol.data_received(piece)
            for _ in range(TURNS):
                await self._turn()

    async def _tell(self, line: Line, events: Sequence[tuple[object, ...]]) -> None:
        for name, *arguments in events:
            getattr(line.protocol, str(name))(*arguments)

    async def _turn(self) -> None:
        turned = self._loop.create_future()
        self._loop.call_soon(turned.set_result, None)
        await turned

    def _there(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(PATIENCE)
