"""What stands before every page and every action: which hosts may be asked for, who may act, and what a page may load.

Promises that a request by a host name that is not ours is refused (so that no other site's name can be pointed here),
that whatever acts, the websocket of every page first of all, comes from a page of this very origin, and that every
answer carries a policy by which the browser loads from this origin alone and runs no script that is not part of it.

Two things the policy has to allow, because NiceGUI needs them: ``unsafe-eval``, since Vue compiles the templates of
components in the browser, and inline styles. Inline scripts run by a nonce that only those of NiceGUI's own page
template get. Knows nothing of pages.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from jinja2 import Environment
from jinja2.ext import Extension
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
SOCKET = "/_nicegui_ws/"
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-eval' 'nonce-{nonce}'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(self)",
}


class Nonces(Extension):
    """Gives the scripts that stand in a template, and no others, the nonce of their request."""

    def __init__(self, environment: Environment):
        super().__init__(environment)

    def preprocess(self, source: str, name: str | None, filename: str | None = None) -> str:
        """The template's source with the nonce in every script of it."""
        return source.replace("<script", '<script nonce="{{ request.state.nonce }}"')


class Guard:
    """The outermost layer of the console.

    Args:
        app: what is guarded.
        names: of hosts by which it may be asked for, beside those of loopback; without ports, lower case.
    """

    def __init__(self, app: ASGIApp, names: Iterable[str]):
        self.app = app
        self._names = LOOPBACK | frozenset(names)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or let through with the policy."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _refuse(scope, receive, send, refusal)
            return
        nonce = secrets.token_urlsafe(16)
        scope.setdefault("state", {})["nonce"] = nonce

        async def answered(message: Message) -> None:
            if message["type"] == "http.response.start":
                told = HEADERS | {"content-security-policy": POLICY.format(nonce=nonce)}
                given = {name.lower() for name, _ in message["headers"]}
                if b"cache-control" not in given:
                    told["cache-control"] = "no-store"
                message["headers"] = [*message["headers"], *((k.encode(), v.encode()) for k, v in told.items())]
            await send(message)

        await self.app(scope, receive, answered)

    def _refusal(self, scope: Scope, headers: dict[bytes, str]) -> str | None:
        host = headers.get(b"host", "")
        if _name(host) not in self._names:
            return (
                f"{host[:80]!r} is no name of this console: ask for it by 127.0.0.1, or name it in [console] names "
                "of lepton.toml"
            )
        acts = scope["type"] == "websocket" or scope["method"] not in SAFE or scope["path"].startswith(SOCKET)
        if acts and not _same_origin(host, headers):
            return "this came from a page of another origin, and only pages of the console itself may act"
        return None


def _same_origin(host: str, headers: dict[bytes, str]) -> bool:
    """By the Origin, which browsers send with whatever can change something; by Sec-Fetch-Site where there is none."""
    origin = headers.get(b"origin")
    if origin is None:
        return headers.get(b"sec-fetch-site") == "same-origin"
    return urlsplit(origin).scheme in {"http", "https"} and urlsplit(origin).netloc.lower() == host.lower()


def _name(host: str) -> str:
    """A Host header without its port."""
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdigit() else host.lower()


async def _refuse(scope: Scope, receive: Receive, send: Send, words: str) -> None:
    if scope["type"] == "websocket":
        await WebSocket(scope, receive, send).close(4403, words[:100])
        return
    response: Any = PlainTextResponse(words + "\n", 403, HEADERS)
    await response(scope, receive, send)
