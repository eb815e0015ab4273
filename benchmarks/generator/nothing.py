"""A server that does nothing, as fast as Python can: what the generator reaches against it is the generator's ceiling.

Promises one short answer to every request of the length that it was started for. Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection as Pipe
from typing import cast

import uvloop

from benchmarks.generator.http1 import HOST

_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


@contextmanager
def nothing(length: int) -> Iterator[int]:
    """Serve requests of ``length`` bytes from a process of its own; gives the port."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_main, args=(there, length), daemon=True)
    process.start()
    try:
        yield here.recv()
    finally:
        process.kill()
        process.join()
        here.close()


class _Nothing(asyncio.Protocol):
    def __init__(self, length: int) -> None:
        self._length, self._held = length, 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it

    def data_received(self, data: bytes) -> None:
        whole, self._held = divmod(self._held + len(data), self._length)
        if whole:
            self._transport.write(_ANSWER * whole)


def _main(pipe: Pipe, length: int) -> None:
    uvloop.run(_serve(pipe, length))


async def _serve(pipe: Pipe, length: int) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: _Nothing(length), HOST, 0)
    pipe.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()
