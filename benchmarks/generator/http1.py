"""As much of HTTP/1.1 as a load generator needs: requests made ahead as bytes, answers read by their length.

Promises that an answer is told only when it is complete, and that one which cannot be read so (no Content-Length) is
an error, never a guess. Knows nothing of loops or of time.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from typing import Any, NamedTuple

HOST = "127.0.0.1"
_END, _LENGTH, _CLOSE = b"\r\n\r\n", b"\r\ncontent-length:", b"\r\nconnection: close"


class Answer(NamedTuple):
    """One complete answer: ``head`` is the status line and the headers, ``last`` says that the server closes."""

    status: int
    head: bytes
    body: bytes
    last: bool


class Unreadable(ValueError):
    """What came is no answer with a Content-Length."""


def request(
    path: str, body: bytes = b"", kind: str = "application/json", headers: Mapping[str, str] | None = None
) -> bytes:
    """A request as it goes over the wire: POST where there is a body, GET otherwise.

    >>> request("/livez")
    b'GET /livez HTTP/1.1\\r\\nhost: 127.0.0.1\\r\\n\\r\\n'
    """
    lines = [f"{'POST' if body else 'GET'} {path} HTTP/1.1", f"host: {HOST}"]
    if body:
        lines += [f"content-type: {kind}", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def json_request(path: str, content: Any) -> bytes:
    """A POST of ``content`` as JSON."""
    return request(path, json.dumps(content, separators=(",", ":")).encode())


def read(data: bytes) -> Answer | None:
    """The answer that ``data`` is, or None where it is not complete.

    Raises:
        Unreadable: no HTTP/1 answer, no Content-Length, or more than one answer to one request.

    >>> read(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok").body
    b'ok'
    >>> read(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\no") is None
    True
    """
    end = data.find(_END)
    if end < 0:
        return None
    head = data[:end]
    folded = head.lower()
    at = folded.find(_LENGTH)
    if at < 0 or not folded.startswith(b"http/1."):
        raise Unreadable(f"an answer without a Content-Length: {head[:200]!r}")
    line_end = folded.find(b"\r\n", at + 2)
    length = int(folded[at + len(_LENGTH) : line_end if line_end > 0 else end])
    whole = end + len(_END) + length
    if len(data) < whole:
        return None
    if len(data) > whole:
        raise Unreadable(f"{len(data) - whole} bytes after the answer {head[:200]!r}")
    return Answer(int(head[9:12]), head, data[end + len(_END) :], _CLOSE in folded)


def ask(port: int, sent: bytes, seconds: float = 10.0) -> Answer:
    """One request over a connection of its own, waited for.

    Raises:
        OSError: nobody answers, or not in time. Unreadable: see :func:`read`.
    """
    with socket.create_connection((HOST, port), seconds) as connection:
        connection.sendall(sent)
        data = b""
        while more := connection.recv(65536):
            data += more
            if (answer := read(data)) is not None:
                return answer
    raise ConnectionError(f"the connection closed after {len(data)} bytes of an answer")
