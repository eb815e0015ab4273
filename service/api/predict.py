"""``POST /v1/scenes/{scene}/predict``: instances in, answers out, all by one snapshot.

The application calls ``serve`` itself, before any router: what a framework does for a request costs more than a small
model. The route below stands for it in the API's page. Promises that a request which cannot be answered in time is
refused before its body is read, and that a bad instance among several answers with its own error in its place. Knows
nothing of how features or answers are computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import parse_qs

import msgspec
from fastapi import APIRouter, Header, Query
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from core.errors import InvalidInput, LeptonError, UnsupportedMedia
from core.preprocess import modality
from core.types import Scene
from service.answering import Answered, Asked, Outcome, answer
from service.api import body, multipart
from service.api.access import context_in
from service.api.entrance import DEADLINE, admitted, limit
from service.api.errors import told
from service.api.schemas import ANSWER, PredictIn, documented, parse
from service.context import Context
from service.engine.answer import Verdict
from service.engine.snapshot import Snapshot
from service.keys import HEADER, check_key, example_key
from service.tracing import NOT_TRACED, SCOPE, VERSION, Trace

router = APIRouter(tags=["predict"])

BEFORE, AFTER = "/v1/scenes/", "/predict"
BYTES = "application/octet-stream"  # a file of the scene's modality, whatever it is
UTF8 = ("", "utf-8", "utf8", "us-ascii")  # values of charset
INLINE_JSON = 2**16  # bytes of JSON that are taken apart in the event loop; more go to a thread
RAW = ("image/jpeg", "image/png", "image/webp", "audio/wav", "audio/flac", "text/plain", BYTES)
EXTRA = documented(PredictIn)
EXTRA["requestBody"]["content"] |= {kind: {"schema": {"type": "string", "format": "binary"}} for kind in RAW}
EXTRA["responses"] = {"200": {"content": {body.JSON: {"schema": ANSWER}}}}
EXTRA["requestBody"]["content"] |= {multipart.TYPE: {"schema": multipart.SCHEMA}}

_encode = msgspec.json.Encoder().encode
_key_header = HEADER.lower().encode()
_PLAIN_JSON = [body.JSON.encode()]
Told = tuple[Sequence[Any], int | None, str | None]  # instances, top_k and key of a body
Headers = Sequence[tuple[bytes, bytes]]


class Call(NamedTuple):
    """What a request for predictions says before its body, whichever way it came: names of headers are in small
    letters."""

    scene: str
    query: bytes
    headers: Headers
    trace: Trace = NOT_TRACED


class Entry(NamedTuple):
    """A request that may be answered: its content type, its headers by their names, its deadline."""

    scene: Scene
    kind: str
    headers: Mapping[bytes, bytes]
    deadline: float


class Served(Response):
    """The answer of ``serve``, for the router."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        await serve(scope, receive, send)


@router.post(BEFORE + "{scene}" + AFTER, openapi_extra=EXTRA)
async def predict(
    scene: str,
    top_k: int | None = Query(None, ge=1),
    deadline: float | None = Header(None, gt=0, alias=DEADLINE, description="Seconds that an answer is worth."),
    key: str | None = Header(None, max_length=200, alias=HEADER),
) -> Response:
    """Answer one raw file or text, several files in a form, or several instances in JSON."""
    return Served()


def asked_for(scope: Scope) -> bool:
    """Whether a request is one for ``serve``; its scope then names the route and the scene."""
    path: str = scope["path"]
    if not (scope["method"] == "POST" and path.startswith(BEFORE) and path.endswith(AFTER)):
        return False
    scene = path[len(BEFORE) : -len(AFTER)]
    if not scene or "/" in scene:
        return False
    scope["path_params"] = {"scene": scene}
    scope["route"] = router.routes[0]
    return True


