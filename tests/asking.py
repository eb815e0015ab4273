"""Asking the service over HTTP, and looking at how it refuses.

A client is httpx's, or that of starlette's tests, which is built on another package of the same interface.
"""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np

from tests import pico

PNG = {"content-type": "image/png"}
MOST = 2**20  # bytes of a body, in the tests


def predicted(client: Any, number: int, label: str = "circle", scene: str = "shapes") -> dict[str, Any]:
    answer = client.post(f"/v1/scenes/{scene}/predict", content=pico.picture(label, number), headers=PNG)
    assert answer.status_code == 200, answer.text
    (first,) = answer.json()["predictions"]
    return dict(first)


def instance(data: bytes) -> dict[str, Any]:
    return {"image": {"b64": base64.b64encode(data).decode()}}


def refused(answer: Any, status: int, code: str, *words: str) -> None:
    """It is an error of that status and code, in the one form, with these words in its message or remedy."""
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert list(answer.json()) == ["error"]
    assert error["code"] == code
    assert error["message"]
    assert error["remedy"]
    for word in words:
        assert word in error["message"] + error["remedy"], error


def bomb() -> bytes:
    """A PNG that states 30,000 × 30,000 pixels."""
    small = pico.png(np.zeros((1, 1, 3), np.uint8))
    header = (30_000).to_bytes(4, "big") * 2 + small[24:29]
    return small[:16] + header + zlib.crc32(b"IHDR" + header).to_bytes(4, "big") + small[33:]
