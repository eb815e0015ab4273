"""The bytes of an example to what a model takes: one and the same code in training, in feedback and in serving.

An example is bytes, whatever it is: a picture's file, a text in UTF-8, a table's row as canonical JSON. Their SHA-256
is its identity everywhere. A modality is a file of ``core/modality`` with these names:

* ``PREPROCESSING``: names what reading does, in cache keys and manifests; counted up with any change of a value.
* ``KEY``: the field of an instance in JSON.
* ``MEDIA``: content types of a raw body that is one instance.
* ``sniff(data)``: the media type that the bytes show, by nothing but the bytes.
* ``from_json(content, limits)``: what a client wrote under ``KEY`` as bytes of the example; ``to_json(data)``: back.
* ``preprocessor(inputs, files, limits)``: the ``Preprocessor`` of a model with those inputs and those bundle files.

Promises that whatever the bytes, there is a row or a LeptonError. Knows nothing of models, of storage or of HTTP.
"""

from __future__ import annotations

import binascii
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from numpy.typing import NDArray

from core import plugins
from core.errors import InvalidInput, TooLarge
from core.types import Input

MODALITIES = "core.modality"
BOMB = 89_478_485  # pixels; Pillow's own warning line (Image.MAX_IMAGE_PIXELS): our cap may not lie above it

Inputs = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one example may cost; checked before memory is taken.

    Attributes:
        max_bytes: length of the example, as it comes.
        max_pixels: height times width of a picture, as the header states them.
        max_seconds: of a sound, as the header states them.
        max_characters: of a text.
    """

    max_bytes: int = 20_000_000
    max_pixels: int = 50_000_000
    max_seconds: float = 600.0
    max_characters: int = 100_000

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.max_bytes < 1:
            raise ValueError(f"max_bytes is {self.max_bytes}; expected at least 1")
        if not 1 <= self.max_pixels <= BOMB:
            raise ValueError(f"max_pixels is {self.max_pixels}; expected 1 to {BOMB}")
        if not 0 < self.max_seconds < float("inf"):
            raise ValueError(f"max_seconds is {self.max_seconds}; expected more than 0")
        if self.max_characters < 1:
            raise ValueError(f"max_characters is {self.max_characters}; expected at least 1")


@dataclass(frozen=True)
class Row:
    """One example as a model takes it.

    Attributes:
        arrays: input name to array, without the batch axis.
        flags: what was out of the ordinary and what was defined for it: a word of ours (``missing``, ``unseen``,
            ``truncated`` …) to the names of the fields; told in the answer and counted.
    """

    arrays: Mapping[str, NDArray[Any]]
    flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


class Preprocessor(Protocol):
    """Reads examples for one model. Safe to call from several threads.

    Attributes:
        key: names everything that a row depends on beside the bytes, for caches and digests.
        files: what a bundle must hold to build this preprocessor again, by file name.
    """

    @property
    def key(self) -> str:
        """See above."""

    @property
    def files(self) -> Mapping[str, bytes]:
        """See above."""

    def read(self, data: bytes) -> Row:
        """One example.

        Raises:
            TooLarge, UnsupportedMedia, InvalidInput: as the modality says.
        """

    def batch(self, rows: Sequence[Row]) -> Inputs:
        """Rows as inputs of one run, (B, …) each, in one copy."""

    def blank(self) -> Row:
        """Some valid row, for warming up."""


def plain(preprocessor: Preprocessor, content: object) -> Row | None:
    """The very row of what a client wrote in JSON, without its bytes in between; None where only ``read`` can say.

    A preprocessor for which that is much quicker offers a method ``plain`` of the content alone, for what is usual.
    """
    offered: Callable[[object], Row | None] | None = getattr(preprocessor, "plain", None)
    return None if offered is None else offered(content)


class Modality(Protocol):
    """A file of ``core/modality``, as its users see it; see the top of this module."""

    PREPROCESSING: str
    KEY: str
    MEDIA: tuple[str, ...]

    def sniff(self, data: bytes) -> str:
        """The media type of the bytes."""

    def from_json(self, content: object, limits: Limits) -> bytes:
        """The bytes of what a client wrote."""

    def to_json(self, data: bytes) -> object:
        """What a client would have written."""

    def preprocessor(self, inputs: Mapping[str, Input], files: Mapping[str, bytes], limits: Limits) -> Preprocessor:
        """The preprocessor of a model."""


@functools.cache
def modality(name: str) -> Modality:
    """A modality by its name, or a mixture of several, sorted and joined by +.

    Raises:
        LookupError: there is none of that name; the message lists the choices.
    """
    if "+" in name:
        from core.mixture import Mixture  # made of modalities, so it comes after them

        return Mixture(name)
    return cast("Modality", plugins.load(MODALITIES, name))


def keys(name: str) -> tuple[str, ...]:
    """The fields that an instance of a modality may have: one, or those of a mixture's parts, one of which is there.

    A mixture's ``from_json`` and ``to_json`` take and give the whole object.
    """
    return tuple(modality(part).KEY for part in name.split("+"))


def from_base64(content: object, key: str, limits: Limits) -> bytes:
    """The bytes in ``{"b64": …}``, the form in which a file stands in JSON.

    Raises:
        InvalidInput: another form; nothing is ever fetched or opened. TooLarge: more bytes than the limit.
    """
    remedy = f'send {{"{key}": {{"b64": "<base64 of the file>"}}}}'
    if not isinstance(content, dict):
        raise InvalidInput(f"{key} is {kind_of(content)}, not an object; nothing is fetched or opened", remedy)
    if set(content) != {"b64"} or not isinstance(content["b64"], str):
        keys = ", ".join(sorted(str(name)[:40] for name in content)) or "nothing"
        raise InvalidInput(f"{key} has {keys}; expected b64, a text; nothing is fetched", remedy)
    if len(content["b64"]) > (limits.max_bytes + 2) // 3 * 4:
        raise TooLarge(f"the {key} has more than {limits.max_bytes} bytes", "send a smaller file")
    try:
        return binascii.a2b_base64(content["b64"], strict_mode=True)
    except ValueError as error:  # binascii.Error, or a letter that is not ASCII
        raise InvalidInput(f"{key}.b64 is not base64: {error}", remedy) from None


def to_base64(data: bytes) -> dict[str, str]:
    """The inverse of ``from_base64``."""
    return {"b64": binascii.b2a_base64(data, newline=False).decode()}


def kind_of(content: object) -> str:
    """What JSON calls a value, for messages."""
    names = {dict: "an object", str: "a text", list: "a list", bool: "true or false", type(None): "null"}
    return names.get(type(content), "a number")
