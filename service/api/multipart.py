"""``multipart/form-data`` (RFC 7578): files named ``instances`` and a field ``top_k``, as ``curl -F`` sends them.

Promises that nothing is written to a disk, that the file name and the content type of a part are not looked at, and
that a form which ends too early is refused. Knows nothing of pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from core.errors import InvalidInput, MalformedRequest, TooLarge

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

TYPE = "multipart/form-data"
FILES, TOP_K = "instances", "top_k"
LONGEST = 18  # digits of a number
REMEDY = "send files named instances, as curl -F instances=@a.jpg does, and perhaps top_k"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        FILES: {"type": "array", "items": {"type": "string", "format": "binary"}},
        TOP_K: {"type": "integer", "minimum": 1},
    },
    "required": [FILES],
}


@dataclass(frozen=True)
class Form:
    """What a form had: the bytes of its files, one at least, and its ``top_k``."""

    instances: list[bytes]
    top_k: int | None


def read(body: bytes, content_type: str, most: int) -> Form:
    """The form in ``body``, of at most ``most`` files.

    Raises:
        MalformedRequest: it is no such form, or not whole.
        InvalidInput: a field of another name, no file, or a ``top_k`` that is no number above zero.
        TooLarge: more files.
    """
    boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
    if not boundary:
        raise MalformedRequest(f"the content type {TYPE} states no boundary", "let the client write that header")
    reader = _Reader(most)
    try:
        MultipartParser(boundary, reader.callbacks()).write(body)
    except FormParserError as error:
        raise MalformedRequest(f"the form cannot be read: {error}", REMEDY) from None
    if not reader.ended:
        raise MalformedRequest("the form ends before its last boundary", "send the whole form")
    if not reader.files:
        raise InvalidInput(f"the form has no file named {FILES}", REMEDY)
    return Form([bytes(file) for file in reader.files], reader.top_k())


class _Reader:
    """Gathers parts; its methods are what the parser calls."""

    def __init__(self, most: int) -> None:
        self.files: list[bytearray] = []
        self.ended = False
        self._most = most
        self._texts: list[bytearray] = []  # of top_k
        self._name, self._value = bytearray(), bytearray()
        self._disposition = ""
        self._part = bytearray()

    def callbacks(self) -> MultipartCallbacks:
        """By the parser's names."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._placed,
            "on_part_data": self._data,
            "on_end": self._end,
        }

    def top_k(self) -> int | None:
        """The field, where it came.

        Raises:
            InvalidInput: it is no number above zero.
        """
        if not self._texts:
            return None
        text = bytes(self._texts[0])
        if not text.isdigit() or len(text) > LONGEST or int(text) < 1:
            raise InvalidInput(f"{TOP_K} is {text[:40]!r}", "send a whole number above zero")
        return int(text)

    def _begin(self) -> None:
        self._disposition = ""

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value.decode("latin-1")
        self._name, self._value = bytearray(), bytearray()

    def _placed(self) -> None:
        """The headers of a part are read: its name says where its bytes go."""
        kind, options = parse_options_header(self._disposition)
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if kind != b"form-data" or name not in {FILES, TOP_K}:
            raise InvalidInput(f"there is no field {name[:80]!r}", REMEDY)
        place = self.files if name == FILES else self._texts
        self._part = bytearray()
        place.append(self._part)
        if len(self.files) > self._most:
            raise TooLarge(f"the form has more than {self._most} files", "send several requests")
        if len(self._texts) > 1:
            raise InvalidInput(f"{TOP_K} comes twice", "send it once")

    def _data(self, data: bytes, start: int, end: int) -> None:
        self._part += data[start:end]

    def _end(self) -> None:
        self.ended = True
