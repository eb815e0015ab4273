"""The schema of a table from its rows: what each column is, how its values spread, which categories it has.

The road: ``tidy`` all rows at once (a CSV file knows only texts; after it a column of numbers holds numbers), make each
row's bytes with ``core.schema.canonical``, split, then ``infer`` from the tidied training rows alone. Promises the same
schema whatever the order of the rows, and that ``core.modality.tabular`` can read every row that it was inferred from.
Knows nothing of labels, files or models.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from core.errors import InvalidInput
from core.modality.tabular import dated, spelled
from core.schema import (
    LARGEST,
    LONGEST,
    MOST_CATEGORIES,
    MOST_COLUMNS,
    MOST_KNOTS,
    PARTS,
    Categorical,
    Column,
    Date,
    Numeric,
    Schema,
    Spread,
)
from core.types import Doubles

Cell = str | float | bool | None
Rows = Sequence[Mapping[str, Cell]]

COMMON = 2  # training rows that a category needs; rarer ones together teach what an unseen one means

_ABSENT = frozenset(("na", "n/a", "nan", "null", "none", "nil", "?", "#n/a", "<na>", "-", "."))  # in lower case
_NUMBER = re.compile(r"[+-]?(?:(?:0|[1-9]\d*)(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


def tidy(rows: Rows) -> list[dict[str, Cell]]:
    """The rows with numbers for texts in columns of nothing but numbers, and None for every way to say "missing".

    A text is a number where JSON would write it so (``007`` is a word; ``.5``, ``5.`` and ``+5`` are let pass). In a
    column of both, numbers become words. Missing: null, NaN, an infinity and white space; among numbers or dates also
    the usual words for it (``NA``, ``n/a``, ``?`` …), which among words are words: a client would send them as such.

    Raises:
        InvalidInput: a text is too long for a table.

    >>> tidy([{"age": "31", "sex": "m"}, {"age": "NA", "sex": "f "}])
    [{'age': 31.0, 'sex': 'm'}, {'age': None, 'sex': 'f'}]
    """
    clean: list[dict[str, Cell]] = [{name: _present(name, cell) for name, cell in row.items()} for row in rows]
    for name in _names(clean):
        found = [row[name] for row in clean if row.get(name) is not None]
        said = [cell for cell in found if not _is_absent(cell)]
        numbers = bool(said) and all(_is_number(cell) for cell in said)
        absent = numbers or (bool(said) and all(isinstance(cell, str) and dated(cell) is not None for cell in said))
        for row in clean:
            cell = row.get(name)
            if absent and _is_absent(cell):
                row[name] = None
            elif cell is not None and numbers:
                row[name] = float(cell)
            elif cell is not None and not isinstance(cell, bool):
                row[name] = spelled(cell)
    return clean


def infer(rows: Rows) -> Schema:
    """The schema of tidied rows; columns in the order in which they first appear.

    A column of numbers is numeric, one of ISO 8601 dates a date, any other (or of no value at all) categorical.

    Raises:
        InvalidInput: no rows, no columns, or too many of them.
    """
    names = _names(rows)
    if not rows or not names:
        raise InvalidInput(f"the table has {len(rows)} rows and {len(names)} columns", "give at least one of each")
    if len(names) > MOST_COLUMNS:
        raise InvalidInput(f"the table has {len(names)} columns", f"give at most {MOST_COLUMNS}")
    return Schema(rows=len(rows), columns=tuple(_column(name, [row.get(name) for row in rows]) for name in names))


def _column(name: str, cells: Sequence[Cell]) -> Column:
    found = [cell for cell in cells if cell is not None]
    missing = len(cells) - len(found)
    numbers = [cell for cell in found if isinstance(cell, int | float) and not isinstance(cell, bool)]
    if found and len(numbers) == len(found):
        return Numeric(name=name, missing=missing, spread=spread(np.array(numbers, np.float64)))
    dates = [dated(cell) if isinstance(cell, str) else None for cell in found]
    parts = [part for part in dates if part is not None]
    if found and len(parts) == len(found):
        columns_PN = np.array(parts, np.float64).T
        return Date(name=name, missing=missing, spreads=tuple(spread(columns_PN[p]) for p in range(len(PARTS))))
    counted = Counter(spelled(cell) for cell in found)
    ranked = sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))
    kept = [(word, count) for word, count in ranked if count >= COMMON][:MOST_CATEGORIES]
    return Categorical(
        name=name,
        missing=missing,
        rare=len(found) - sum(count for _, count in kept),
        categories=tuple(word for word, _ in kept),
        counts=tuple(count for _, count in kept),
    )


def spread(values_N: Doubles) -> Spread:
    """How numbers are spread; at least one of them."""
    sorted_N = np.sort(values_N.clip(-LARGEST, LARGEST))  # sums of floats depend on their order
    low, high = float(sorted_N[0]), float(sorted_N[-1])
    size = max(abs(low), abs(high)) or 1.0  # scaled, so that squares of large numbers stay finite
    deviation = float((sorted_N / size).std()) * size
    levels = np.linspace(0, 1, MOST_KNOTS)
    knots = np.unique(np.quantile(sorted_N, levels, method="inverted_cdf").astype(np.float32))
    return Spread(
        low=low,
        high=high,
        fill=float(sorted_N[(len(sorted_N) - 1) // 2]),
        mean=float((sorted_N / size).mean()) * size,
        deviation=deviation if deviation > 1e-9 * size else 1.0,
        knots=tuple(float(knot) for knot in knots) if len(knots) > 1 else (),
    )


def _present(name: str, cell: Cell) -> Cell:
    """The cell without white space around it, or None where that says "missing"."""
    if isinstance(cell, str):
        cell = cell.strip()
        if len(cell) > LONGEST:
            raise InvalidInput(
                f"column {name[:60]!r} has a text of {len(cell)} characters; expected at most {LONGEST}",
                "name a column of running text text, or leave it out",
            )
        return cell or None
    if isinstance(cell, float) and not math.isfinite(cell):
        return None
    return cell


def _is_absent(cell: Cell) -> bool:
    return isinstance(cell, str) and cell.lower() in _ABSENT


def _is_number(cell: Cell) -> bool:
    if isinstance(cell, str):
        return _NUMBER.fullmatch(cell) is not None and math.isfinite(float(cell))
    return isinstance(cell, int | float) and not isinstance(cell, bool)


def _names(rows: Rows) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row))
