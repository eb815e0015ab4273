"""A row of a table to the numbers and indexes that a model takes, the same in training and in serving.

Promises that any bytes whatever give a row or a LeptonError that names the column. Every modality file offers the names
of ``core.preprocess``. Knows nothing of models, of how a schema is inferred, or of HTTP.

An example is one JSON object, column to value. What is defined, and flagged: a value that is ``missing`` (no column,
null, a text of white space), a category that training did not have or had once (``unseen``), a number outside the range
of the training rows (``out_of_range``; a model takes the nearer end). What is refused: a column that the schema does
not have, since a misspelt name would otherwise pass for a missing value; a text or true and false where a number
belongs, also ``"1"``; what is no ISO 8601 date where a date belongs; lists and objects; NaN and 1e999.
Numbers are float32 for the model: seven digits.

Legend: B batch, N numbers, C categorical columns.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from operator import ge, le
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from core.errors import BrokenBundle, InvalidInput, TooLarge, UnsupportedMedia
from core.preprocess import Inputs, Limits, Row, kind_of
from core.schema import (
    FILE,
    FIRST,
    LARGEST,
    LONGEST,
    MISSING,
    PARTS,
    UNSEEN,
    Categorical,
    Column,
    Date,
    Numeric,
    Schema,
    canonical,
    from_bytes,
    shown,
)
from core.types import Input

# Names what reading a row does in cache keys and manifests: count it up with any change of a value.
PREPROCESSING = "tabular/1"
KEY = "features"
MEDIA: tuple[str, ...] = ()  # a row has no media type of its own: it comes as JSON
NUMERIC, CATEGORICAL = "numeric", "categorical"  # inputs of the model
ABSENT, UNKNOWN, OUT_OF_RANGE = "missing", "unseen", "out_of_range"  # flags

_CELLS = msgspec.json.Decoder(dict[str, str | float | bool | None])
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}(?!\d)", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = 86_400.0  # seconds
_SEND = 'send {"features": {"column": value, ...}}'
_NAN = math.nan
_NUMBERS = frozenset({int, float})
_DIGITS = 30  # of a number in JSON, at most


def sniff(data: bytes) -> str:
    """The media type that the bytes show: ``application/json``.

    Raises:
        UnsupportedMedia: anything but an object.

    >>> sniff(b'{"age":31}')
    'application/json'
    """
    if data[:1] == b"{" and data[-1:] == b"}":
        return "application/json"
    raise UnsupportedMedia(f"the {len(data)} bytes beginning {data[:8]!r} are not a row of a table", _SEND)


def from_json(content: object, limits: Limits) -> bytes:
    """The canonical bytes of an object of columns. Raises as ``core.schema.canonical``, and TooLarge."""
    if not isinstance(content, dict):
        raise InvalidInput(f"{KEY} is {kind_of(content)}, not an object", _SEND)
    data = canonical(content)
    if len(data) > limits.max_bytes:
        raise TooLarge(f"{KEY} has {len(data)} bytes; at most {limits.max_bytes} are accepted", "send a smaller row")
    return data


def to_json(data: bytes) -> object:
    """The object of columns. Raises InvalidInput where the bytes are none."""
    return dict(_cells(data))


def dated(text: str) -> tuple[float, float, float, float] | None:
    """The ``PARTS`` of an ISO 8601 date or time, None where it is none.

    >>> dated("1970-01-02T06:00")
    (1.25, 2.25, 4.25, 6.0)
    """
    if _ISO.match(text) is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    hour = moment.hour + moment.minute / 60 + moment.second / 3600
    share = hour / 24
    days = (moment - _EPOCH).total_seconds() / _DAY
    return days, moment.timetuple().tm_yday + share, moment.weekday() + share, hour


def spelled(value: str | float | bool) -> str:
    """A value as a category: true, false and numbers as JSON spells them.

    >>> spelled(2.0), spelled(True), spelled("x")
    ('2', 'true', 'x')
    """
    if isinstance(value, str):
        return value
    return canonical({"": value})[4:-1].decode()


class RowPreprocessor:
    """Rows of one schema as ``numeric`` (B, N) float32, NaN where missing, and ``categorical`` (B, C) int64.

    An input without columns is left out.
    """

    def __init__(self, schema: Schema, limits: Limits) -> None:
        data = schema.to_bytes()
        self.schema = schema
        self.files: Mapping[str, bytes] = {FILE: data}
        self.key = f"{PREPROCESSING}/{hashlib.sha256(data).hexdigest()[:32]}"
        self._limits = limits
        self._names = frozenset(column.name for column in schema.columns)
        self._readers = tuple((column.name, _READERS[type(column)](column)) for column in schema.columns)
        self._inputs = inputs_of(schema)
        self._plain = _plain(schema) if _longest(schema) <= limits.max_bytes else None

    def plain(self, content: object) -> Row | None:
        """The row of an object that has a number within its range, or a known category, for every column and no other;
        None for any other: what is odd, flagged or refused is for ``read`` to tell."""
        if self._plain is None or type(content) is not dict or len(content) != len(self._names):
            return None
        numbers, words = self._plain
        try:
            values = list(map(content.__getitem__, numbers.names))
            within = all(map(le, numbers.low, values)) and all(map(ge, numbers.high, values))
            indexes = [known[content[name]] for name, known in words]
        except (KeyError, TypeError):
            return None
        if not within or not _NUMBERS.issuperset(map(type, values)):
            return None
        arrays: dict[str, NDArray[np.generic]] = {}
        if values:
            arrays[NUMERIC] = np.array(values, np.float32)
        if words:
            arrays[CATEGORICAL] = np.array(indexes, np.int64)
        return Row(arrays)

    def read(self, data: bytes) -> Row:
        """One row.

        Raises:
            TooLarge: more bytes than accepted; InvalidInput: no row of this schema, with the column's name.
        """
        if len(data) > self._limits.max_bytes:
            raise TooLarge(
                f"the row has {len(data)} bytes; at most {self._limits.max_bytes} are accepted", "send a smaller row"
            )
        cells = _cells(data)
        if not cells.keys() <= self._names:
            raise _unknown(cells, self._names)
        numbers: list[float] = []
        words: list[int] = []
        flags: dict[str, list[str]] = {}
        for name, reader in self._readers:
            flag = reader(cells.get(name), numbers, words)
            if flag is not None:
                flags.setdefault(flag, []).append(name)
        arrays: dict[str, NDArray[np.generic]] = {}
        if NUMERIC in self._inputs:
            arrays[NUMERIC] = np.array(numbers, np.float32)
        if CATEGORICAL in self._inputs:
            arrays[CATEGORICAL] = np.array(words, np.int64)
        return Row(arrays, {flag: tuple(names) for flag, names in flags.items()})

    def batch(self, rows: Sequence[Row]) -> Inputs:
        """Rows one under another; -0 is 0, as the bytes of a row spell it."""
        inputs: Inputs = {name: np.array([row.arrays[name] for row in rows]) for name in self._inputs}
        if NUMERIC in inputs:
            inputs[NUMERIC] += 0
        return inputs

    def blank(self) -> Row:
        """A row of nothing but missing values."""
        return self.read(b"{}")


def preprocessor(inputs: Mapping[str, Input], files: Mapping[str, bytes], limits: Limits) -> RowPreprocessor:
    """The preprocessor of a model with ``schema.json`` beside it.

    Raises:
        BrokenBundle: there is no schema, it cannot be read, or the model takes other inputs than it describes.
    """
    if FILE not in files:
        raise BrokenBundle(f"there is no {FILE} beside the model", "use a bundle of lepton export")
    schema = from_bytes(files[FILE])
    wanted = inputs_of(schema)
    if {name: inputs.get(name) for name in (NUMERIC, CATEGORICAL) if name in inputs} != wanted:
        raise BrokenBundle(
            f"the model takes {_told(inputs)}; {FILE} describes {_told(wanted)}", "use a bundle of lepton export"
        )
    return RowPreprocessor(schema, limits)


def inputs_of(schema: Schema) -> dict[str, Input]:
    """What a model of that schema takes: ``numeric`` (N,) float32 and ``categorical`` (C,) int64, where not empty."""
    widths = {NUMERIC: (len(schema.numbers), np.float32), CATEGORICAL: (len(schema.categoricals), np.int64)}
    return {name: Input((width,), np.dtype(kind)) for name, (width, kind) in widths.items() if width}


class _Numbers(NamedTuple):
    """Columns of numbers, and the ends of their ranges."""

    names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def _plain(schema: Schema) -> tuple[_Numbers, list[tuple[str, dict[str, int]]]] | None:
    """What a row without oddities is read with: numbers, and indexes of words; None where there are dates."""
    if any(isinstance(column, Date) for column in schema.columns):
        return None
    numbers = [column for column in schema.columns if isinstance(column, Numeric)]
    names = tuple(column.name for column in numbers)
    ends = tuple(column.spread.low for column in numbers), tuple(column.spread.high for column in numbers)
    return _Numbers(names, *ends), [(column.name, _known(column)) for column in schema.categoricals]


def _known(column: Categorical) -> dict[str, int]:
    """Category to index, for those that a text can be as it is."""
    told = enumerate(column.categories, FIRST)
    return {word: index for index, word in told if word and len(word) <= LONGEST and word == word.strip()}


def _longest(schema: Schema) -> int:
    """More bytes than a row of numbers and known categories has."""
    return sum(
        6 * (len(column.name) + max(map(len, getattr(column, "categories", ())), default=0)) + _DIGITS
        for column in schema.columns
    )


Value = str | float | bool | None
Reader = Callable[[Value, list[float], list[int]], str | None]  # appends what the model takes, and gives the flag


def _number(column: Numeric) -> Reader:
    name, low, high = column.name, column.spread.low, column.spread.high

    def read(value: Value, numbers: list[float], words: list[int]) -> str | None:
        if type(value) is float:
            if low <= value <= high:
                numbers.append(value)
                return None
            numbers.append(min(max(value, -LARGEST), LARGEST))
            return OUT_OF_RANGE
        if value is None or (isinstance(value, str) and not value.strip()):
            numbers.append(_NAN)
            return ABSENT
        raise _wrong(name, value, "a number")

    return read


def _word(column: Categorical) -> Reader:
    index = {category: FIRST + k for k, category in enumerate(column.categories)}

    def read(value: Value, numbers: list[float], words: list[int]) -> str | None:
        if value is None:
            words.append(MISSING)
            return ABSENT
        word = value.strip() if isinstance(value, str) else spelled(value)
        if not word:
            words.append(MISSING)
            return ABSENT
        found = index.get(word, UNSEEN)
        words.append(found)
        return None if found else UNKNOWN

    return read


def _date(column: Date) -> Reader:
    name, low, high = column.name, column.spreads[0].low, column.spreads[0].high

    def read(value: Value, numbers: list[float], words: list[int]) -> str | None:
        text = value.strip() if isinstance(value, str) else value
        if text is None or text == "":
            numbers.extend([_NAN] * len(PARTS))
            return ABSENT
        parts = dated(text) if isinstance(text, str) else None
        if parts is None:
            raise _wrong(name, value, "a date or time as ISO 8601 writes it, such as 2026-01-31 or 2026-01-31T12:00")
        numbers.extend(parts)
        return None if low <= parts[0] <= high else OUT_OF_RANGE

    return read


_READERS: dict[type[Column], Callable[[Any], Reader]] = {Numeric: _number, Categorical: _word, Date: _date}


def _cells(data: bytes) -> dict[str, Value]:
    """Column to value; numbers as float."""
    try:
        return _CELLS.decode(data)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise InvalidInput(f"the {len(data)} bytes are no row of a table: {str(error)[:200]}", _SEND) from None


def _unknown(cells: Mapping[str, Value], names: frozenset[str]) -> InvalidInput:
    extra = sorted(cells.keys() - names)
    near = difflib.get_close_matches(extra[0][:60], [name[:60] for name in sorted(names)], n=1)
    told = ", ".join(shown(name) for name in extra[:5]) + (" …" if len(extra) > 5 else "")
    hint = f"did you mean {shown(near[0])}?" if near else f"known are {', '.join(map(shown, sorted(names)[:10]))}"
    return InvalidInput(f"the scene has no column {told}", f"leave it out; {hint}")


def _wrong(name: str, value: Value, expected: str) -> InvalidInput:
    seen = f"the text {shown(value)}" if isinstance(value, str) else json.dumps(value)
    return InvalidInput(
        f"column {shown(name)} is {seen}; expected {expected}", "send that, or null where it is missing"
    )


def _told(inputs: Mapping[str, Input]) -> str:
    return ", ".join(f"{name} {value.dtype} {value.shape}" for name, value in sorted(inputs.items())) or "nothing"
