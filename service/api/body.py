"""The bytes of a body to a JSON value, and what a body says that it is.

Promises that a value has one meaning: UTF-8 without a byte order mark, no key twice, no NaN, no infinity, no number out
of range, no lone surrogate, no nesting that could exhaust a stack; anything else is refused, in time and memory that
grow with the body's length and no faster. Knows nothing of fields.
"""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import Request
from starlette.datastructures import Headers

from core.errors import MalformedRequest, TooLarge, UnsupportedMedia

JSON = "application/json"
WINDOW = 2**16  # bytes of text that are taken apart at a time; a body as short as that has no part too many
MOST_PARTS = 2**18  # lists and objects of a body: an empty one takes 3 bytes to send, and 64 and more to hold
MOST_TEXTS = 2**20

_decode = msgspec.json.Decoder().decode


def parse(data: bytes) -> Any:
    """The JSON value in ``data``; about 2 µs more than the decoder alone for a body of 400 bytes.

    Raises:
        MalformedRequest: it is no JSON, or JSON that readers would not agree upon.
        TooLarge: it has so many parts that it would take many times its length to hold.
    """
    if len(data) > WINDOW:
        _, objects, lists, texts = _written(data)
        if objects + lists > MOST_PARTS or texts > MOST_TEXTS:
            raise TooLarge(
                f"the body has more than {MOST_PARTS} lists and objects, or {MOST_TEXTS} texts",
                "send several requests, or tensors as flat lists",
            )
    try:
        value = _decode(data)
    except RecursionError:
        raise MalformedRequest("the body is not valid JSON: it is nested too deeply", "send what /docs shows") from None
    except (msgspec.DecodeError, ValueError) as error:  # the latter where text is not UTF-8
        why = "it is not UTF-8" if isinstance(error, UnicodeError) else str(error)[:200]
        raise MalformedRequest(f"the body is not valid JSON: {why}", "send one JSON object, in UTF-8") from None
    if _has_twice(value, data):
        raise MalformedRequest("the body has an object with the same key twice", "send every key once")
    return value


def media_type(headers: Headers) -> str:
    """The content type without its parameters, in small letters; empty where there is none."""
    stated = ",".join(headers.getlist("content-type"))  # of two, neither counts
    return stated.partition(";")[0].strip().lower()


def check_type(headers: Headers, *taken: str) -> None:
    """Let a body of one of these content types through.

    Raises:
        UnsupportedMedia: it is of another, or does not say.
    """
    kind = media_type(headers)
    if kind not in taken:
        raise UnsupportedMedia(
            f"the content type is {kind[:80]!r}", f"send {' or '.join(taken)}, and say so in the header Content-Type"
        )


async def json_of(request: Request) -> bytes:
    """The body of a request that says that it is JSON. Raises as ``check_type``."""
    check_type(request.headers, JSON)
    return await request.body()


def _has_twice(value: Any, text: bytes) -> bool:
    """Whether an object has a key twice: fewer pairs are held than were written.

    No more pairs are written than there are colons, nor more objects than braces, those within texts included. So where
    as many pairs are held as there are colons, none was lost; else they are counted outside of texts.
    """
    colons = text.count(b":")
    if colons < 2 or _held(value, text.count(b"{")) == colons:
        return False
    pairs, objects, _, _ = _written(text)
    return pairs > 1 and _held(value, objects) != pairs


def _written(text: bytes) -> tuple[int, int, int, int]:
    """How many pairs, objects, lists and texts are written in JSON: colons, braces and brackets outside of texts."""
    if b"\\" in text:  # escapes begin at the first of a run of backslashes, so that pairs can be taken from the left
        text = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    pairs = objects = lists = quotes = 0
    for start in range(0, len(text), WINDOW):
        pieces = text[start : start + WINDOW].split(b'"')
        outside = b"".join(pieces[quotes % 2 :: 2])
        pairs += outside.count(b":")
        objects += outside.count(b"{")
        lists += outside.count(b"[")
        quotes += len(pieces) - 1
    return pairs, objects, lists, quotes // 2


def _held(value: Any, objects: int) -> int:
    """How many pairs the first so many objects of ``value`` hold."""
    pairs = 0
    waiting: list[Any] = [value] if objects else []
    while waiting and objects:
        held = waiting.pop()
        if type(held) is dict:
            pairs += len(held)
            objects -= 1
            if not objects:
                break
            held = held.values()
        waiting += [each for each in held if type(each) is dict or type(each) is list]
    return pairs
