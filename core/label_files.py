"""Labels as files: those that stand written out, those of a file taken in.

CSV has a line a label. A cell that a spreadsheet would take for a formula (it begins with ``=``, ``+``, ``-``, ``@``,
a tab or a line break), or that begins with an apostrophe, has an apostrophe put in front, which reading takes away: so
hostile names are inert, and come back as they were. Knows nothing of Label Studio, whose JSON is in
``core/label_studio.py``.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from core.database import label_events
from core.errors import InvalidInput
from core.events import TRAINING
from core.home import Home
from core.preprocess import keys, modality
from core.recall import standing_of
from core.types import Scene

COLUMNS = ("event_id", "example", "label", "value", "annotator", "source", "confidence")
RISKY = ("=", "+", "-", "@", "\t", "\r", "\n", "'")
PAGE = 500


@dataclass(frozen=True, kw_only=True)
class Said:
    """One label of a file; ``instance`` is its input where the example is not named."""

    event_id: str
    example: str
    label: str | None
    value: float | None
    annotator: str = ""
    source: str = "feedback"
    confidence: float = 1.0
    prediction_id: str | None = None
    instance: Mapping[str, Any] | None = None


def said_of(home: Home, task: Scene) -> list[Said]:
    """What annotators say of the examples of a task that have labels of feedback, training data left out."""
    named = label_events.c.example.is_not(None) & label_events.c.kind.in_(["label", "join"])
    here = (label_events.c.scene == task.name) & named & (label_events.c.source != TRAINING)
    found: list[Said] = []
    with home.ledger.database.read() as connection:
        rows = connection.execute(sa.select(label_events.c.example).where(here).distinct())
        examples = sorted(example for example in rows.scalars() if example is not None)
        for start in range(0, len(examples), PAGE):
            part = examples[start : start + PAGE]
            standing = standing_of(connection, task.name, part, home.settings.labels.weight, task.task_name)
            for example in part:
                votes = [vote.said for vote in standing.votes(example) if vote.said.source != TRAINING]
                found += [
                    Said(
                        event_id=said.event_id,
                        example=example,
                        label=said.label,
                        value=said.value,
                        annotator=said.annotator,
                        source=said.source,
                        confidence=said.confidence,
                    )
                    for said in sorted(votes, key=lambda said: said.event_id)
                ]
    return found


def inputs_of(home: Home, task: Scene, said: Sequence[Said]) -> dict[str, Any]:
    """Example → instance as a client would write it, of those whose input was kept."""
    found: dict[str, Any] = {}
    taken = keys(task.modality)
    for example in {each.example for each in said}:
        data = home.evidence.input(example)
        if data is not None:
            told = modality(task.modality).to_json(data)
            found[example] = {taken[0]: told} if len(taken) == 1 else told
    return found


def as_csv(said: Sequence[Said]) -> str:
    """Labels as CSV.

    >>> as_csv([Said(event_id="e", example="x", label="=1+1", value=None)]).splitlines()[1]
    "e,x,'=1+1,,,feedback,1.0"
    """
    out = io.StringIO(newline="")
    writer = csv.writer(out)  # lines end in CR LF (RFC 4180), so that cells with either are quoted
    writer.writerow(COLUMNS)
    for each in said:
        words = (each.event_id, each.example, each.label, None, each.annotator, each.source)
        cells = ["" if word is None else _guarded(word) for word in words]
        cells[3] = "" if each.value is None else repr(each.value)
        writer.writerow([*cells, repr(each.confidence)])
    return out.getvalue()


def from_csv(text: str) -> list[Said]:
    """The inverse.

    Raises:
        InvalidInput: a column is missing, or a number cannot be read; the line is named.
    """
    rows = csv.DictReader(io.StringIO(text, newline=""))
    lacking = [name for name in COLUMNS if name not in (rows.fieldnames or [])]
    if lacking:
        raise InvalidInput(f"the file has no column {', '.join(lacking)}", f"give the columns {', '.join(COLUMNS)}")
    return [_said(row, number) for number, row in enumerate(rows, 2)]


def _said(row: Mapping[str, str | None], number: int) -> Said:
    told = {name: row.get(name) or "" for name in COLUMNS}
    try:
        value = float(told["value"]) if told["value"] else None
        confidence = float(told["confidence"] or 1.0)
    except ValueError:
        raise InvalidInput(f"line {number} has a value or confidence that is no number", "correct the line") from None
    if not told["example"]:
        raise InvalidInput(f"line {number} names no example", "give the digest that lepton labels export wrote")
    label = _freed(told["label"])
    return Said(
        event_id=_freed(told["event_id"]),
        example=_freed(told["example"]),
        label=label if value is None else None,
        value=value,
        annotator=_freed(told["annotator"]),
        source=_freed(told["source"]) or "feedback",
        confidence=confidence,
    )


def _guarded(word: str) -> str:
    return f"'{word}" if word.startswith(RISKY) else word


def _freed(cell: str) -> str:
    return cell.removeprefix("'")
