"""Rows of a table while data are prepared: equal rows, columns that say nothing or too much, a list in a report.

Promises that the schema is inferred from training rows alone. Knows nothing of splits or models.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from html import escape
from typing import Any

from core.errors import InvalidInput
from core.look.html import shown
from core.preprocess import Limits
from core.schema import FILE
from training.kinds import Look
from training.report import Finding
from training.schema import infer
from training.zoo import Setting

NOUNS = ("row", "rows")
WANTED = "give a CSV, Parquet or JSONL file with one column for each feature, and numbers, words or dates in it"
SUFFIXES: frozenset[str] = frozenset()  # a row is no file

SHOWN = 12  # columns of a row in a report


def look(data: bytes, limits: Limits) -> Look:
    """The digest of the row; one that has no value at all cannot be used."""
    del limits
    if not _row(data):
        raise InvalidInput("every column is empty", "fill in a value, or leave the row out")
    return Look(hashlib.sha256(data).hexdigest())


def near(looks: Sequence[Look]) -> list[tuple[int, int]]:
    """None: two rows that differ in a value are two cases."""
    del looks
    return []


def remarks(contents: Sequence[bytes], labels: Sequence[str]) -> list[Finding]:
    """Columns of a single value, and columns that say the same as the label: they are not known when it counts."""
    rows = [_row(data) for data in contents]
    findings: list[Finding] = []
    for name in sorted({name for row in rows for name in row}):
        cells = [row.get(name) for row in rows]
        if len({repr(cell) for cell in cells}) == 1:
            findings.append(_remark("constant_column", name, f"is {shown(cells[0])} in every row"))
        elif _says_the_label(cells, labels):
            findings.append(_remark("label_column", name, "says the same as the label in every row: leave it out"))
    return findings


def setting(contents: Sequence[bytes], others: Sequence[bytes], side: float, seconds: float) -> Setting:
    """The schema of the training rows; a column that only other rows fill in is known, and has no values."""
    del side, seconds
    rows = [_row(data) for data in contents]
    names = sorted({name for row in rows for name in row} | {name for data in others for name in _row(data)})
    schema = infer([{name: row.get(name) for name in names} for row in rows])
    return Setting(files={FILE: schema.to_bytes()})


def tile(data: bytes) -> str:
    """The first columns with their values."""
    row = _row(data)
    cells = "".join(f"<dt>{escape(shown(k))}</dt><dd>{escape(shown(v))}</dd>" for k, v in sorted(row.items())[:SHOWN])
    return f"<dl>{cells}</dl>" + ("…" if len(row) > SHOWN else "")


def _row(data: bytes) -> dict[str, Any]:
    row: dict[str, Any] = json.loads(data)
    return row


def _remark(kind: str, column: str, detail: str) -> Finding:
    return Finding(kind=kind, path=column, dropped=False, detail=f"column {shown(column)} {detail}")


def _says_the_label(cells: Sequence[Any], labels: Sequence[str]) -> bool:
    """Whether cell and label follow from each other, and not because nearly every row has its own."""
    if all(
        _number(cell) is not None and _number(cell) == _number(label) for cell, label in zip(cells, labels, strict=True)
    ):
        return True
    pairs = {(repr(cell), label) for cell, label in zip(cells, labels, strict=True)}
    one_to_one = len(pairs) == len({cell for cell, _ in pairs}) == len({label for _, label in pairs})
    return one_to_one and len(pairs) <= len(cells) / 2


def _number(value: Any) -> float | None:
    try:
        return None if value is None or isinstance(value, bool) else float(value)
    except ValueError:
        return None
