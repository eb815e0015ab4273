"""The columns of a table scene, and the one spelling of a row.

Promises that two rows that say the same have the same bytes (``canonical``), and that a schema that was read holds
only values that a reader and a graph can use. A value is missing where its column is not there, null, or a text of
nothing but white space. Knows nothing of how a schema is inferred, of arrays or of models.

A numeric column gives one number, a date four (``PARTS``); a categorical column gives an index: 0 for a category that
the training rows do not have (or have once), 1 for a missing value, then ``categories`` in their order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated

import msgspec

from core.errors import BrokenBundle, InvalidInput, TooLarge
from core.preprocess import kind_of

FILE = "schema.json"  # in the bundle
UNSEEN, MISSING, FIRST = 0, 1, 2  # indexes of a categorical column
PARTS = ("days", "day of the year", "weekday", "hour")  # of a date: days since 1970, 1 to 366, 0 for Monday, with parts
LARGEST = 1e37  # of a number as a model sees it; float32 ends at 3.4e38
LONGEST = 1_000  # characters of a text or of a column's name
MOST_COLUMNS, MOST_CATEGORIES, MOST_KNOTS = 2_000, 254, 17

_VERSION = 1
_EXACT = 2**53  # whole numbers up to here are exact as a JSON number in every program

Count = Annotated[int, msgspec.Meta(ge=0)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST)]


class Spread(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one number is spread over the training rows that have it.

    Attributes:
        low, high: the range; what lies outside is flagged, and counts as the nearer end.
        fill: the median, which stands for a missing value beside its indicator.
        mean, deviation: of the present values; the deviation is above 0.
        knots: different quantiles, rising; fewer than two where the column is constant.
    """

    low: float
    high: float
    fill: float
    mean: float
    deviation: float
    knots: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check that a graph can be built from it."""
        told = (self.low, self.high, self.fill, self.mean, self.deviation, *self.knots)
        if not all(math.isfinite(value) and abs(value) <= LARGEST for value in told):
            raise ValueError(f"a number is not between -{LARGEST:g} and {LARGEST:g}")
        if not (self.low <= self.fill <= self.high and self.deviation > 0):
            raise ValueError(f"low {self.low}, fill {self.fill} and high {self.high} do not rise, or no deviation")
        if len(self.knots) > MOST_KNOTS or any(b <= a for a, b in zip(self.knots, self.knots[1:], strict=False)):
            raise ValueError(f"{len(self.knots)} knots; expected at most {MOST_KNOTS}, rising")


class Numeric(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="numeric"):
    """A column of numbers. ``missing``: training rows without a value."""

    name: Name
    missing: Count
    spread: Spread


class Date(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="date"):
    """A column of ISO 8601 dates or times (without a zone: UTC). ``spreads``: of each of ``PARTS``."""

    name: Name
    missing: Count
    spreads: Annotated[tuple[Spread, ...], msgspec.Meta(min_length=len(PARTS), max_length=len(PARTS))]


class Categorical(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind", tag="categorical"
):
    """A column of words; numbers and true or false count as their JSON spelling.

    Attributes:
        categories: those that two training rows or more have, the most frequent first, then by spelling.
        counts: training rows of each. rare: training rows of other categories. missing: without a value.
    """

    name: Name
    missing: Count
    rare: Count
    categories: tuple[str, ...]
    counts: tuple[Count, ...]

    def __post_init__(self) -> None:
        """Check that every category has an index of its own."""
        if len(set(self.categories)) != len(self.categories) or len(self.counts) != len(self.categories):
            raise ValueError(f"column {self.name!r} has a category twice, or other counts than categories")
        if len(self.categories) > MOST_CATEGORIES:
            raise ValueError(f"column {self.name!r} has {len(self.categories)} categories; at most {MOST_CATEGORIES}")

    @property
    def size(self) -> int:
        """How many indexes it has."""
        return FIRST + len(self.categories)


Column = Numeric | Date | Categorical


class Schema(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All columns in their order, from ``rows`` training rows; ``schema.json`` in the bundle."""

    schema_version: int = _VERSION
    rows: Count
    columns: Annotated[tuple[Column, ...], msgspec.Meta(min_length=1, max_length=MOST_COLUMNS)]

    def __post_init__(self) -> None:
        """Check that names say which column is meant."""
        if self.schema_version != _VERSION:
            raise ValueError(f"schema_version is {self.schema_version}; this program reads {_VERSION}")
        if len({column.name for column in self.columns}) != len(self.columns):
            raise ValueError("two columns have one name")

    @property
    def numbers(self) -> tuple[tuple[str, Spread], ...]:
        """(label, spread) of each number that a model takes, in the order of the input ``numeric``."""
        told: list[tuple[str, Spread]] = []
        for column in self.columns:
            if isinstance(column, Numeric):
                told.append((column.name, column.spread))
            elif isinstance(column, Date):
                parts = zip(PARTS, column.spreads, strict=True)
                told.extend((f"{column.name}: {part}", spread) for part, spread in parts)
        return tuple(told)

    @property
    def categoricals(self) -> tuple[Categorical, ...]:
        """Columns of words, in the order of the input ``categorical``."""
        return tuple(column for column in self.columns if isinstance(column, Categorical))

    def to_bytes(self) -> bytes:
        """As the bundle's file."""
        return msgspec.json.format(_ENCODER.encode(self), indent=1) + b"\n"


