"""One keep-alive connection that carries one request at a time.

Promises that an end of the connection is told once, after the last answer. Knows nothing of loops or of time.
"""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

from benchmarks.generator.http1 import Answer, Unreadable, read

IDLE = -1


class Owner(Protocol):
    """Who is told."""

    def answered(self, connection: Connection, answer: Answer) -> None:
        """The answer to request ``connection.number`` is complete; the connection is free again."""

    def ended(self, connection: Connection) -> None:
        """It is closed; ``connection.number`` is the request that was under way, or ``IDLE``."""


class Connection(asyncio.Protocol):
    """Connects by ``loop.create_connection``."""

    __slots__ = ("_held", "_owner", "_transport", "number")

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._held = b""
        self._transport: asyncio.Transport | None = None
        self.number = IDLE

    def send(self, number: int, request: bytes) -> None:
        """Send a request; its number comes back with its answer."""
        assert self.number == IDLE, "one request at a time"
        assert self._transport is not None, "connected"
        self.number = number
        self._transport.write(request)

    def abort(self) -> None:
        """Close at once, whatever is under way; the owner is told of the end."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Of asyncio."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it

    def data_received(self, data: bytes) -> None:
        """Of asyncio."""
        data = self._held + data if self._held else data
        try:
            answer = read(data)
        except Unreadable:
            self.abort()
            return
        if answer is None:
            self._held = data
            return
        self._held = b""
        if self.number == IDLE:  # an answer that nobody asked for
            self.abort()
            return
        self._owner.answered(self, answer)

    def connection_lost(self, exc: Exception | None) -> None:
        """Of asyncio."""
        self._transport = None
        self._owner.ended(self)
