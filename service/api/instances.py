"""One instance of a request to the bytes of its input.

Promises that nothing is ever fetched: bytes come with the request or not at all. Knows nothing of pictures.
"""

from __future__ import annotations

import binascii
from typing import Any

from core.errors import InvalidInput, TooLarge
from core.types import Scene

MODALITIES = ("image", "text", "audio", "features")


def bytes_of(told: Any, scene: Scene, most: int) -> bytes:
    """The input's bytes, of at most ``most``.

    Raises:
        InvalidInput: not of the scene's modality, a reference instead of content, or no base64.
        TooLarge: more bytes.
    """
    wanted = scene.modality
    remedy = f'send {{"{wanted}": {{"b64": "<base64 of the file>"}}}}'
    if not isinstance(told, dict):
        raise InvalidInput(f"an instance is an object, not {_kind(told)}", remedy)
    if set(told) != {wanted}:
        keys = ", ".join(sorted(str(key)[:40] for key in told)) or "nothing"
        raise InvalidInput(f"scene {scene.name!r} takes {wanted}; the instance has {keys}", remedy)
    content = told[wanted]
    if not isinstance(content, dict):
        raise InvalidInput(f"{wanted} is an object, not {_kind(content)}; nothing is fetched or opened", remedy)
    if set(content) != {"b64"} or not isinstance(content["b64"], str):
        keys = ", ".join(sorted(str(key)[:40] for key in content)) or "nothing"
        raise InvalidInput(f"{wanted} has {keys}; expected b64, a text; nothing is fetched", remedy)
    if len(content["b64"]) > (most + 2) // 3 * 4:
        raise TooLarge(f"the {wanted} has more than {most} bytes", "send a smaller file")
    try:
        return binascii.a2b_base64(content["b64"], strict_mode=True)
    except ValueError as error:  # binascii.Error, or a letter that is not ASCII
        raise InvalidInput(f"{wanted}.b64 is not base64: {error}", remedy) from None


def _kind(told: object) -> str:
    names = {str: "a text", list: "a list", bool: "true or false", type(None): "null"}
    return names.get(type(told), "a number")
