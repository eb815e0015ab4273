"""Bytes of a text to token ids, the same in training and in serving.

Promises that any bytes whatever give ids or a LeptonError, in time that grows with the length alone; and that the ids
of a text do not depend on its neighbours. Every modality file offers the names of ``core.preprocess``. Knows nothing
of models, files or HTTP.

What is defined: UTF-8, a byte order mark skipped; Unicode's form NFC, of more than 30 combining marks in a row the
first 30; control characters are spaces, runs of spaces one, none at the ends. A text of more tokens than a window has
further windows, which overlap; the model pools them. One of more tokens than all windows keeps its beginning.

Flags: ``truncated`` (longer than its windows cover).

Legend: B batch, W windows, L tokens of a window, filled up to a bucket.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from tokenizers import Tokenizer

from core.errors import BrokenBundle, InvalidInput, TooLarge, UnsupportedMedia
from core.preprocess import Inputs, Limits, Row, kind_of
from core.types import Input

# Names what `normalise` and reading do in cache keys and manifests: count it up with any change of an id.
PREPROCESSING = "text/1"
KEY = "text"
MEDIA = ("text/plain",)
TOKENIZER, FILE = "tokenizer.json", "text.json"  # in the bundle; the second is a `Reading`
IDS, MASK = "input_ids", "attention_mask"

_BUCKETS = (16, 32, 64, 128, 256, 512)  # lengths that windows are filled up to: few shapes, little waste
_MARKS = 30  # combining marks in a row, as in Unicode's stream-safe format: sorting more of them takes their square
_CHARACTERS = 16  # a token stands for at most so many on the average; what lies beyond all windows is cut before
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What a model reads of a text; ``text.json`` in the bundle.

    Attributes:
        tokens: of a window, marks of beginning and end included. overlap: tokens that two windows share.
        windows: of one text. pad: the id that windows are filled up with. special: whether the tokenizer's marks of
            beginning and end are added.
    """

    tokens: int = 256
    overlap: int = 32
    windows: int = 4
    pad: int = 0
    special: bool = True

    def __post_init__(self) -> None:
        """Check types and ranges: the values may come from a file."""
        if type(self.special) is not bool:
            raise ValueError(f"special is {self.special!r}; expected true or false")
        for name, low, high in (("tokens", 8, 512), ("overlap", 0, 256), ("windows", 1, 64), ("pad", 0, 2**31)):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise ValueError(f"{name} is {value!r}; expected a whole number from {low} to {high}")
        if self.overlap > self.tokens // 2:
            raise ValueError(f"overlap is {self.overlap}; expected at most half of the {self.tokens} tokens")

    @property
    def characters(self) -> int:
        """How much of a text is looked at."""
        return self.tokens * self.windows * _CHARACTERS

    def to_bytes(self) -> bytes:
        """As the bundle's file."""
        return json.dumps(asdict(self), sort_keys=True).encode()


def sniff(data: bytes) -> str:
    """``text/plain`` for bytes in UTF-8.

    Raises:
        UnsupportedMedia: anything else.

    >>> sniff("naïve".encode())
    'text/plain'
    """
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise UnsupportedMedia(
            f"the {len(data)} bytes are not UTF-8 text: byte {error.start} is {data[error.start]:#04x}",
            "send text in UTF-8",
        ) from None
    return "text/plain"


