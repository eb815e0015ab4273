"""The fields in which a person puts together one input of a scene: a picture, a sound, a text, a row, or several.

Promises an instance as a client of the service would write it; what is empty is missing. A file that is handed over is
read up to the size that the service takes, and forgotten with the page. Knows nothing of what becomes of the instance.
"""

from __future__ import annotations

import base64
import datetime
import json
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement

from console import shown
from console.contract import Console
from console.drops import drop
from console.pieces import Choice, Field, drawn
from core.errors import InvalidInput
from core.look.html import Html, tag
from core.outcomes import Said
from core.preprocess import keys, modality
from core.schema import Categorical, Column, Date, Numeric, Schema
from core.types import Scene

FIELDS = 60  # columns that have fields of their own; a wider row is pasted
PREVIEW = 4 * 2**20  # bytes of a file that is shown
DAY = datetime.date(1970, 1, 1)
NOUNS = {"image": ("picture", "JPEG, PNG or WebP", "image/*"), "audio": ("sound", "WAV or FLAC", "audio/*")}

Act = Callable[[], Awaitable[None]]


class Part(Protocol):
    """Fields for one part of an input."""

    def told(self) -> object | None:
        """As a client writes it; None where nothing was given. Raises InvalidInput where it cannot be meant."""


@dataclass(frozen=True)
class Form:
    """The fields of a whole input, by the keys of an instance."""

    parts: Mapping[str, Part]

    def instance(self) -> dict[str, Any]:
        """What was given.

        Raises:
            InvalidInput: nothing, or something that cannot be meant.
        """
        told = {key: part.told() for key, part in self.parts.items()}
        given = {key: each for key, each in told.items() if each is not None}
        if not given:
            raise InvalidInput("nothing was given yet", f"give a {' or a '.join(map(_noun, self.parts))}")
        return given


def form(console: Console, name: str, schema: Schema | None, ask: Act) -> Form:
    """The fields for a modality; a file that is all of the input is asked about at once."""
    several = "+" in name
    makers: dict[str, Callable[[], Part]] = {
        "text": Text,
        "image": partial(File, console, "image", None if several else ask),
        "audio": partial(File, console, "audio", None if several else ask),
        "features": partial(Row, schema),
    }
    parts = {}
    for key in keys(name):
        if several:
            drawn(tag("h3", _noun(key).capitalize(), tag("small", " may be left out", class_="soft")))
        parts[key] = makers[key]()
    return Form(parts)


class Text:
    """A text."""

    def __init__(self) -> None:
        self._field = Field("Text", kind="textarea", rows=5, dir="auto", maxlength=100_000)

    def told(self) -> object | None:
        """The text."""
        return self._field.value if self._field.value.strip() else None


class File:
    """A picture or a sound that is dropped or chosen."""

    def __init__(self, console: Console, key: str, ask: Act | None):
        self._key = key
        self._ask = ask
        self._data: bytes | None = None
        noun, formats, accepted = NOUNS[key]
        most = console.home.limits.max_bytes
        place = drop(console, f"Drop a {noun} here", f"or press to choose one: {formats}", accepted, most, self._take)
        if key == "audio":
            record = TextElement(tag="button", text="Record a sound").classes("act").props("type=button")
            record.props["data-record"] = place.html_id
        self._preview = drawn(Html())

    def told(self) -> object | None:
        """The file in base64."""
        return None if self._data is None else {"b64": base64.b64encode(self._data).decode()}

    async def _take(self, name: str, data: bytes) -> None:
        del name
        media = modality(self._key).sniff(data)
        self._data = data
        self._preview.content = preview(self._key, media, data)
        if self._ask is not None:
            await self._ask()


class Row:
    """A row: a field for each column of a schema."""

    def __init__(self, schema: Schema | None):
        columns = schema.columns if schema is not None else ()
        self._cells = {}
        with ui.element("div").classes("columns"):
            for column in columns[:FIELDS]:
                self._cells[column.name] = (column, _cell(column))
        with ui.element("details") as folded:
            TextElement(tag="summary", text="or paste the row as JSON")
            self._pasted = Field(
                "Row as JSON", kind="textarea", rows=5, spellcheck="false", help="What is in it goes before the fields."
            )
        if not columns or len(columns) > FIELDS:
            folded.props["open"] = True

    def told(self) -> object | None:
        """Columns with their values; empty ones are missing."""
        cells = {name: cell(column, field.value) for name, (column, field) in self._cells.items()}
        given = {name: value for name, value in cells.items() if value is not None}
        if self._pasted.value.strip():
            given |= _object(self._pasted.value)
        return given or None


def cell(column: Column, value: str) -> str | float | None:
    """What stands in a field as a value of its column; None where it is missing.

    Raises:
        InvalidInput: no number where one belongs.
    """
    if not value.strip():
        return None
    if not isinstance(column, Numeric):
        return value
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InvalidInput(
            f"column {column.name[:60]!r} is {value[:40]!r}, which is no number", "give a number, or leave it empty"
        )
    return number


def meant(task: Scene, word: str) -> Said:
    """What stands in the field where a label or a value is said.

    Raises:
        InvalidInput: nothing, or no number where one belongs.
    """
    if task.task == "classification":
        if not word.strip():
            raise InvalidInput("there is no label yet", "say what it is")
        return word
    try:
        return float(word)
    except ValueError:
        raise InvalidInput(f"{word[:40]!r} is no number", "say the value as a number") from None


def preview(key: str, media: str, data: bytes) -> Html:
    """A file as it will be looked at, inside the page."""
    if len(data) > PREVIEW:
        return tag("p", f"{len(data) / 2**20:.0f} MiB: too large to show here", class_="soft")
    return shown.part(key, None, f"data:{media};base64,{base64.b64encode(data).decode()}")


def _cell(column: Column) -> Field | Choice:
    name = column.name if len(column.name) <= 60 else column.name[:59] + "…"
    if isinstance(column, Categorical):
        known = {"": "(missing)"} | {each: each[:80] for each in column.categories if each.strip()}
        return Choice(name, known, "")
    if isinstance(column, Date):
        spread = column.spreads[0]
        return Field(name, kind="date", help=f"{_day(spread.low)} to {_day(spread.high)} in training")
    spread = column.spread
    told = f"{spread.low:,.6g} to {spread.high:,.6g} in training"
    return Field(name, kind="number", help=told, step="any", placeholder=f"{spread.fill:.6g}")


def _day(days: float) -> str:
    try:
        return (DAY + datetime.timedelta(days=days)).isoformat()
    except OverflowError:
        return "?"


def _object(words: str) -> dict[str, Any]:
    try:
        told = json.loads(words)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise InvalidInput("what was pasted is no row", 'paste one JSON object, such as {"age": 31}')
    return told


def _noun(key: str) -> str:
    return NOUNS[key][0] if key in NOUNS else {"features": "row"}.get(key, key)
