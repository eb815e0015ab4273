"""Identifiers: time-ordered UUIDs, prediction ids that name their scene, and what a scene may be called."""

from __future__ import annotations

import os
import re
import time

from core.errors import InvalidInput

SCENE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
PREDICTION = re.compile(r"(?P<scene>[a-z0-9][a-z0-9_-]{0,63}):[0-9a-f]{32}")
LONGEST = 200
DRAWN = 4096  # bytes asked of the system at a time: asking for each id would be the dearest part of a prediction

_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}
_pool: list[str] = []  # the last 20 digits of a UUID each; taken from by pop, which is atomic


def uuid7(now: float | None = None) -> str:
    """A UUID version 7 (RFC 9562) as 36 characters: 48 bits of milliseconds, then random bits."""
    text = _digits(now)
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def prediction_id(scene: str, now: float | None = None) -> str:
    """A fresh prediction id, ``scene:32 hexadecimal digits``: a label that overtakes its prediction is still placed."""
    return f"{scene}:{_digits(now)}"


def scene_of(prediction: str) -> str:
    """The scene that a prediction id names.

    Raises:
        InvalidInput: it is not a prediction id.
    """
    match = PREDICTION.fullmatch(prediction)
    if match is None:
        raise InvalidInput(
            f"prediction_id {prediction[:80]!r} is not one that this service gave out",
            "send the prediction_id of a predict answer, unchanged",
        )
    return match["scene"]


def check_scene(name: str) -> str:
    """The name itself, where it can name a scene.

    Raises:
        InvalidInput: it cannot.
    """
    if SCENE.fullmatch(name) is None:
        raise InvalidInput(
            f"scene name {name[:80]!r} cannot be used",
            "use 1 to 64 lower-case letters, digits, '-' and '_', beginning with a letter or digit",
        )
    return name


def check_identifier(name: str, value: str) -> str:
    """The value itself, where it can be an event id, annotator, source or subject.

    Raises:
        InvalidInput: it is empty, too long, or holds control characters.
    """
    if not value or len(value) > LONGEST or not value.isprintable():
        raise InvalidInput(f"{name} {value[:40]!r} cannot be used", f"send 1 to {LONGEST} printable characters")
    return value


def _digits(now: float | None) -> str:
    """The 32 digits of a UUID version 7."""
    return f"{int((time.time() if now is None else now) * 1000):012x}{_random()}"


def _random() -> str:
    """Version, variant and 74 bits that nobody else has, nor a fork of this process."""
    while True:
        try:
            return _pool.pop()
        except IndexError:
            drawn = os.urandom(DRAWN).hex()
            pieces = (drawn[place : place + 20] for place in range(0, len(drawn) - 19, 20))
            _pool.extend(f"7{piece[1:4]}{_VARIANT[piece[4]]}{piece[5:]}" for piece in pieces)


os.register_at_fork(after_in_child=_pool.clear)