def decode(data: bytes, limits: Limits) -> str:
    """The text, normalised, and not empty.

    Raises:
        TooLarge: more bytes or characters than ``limits``; InvalidInput: not UTF-8, or nothing to read in it.
    """
    if len(data) > limits.max_bytes:
        raise TooLarge(
            f"the text has {len(data)} bytes; at most {limits.max_bytes} are accepted", "send a shorter text"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(
            f"the text is not UTF-8: byte {error.start} is {data[error.start]:#04x}", "send text in UTF-8"
        ) from None
    if len(text) > limits.max_characters:
        raise TooLarge(
            f"the text has {len(text)} characters; at most {limits.max_characters} are accepted",
            "send a shorter text, or raise max_text_characters",
        )
    text = normalise(text)
    if not text:
        raise InvalidInput("the text is empty", "send at least one character that can be seen")
    return text


def normalise(text: str) -> str:
    """The one spelling of a text; what is normal stays as it is.

    >>> normalise("  two\\n words\\x00")
    'two words'
    """
    if not text.isascii():
        text = unicodedata.normalize("NFC", _fewer_marks(text))
    return " ".join(_CONTROL.sub(" ", text).split())


def from_json(content: object, limits: Limits) -> bytes:
    """A text as its UTF-8.

    Raises:
        InvalidInput: no text, or one with half of a surrogate pair; TooLarge: longer than the limit.
    """
    if not isinstance(content, str):
        raise InvalidInput(f"{KEY} is {kind_of(content)}, not a text", f'send {{"{KEY}": "..."}}')
    if len(content) > limits.max_characters:
        raise TooLarge(
            f"the text has {len(content)} characters; at most {limits.max_characters} are accepted",
            "send a shorter text, or raise max_text_characters",
        )
    try:
        return content.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(
            f"the text holds half of a surrogate pair, {content[error.start]!r}, at {error.start}",
            "send valid Unicode: such a character comes as a pair, or not at all",
        ) from None


def to_json(data: bytes) -> object:
    """The text; bytes that are none with marks of replacement."""
    return data.decode(errors="replace")


class TextPreprocessor:
    """Texts as ``input_ids`` and ``attention_mask``, (B, W, L) int64; windows that a text does not have are masked."""

    def __init__(self, tokenizer: bytes, reading: Reading, limits: Limits) -> None:
        """Raises BrokenBundle where ``tokenizer`` is no tokenizer.json."""
        self.files: Mapping[str, bytes] = {TOKENIZER: tokenizer, FILE: reading.to_bytes()}
        told = hashlib.sha256(b"\0".join(self.files.values())).hexdigest()
        self.key = f"{PREPROCESSING}/{told}"
        self.reading = reading
        self._limits = limits
        self._tokenizer = _tokenizer(tokenizer)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(reading.tokens, stride=reading.overlap)

    def read(self, data: bytes) -> Row:
        """One text. Raises as ``decode``."""
        text = decode(data, self._limits)
        cut = len(text) > self.reading.characters
        first = self._tokenizer.encode(text[: self.reading.characters], add_special_tokens=self.reading.special)
        windows = [first.ids, *(more.ids for more in first.overflowing)]
        cut = cut or len(windows) > self.reading.windows
        windows = windows[: self.reading.windows]
        length = _bucket(max(map(len, windows)), self.reading.tokens)
        ids_WL = np.full((len(windows), length), self.reading.pad, np.int64)
        mask_WL = np.zeros((len(windows), length), np.int64)
        for place, ids in enumerate(windows):
            ids_WL[place, : len(ids)] = ids
            mask_WL[place, : len(ids)] = 1
        return Row({IDS: ids_WL, MASK: mask_WL}, {"truncated": (KEY,)} if cut else {})

    def batch(self, rows: Sequence[Row]) -> Inputs:
        """Texts side by side, each filled up to the most windows and the longest bucket among them."""
        shapes = [row.arrays[IDS].shape for row in rows]
        shape = (len(rows), max(w for w, _ in shapes), max(length for _, length in shapes))
        ids_BWL, mask_BWL = np.full(shape, self.reading.pad, np.int64), np.zeros(shape, np.int64)
        for place, (row, (windows, length)) in enumerate(zip(rows, shapes, strict=True)):
            ids_BWL[place, :windows, :length] = row.arrays[IDS]
            mask_BWL[place, :windows, :length] = row.arrays[MASK]
        return {IDS: ids_BWL, MASK: mask_BWL}

    def blank(self) -> Row:
        """The letter a."""
        return self.read(b"a")


def preprocessor(inputs: Mapping[str, Input], files: Mapping[str, bytes], limits: Limits) -> TextPreprocessor:
    """The preprocessor of a model whose bundle holds ``tokenizer.json`` and ``text.json``.

    Raises:
        BrokenBundle: a file is missing or damaged, or the model takes no token ids.
    """
    remedy = "use a bundle of lepton export"
    missing = {TOKENIZER, FILE} - files.keys()
    if missing:
        raise BrokenBundle(f"the bundle of a model that reads has no {' and no '.join(sorted(missing))}", remedy)
    for name in (IDS, MASK):
        if name not in inputs or inputs[name].shape != (None, None) or inputs[name].dtype != np.int64:
            raise BrokenBundle(f"the model takes {sorted(inputs)}; expected {IDS} and {MASK} of free shape", remedy)
    try:
        reading = Reading(**json.loads(files[FILE]))
    except (ValueError, TypeError, RecursionError) as error:
        raise BrokenBundle(f"{FILE} of the bundle cannot be used: {error}", remedy) from None
    return TextPreprocessor(files[TOKENIZER], reading, limits)


def _tokenizer(data: bytes) -> Tokenizer:
    try:
        return Tokenizer.from_str(data.decode())
    except Exception as error:  # tokenizers raises bare Exception, and UnicodeDecodeError may come before it
        raise BrokenBundle(
            f"{TOKENIZER} of the bundle cannot be used: {str(error)[:200]}", "use a bundle of lepton export"
        ) from None


def _bucket(length: int, most: int) -> int:
    return min(next((bucket for bucket in _BUCKETS if bucket >= length), most), most)


def _fewer_marks(text: str) -> str:
    """Without combining marks beyond 30 in a row."""
    kept: list[str] = []
    run = 0
    for letter in text:
        run = run + 1 if unicodedata.combining(letter) else 0
        if run <= _MARKS:
            kept.append(letter)
    return "".join(kept)
