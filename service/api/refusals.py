"""What is refused before a route is reached, and how a refusal looks on the wire.

Promises that the server's protocol and the layer around the routes refuse in the same words. Knows nothing of either.
"""

from __future__ import annotations

import json
from http import HTTPStatus

from core.errors import LeptonError, MalformedRequest, Unavailable
from service.api.errors import told

LATE = "lepton.late"  # in the state of a request whose body comes too slowly


class TooSlow(LeptonError):
    """A body that does not arrive in time."""

    code = "too_slow"
    status = 408


class AddressTooLong(LeptonError):
    """A path and query that nobody could mean."""

    code = "address_too_long"
    status = 414


class HeadTooLarge(LeptonError):
    """Headers that are too long, or too many."""

    code = "head_too_large"
    status = 431


class WrongVersion(LeptonError):
    """HTTP, but not 1.1 or 1.0."""

    code = "version_not_supported"
    status = 505


def too_slow() -> TooSlow:
    """A body that did not arrive in time."""
    return TooSlow("the body did not arrive in time", "send it faster, or in several requests")


def unreadable() -> MalformedRequest:
    """Bytes that are no HTTP request, or one that could be read in two ways."""
    return MalformedRequest("this is no valid HTTP/1.1 request", "let an HTTP client write it")


def crowded() -> Unavailable:
    """More connections, or requests on one of them, than are held."""
    return Unavailable("too many connections or requests are waiting", "send it again in a second")


def written(error: LeptonError) -> bytes:
    """The whole answer, as it goes over a connection that is closed after it."""
    body = json.dumps(told(error)).encode()
    again = "retry-after: 1\r\n" if error.status == 503 else ""
    head = (
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\n{again}connection: close\r\n\r\n"
    )
    return head.encode() + body
