"""What an example is called, whichever way it came: the SHA-256 of its bytes.

Promises that the same content has the same name. A row that was read without its bytes has none until somebody asks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from numpy.typing import NDArray

from core.preprocess import Limits, modality

_LIMITS = Limits()


class Known(NamedTuple):
    """What is known of an example beside its content.

    Attributes:
        example: its identity, a SHA-256 in hex.
        media: of its bytes, and ``data``, the bytes; "" and None where it came as tensors.
    """

    example: str
    media: str = ""
    data: bytes | None = None


class Content(NamedTuple):
    """What a client wrote of an example in JSON, found good, whose bytes nobody has asked for yet."""

    modality: str
    told: Any

    def known(self) -> Known:
        """Make its bytes."""
        return known(self.modality, modality(self.modality).from_json(self.told, _LIMITS))


def known(name: str, data: bytes) -> Known:
    """What is known of the bytes of an example of the modality of that name."""
    return Known(digest(data), modality(name).sniff(data), data)


def digest(data: bytes) -> str:
    """The identity of an example: SHA-256 (hex) of its bytes."""
    return hashlib.sha256(data).hexdigest()


def digest_of_tensors(arrays: Mapping[str, NDArray[Any]]) -> str:
    """The identity of an example that came as tensors: SHA-256 (hex) of their types, shapes and bytes.

    The shape stands first, because the bytes of a wide picture may be those of a high one. A picture's has no name in
    it, as in the versions before there were other tensors.
    """
    told = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        shape = "x".join(str(length) for length in array.shape)
        named = "" if name == "image" else f"{name} "
        told.update(f"{named}{array.dtype} {shape}\n".encode() + array.tobytes())
    return told.hexdigest()