async def serve(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request for predictions. Raises as ``admit`` and ``said``."""
    context = context_in(scope["app"])
    call = Call(scope["path_params"]["scene"], scope["query_string"], scope["headers"], scope.get(SCOPE, NOT_TRACED))
    entry = admit(context, call)
    snapshot, data = await said(context, call, entry, await _received(receive))
    scope[VERSION] = snapshot.version
    await send({"type": "http.response.start", "status": 200, "headers": headers_of(data, context)})
    await send({"type": "http.response.body", "body": data})


def admit(context: Context, call: Call) -> Entry:
    """Look at a request before its body.

    Raises:
        LeptonError: there is no such scene, it does not take such a body, or there is no room or time.
    """
    headers = dict(call.headers)
    scene = context.engine.snapshot(call.scene).scene
    return Entry(scene, _stated(call.headers, scene), headers, admitted(context, scene, headers))


async def said(context: Context, call: Call, entry: Entry, data: bytes) -> tuple[Snapshot, bytes]:
    """The body of the answer to a request with this body, and what gave it.

    Raises:
        LeptonError: the request cannot be read, or its one instance cannot be answered.
    """
    scene, kind, headers, deadline = entry
    if kind == body.JSON and len(data) <= INLINE_JSON:
        instances, asked_k, asked_key = _json(data)
    else:
        instances, asked_k, asked_key = await _told(context, kind, data, headers)
    limit(context, scene, headers, len(instances))
    top_k = asked_k or _top_k(call.query)
    key = check_key(asked_key or headers.get(_key_header, b"").decode("latin-1"))
    routed = context.engine.route(scene.name, key, example_key(instances, scene, context.home.limits))
    snapshot, outcomes = await answer(context, routed, Asked(instances, len(data), deadline, top_k, call.trace))
    if len(outcomes) == 1 and isinstance(outcomes[0], LeptonError):
        raise outcomes[0]
    return snapshot, _encode(_body(snapshot, outcomes))


def headers_of(data: bytes, context: Context) -> Headers:
    """The headers of an answer with this body."""
    return [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(data)),
        (b"lepton-worker", context.worker.encode()),
    ]


def _stated(headers: Headers, scene: Scene) -> str:
    """The content type.

    Raises:
        UnsupportedMedia: the scene does not take it, or there are several.
    """
    stated = [value for name, value in headers if name == b"content-type"]
    if stated == _PLAIN_JSON:
        return body.JSON
    kind, _, rest = stated[0].decode("latin-1").partition(";") if len(stated) == 1 else ("", "", "")
    kind = kind.strip().lower()
    if kind in {body.JSON, multipart.TYPE}:
        return kind
    media = (*modality(scene.modality).MEDIA, BYTES)
    charset = rest.partition("charset=")[2].partition(";")[0].strip(' "').lower()
    if kind not in media or charset not in UTF8:
        raise UnsupportedMedia(
            f"the content type is {kind[:80]!r}{f' in {charset[:40]}' if charset else ''}",
            f"send {body.JSON}, {multipart.TYPE}, or one {scene.modality} as {', '.join(media)}",
        )
    return kind


def _top_k(query: bytes) -> int | None:
    if not query:
        return None
    (told,) = parse_qs(query.decode("latin-1"), keep_blank_values=True).get("top_k", [""])[-1:]
    if not told:
        return None
    if not (told.isascii() and told.isdigit()) or len(told) > multipart.LONGEST or int(told) < 1:
        raise InvalidInput(f"top_k is {told[:40]!r}", "send a whole number above zero")
    return int(told)


async def _received(receive: Receive) -> bytes:
    """The whole body; Edge has capped it."""
    chunks: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _told(context: Context, kind: str, data: bytes, headers: Mapping[bytes, bytes]) -> Told:
    """What the body has, taken apart in a thread."""
    if kind == body.JSON:
        return await context.decode(_json, data)
    if kind == multipart.TYPE:
        most = context.home.settings.serve.max_instances
        form = await context.decode(multipart.read, data, headers[b"content-type"].decode("latin-1"), most)
        return form.instances, form.top_k, None
    return [data], None, None


def _json(data: bytes) -> Told:
    """Instances, ``top_k`` and ``key``; the schema is asked where there is more than instances, or less."""
    told = body.parse(data)
    if type(told) is dict and len(told) == 1 and type(told.get("instances")) is list and told["instances"]:
        return told["instances"], None, None
    asked = parse(PredictIn, data)
    return asked.instances, asked.top_k, asked.key


def _body(snapshot: Snapshot, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    told = {
        "scene": snapshot.scene.name,
        "version": snapshot.version,
        "revision": snapshot.revision,
        "sequence": snapshot.sequence,
        "predictions": [_outcome(snapshot, outcome) for outcome in outcomes],
    }
    return told | {"fallback": True} if snapshot.fallback else told


def _outcome(snapshot: Snapshot, outcome: Outcome) -> dict[str, Any]:
    if not isinstance(outcome, Answered):
        return told(outcome)
    answered = {"prediction_id": outcome.prediction_id} | outcome.verdict.told()
    if outcome.verdict.further:
        answered["tasks"] = _tasks(snapshot, outcome.verdict)
    flags = outcome.ready.row.flags
    return answered | {"flags": flags} if flags else answered


def _tasks(snapshot: Snapshot, verdict: Verdict) -> dict[str, Any]:
    """Every task's answer by its name, the first task's too."""
    answers = {snapshot.scene.task_name: verdict, **verdict.further}
    return {
        name: each.told() | ({"fallback": True} if snapshot.falls_back(name) else {}) for name, each in answers.items()
    }