_ENCODER = msgspec.json.Encoder(order="sorted")
_SCHEMA = msgspec.json.Decoder(Schema)


def from_bytes(data: bytes) -> Schema:
    """The inverse of ``Schema.to_bytes``.

    Raises:
        BrokenBundle: the bytes are no schema that this program reads.
    """
    try:
        return _SCHEMA.decode(data)
    except (msgspec.MsgspecError, UnicodeError, ValueError, RecursionError) as error:
        raise BrokenBundle(
            f"{FILE} cannot be read: {error}", "restore the bundle from where it was exported, or adapt again"
        ) from error


def canonical(row: Mapping[str, object]) -> bytes:
    """The row as JSON in UTF-8: sorted keys, no white space, missing values left out, one spelling for a number.

    Raises:
        InvalidInput: a value is no text, number, true, false or null, or is too long, too large or not finite.

    >>> canonical({"b": 1.0, "a": " x ", "c": None})
    b'{"a":"x","b":1}'
    """
    if len(row) > MOST_COLUMNS:
        raise TooLarge(f"features has {len(row)} columns; at most {MOST_COLUMNS} are accepted", "send fewer columns")
    try:
        if (data := _of_fractions(row)) is not None:
            return data
        cells = {name: cell for name, value in row.items() if (cell := _cell(name, value)) is not None}
        return _ENCODER.encode(cells)
    except UnicodeError:
        raise InvalidInput("features holds half a surrogate pair, which is no character", "send valid text") from None


def shown(name: str) -> str:
    """A name as it may stand in a message: quoted, escaped, short."""
    return ascii(name if len(name) <= 60 else name[:60] + "…")


def _of_fractions(row: Mapping[str, object]) -> bytes | None:
    """The same at a third of the time, for a row of nothing but numbers that are not whole; None for any other."""
    try:
        if any(map(float.is_integer, row.values())):  # type: ignore[arg-type]
            return None
    except TypeError:  # something else than a float is among them
        return None
    data = _ENCODER.encode(row)
    if b":null" in data or (len(data) > LONGEST and max(map(len, row)) > LONGEST):
        return None  # a number that is not finite, or a name that is too long
    return data


def _cell(name: str, value: object) -> str | float | bool | None:
    """The one spelling of a value; None where it is missing."""
    if len(name) > LONGEST:
        raise InvalidInput(f"a column's name has {len(name)} characters", f"send at most {LONGEST}")
    if isinstance(value, str):
        text = value.strip()
        if len(text) > LONGEST:
            raise InvalidInput(f"column {shown(name)} has a text of {len(text)} characters", _SHORTER)
        return text or None
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return _number(name, value)
    raise InvalidInput(f"column {shown(name)} is {kind_of(value)}", _ONE_VALUE)


def _number(name: str, value: float) -> float:
    """A whole number as int where it is exact, any other as float."""
    if -_EXACT < value < _EXACT:
        whole = int(value)
        return whole if value == whole else value
    try:
        value = float(value)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value):
        raise InvalidInput(f"column {shown(name)} is no finite number", "send a number below 1e308, or null")
    return value


_SHORTER = f"send at most {LONGEST} characters; a column of running text belongs under the key text"
_ONE_VALUE = "send a text, a number, true, false or null for each column"
