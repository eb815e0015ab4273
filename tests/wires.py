"""Raw connections to the service, for saying what no HTTP client would say, and for hearing all that comes back.

Promises that nothing waits for ever: whatever does not come within ``PATIENCE`` seconds fails the test. Knows nothing
of what a right answer is.
"""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

PATIENCE = 20.0


@dataclass(frozen=True)
class Reply:
    """One answer of a connection."""

    status: int
    headers: dict[str, str]
    body: bytes

    def code(self) -> str:
        """The code of its error."""
        told: dict[str, Any] = json.loads(self.body)["error"]
        assert told["message"]
        assert told["remedy"]
        return str(told["code"])


class Wire:
    """One connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self._held = b""

    def send(self, data: bytes) -> int:
        """Send as much as the other side takes; how many bytes it took before it cut the connection."""
        view, sent = memoryview(data), 0
        try:
            while sent < len(data):
                sent += self.socket.send(view[sent : sent + 2**16])
        except (BrokenPipeError, ConnectionResetError):
            pass
        return sent

    def reply(self) -> Reply:
        """The next answer; it states its length."""
        head = self._until(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.split(": ", 1) for line in lines if line)
        headers = {name.lower(): value for name, value in pairs}
        return Reply(int(first.split()[1]), headers, self._exactly(int(headers["content-length"])))

    def closed(self) -> bool:
        """Whether the other side ends the connection without another byte."""
        try:
            return not self._held and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def half_close(self) -> None:
        """Say that nothing more will be sent, to whoever still listens."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """End it."""
        self.socket.close()

    def reset(self) -> None:
        """Cut it, with a reset instead of an end."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._held:
            self._more()
        found, _, self._held = self._held.partition(mark)
        return found

    def _exactly(self, length: int) -> bytes:
        while len(self._held) < length:
            self._more()
        found, self._held = self._held[:length], self._held[length:]
        return found

    def _more(self) -> None:
        came = self.socket.recv(2**16)
        assert came, f"the connection ended after {self._held!r}"
        self._held += came


@contextmanager
def wire(port: int) -> Iterator[Wire]:
    """A connection that ends with the block."""
    opened = Wire(port)
    try:
        yield opened
    finally:
        opened.close()


def request(path: str, *headers: str, method: str = "POST", body: bytes = b"", version: str = "1.1") -> bytes:
    """The bytes of a request; its length is stated where there is a body."""
    lines = [f"{method} {path} HTTP/{version}", "host: a", *headers]
    lines += [f"content-length: {len(body)}"] if body else []
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
