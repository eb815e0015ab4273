"""Lines of a table file: CSV, JSON lines or Parquet, as columns and cells.

Promises every line with its number, and errors that name the file and the line. Knows nothing of what columns mean.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.errors import InvalidInput, TooLarge
from core.look.html import shown

SUFFIXES = (".csv", ".jsonl", ".ndjson", ".parquet")
FIELD_LIMIT = 1_000_000  # characters of one CSV field
MOST = 200_000  # lines: each becomes an example with a file of its own, so that it can be corrected and erased

Cell = str | float | bool | None


@dataclass(frozen=True)
class Table:
    """Columns in their order, and (line number, {column: cell}) of every line; an absent cell is None or empty."""

    columns: tuple[str, ...]
    lines: tuple[tuple[int, dict[str, Cell]], ...]


def read(file: Path) -> Table:
    """The table in ``file``, by the ending of its name.

    Raises:
        InvalidInput: not such a file, damaged, or without a line; TooLarge: more lines than ``MOST``.
    """
    kind = file.suffix.lower()
    table = _csv(file) if kind == ".csv" else _parquet(file) if kind == ".parquet" else _jsonl(file)
    if not table.columns:
        raise InvalidInput(f"{shown(file.name)} is empty", "name the columns first: an input column, and label")
    if not table.lines:
        raise InvalidInput(f"{shown(file.name)} has a header, but no line", "add one line for each example")
    return table


def word(cell: Cell) -> str:
    """A cell as a text: empty where there is none; numbers and true or false as JSON writes them."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    return cell if isinstance(cell, str) else json.dumps(cell)


def _csv(file: Path) -> Table:
    csv.field_size_limit(FIELD_LIMIT)
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, restval="", strict=True)
            columns = tuple(reader.fieldnames or ())
            lines: list[tuple[int, dict[str, Cell]]] = []
            for line in reader:
                _check_count(len(lines) + 1, file)
                lines.append((reader.line_num, {k: v for k, v in line.items() if isinstance(k, str)}))
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{shown(file.name)} is not UTF-8 text ({error.reason})", "save it as UTF-8 CSV") from error
    except csv.Error as error:
        raise InvalidInput(f"{shown(file.name)} is not CSV: {error}", "save it as comma-separated UTF-8") from error
    return Table(columns, tuple(lines))


def _jsonl(file: Path) -> Table:
    lines: list[tuple[int, dict[str, Cell]]] = []
    try:
        with file.open(encoding="utf-8-sig") as stream:
            for number, text in enumerate(stream, start=1):
                if text.strip():
                    _check_count(len(lines) + 1, file)
                    lines.append((number, _object(json.loads(text), file, number)))
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{shown(file.name)} is not UTF-8 text ({error.reason})", "save it as UTF-8") from error
    except (ValueError, RecursionError) as error:
        message = f"{shown(file.name)}, line {number}: not JSON: {error}"
        raise InvalidInput(message, "write one JSON object a line") from error
    return Table(_columns(cells for _, cells in lines), tuple(lines))


def _parquet(file: Path) -> Table:
    import pyarrow as pa
    import pyarrow.parquet

    try:
        _check_count(pyarrow.parquet.read_metadata(file).num_rows, file)
        held = pyarrow.parquet.read_table(file)
        lines = [(number, _object(line, file, number)) for number, line in enumerate(held.to_pylist(), start=1)]
    except (pa.ArrowException, OSError) as error:
        raise InvalidInput(f"{shown(file.name)} is not Parquet: {str(error)[:200]}", "write it again") from error
    return Table(tuple(held.column_names), tuple(lines))


def _check_count(lines: int, file: Path) -> None:
    if lines > MOST:
        message = f"{shown(file.name)} has more than {MOST} lines; at most that many are read"
        raise TooLarge(message, "give a random sample of them: a head gains nothing that can be measured from more")


def _object(value: Any, file: Path, number: int) -> dict[str, Cell]:
    """One line as cells; dates become their ISO spelling, and what is no single value is refused."""
    if not isinstance(value, dict):
        raise InvalidInput(f"{shown(file.name)}, line {number} is no object", "write one JSON object a line")
    cells: dict[str, Cell] = {}
    for name, cell in value.items():
        told = cell.isoformat() if hasattr(cell, "isoformat") else cell
        told = float(told) if type(told).__name__ == "Decimal" else told
        if not (told is None or isinstance(told, str | int | float | bool)):
            raise InvalidInput(
                f"{shown(file.name)}, line {number}: column {shown(name)} holds {type(cell).__name__}",
                "give a text, a number, true, false or null in each cell",
            )
        cells[str(name)] = told
    return cells


def _columns(lines: Iterable[dict[str, Cell]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for cells in lines for name in cells))
