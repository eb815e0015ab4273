"""What the labels of an annotator, or of a source, weigh in a scene, where that was changed.

Promises whole numbers, in sixteenths, so that sums stay exact: a weight is a power of two between 1/16 and 16, of an
annotator as a factor, of a source in units (a training example weighs one). Knows nothing of labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from types import MappingProxyType
from typing import Literal

import sqlalchemy as sa

from core.database import Database
from core.errors import InvalidInput
from core.label_tables import label_weights

Kind = Literal["annotator", "source"]
SIXTEENTHS = 16
WEIGHTS = {Fraction(2) ** power for power in range(-4, 5)}
NOTHING: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True)
class Weights:
    """Sixteenths by name; who is not named weighs as ever."""

    annotators: Mapping[str, int] = field(default_factory=lambda: NOTHING)
    sources: Mapping[str, int] = field(default_factory=lambda: NOTHING)

    def of(self, annotator: str, source: str, units: int) -> int:
        """Sixteenths that a label weighs, where its source weighs ``units`` as ever."""
        share = self.annotators.get(annotator, SIXTEENTHS)
        return share * self.sources.get(source, units * SIXTEENTHS) // SIXTEENTHS


EVEN = Weights()


def parse(text: str) -> int:
    """A weight as people write it, in sixteenths.

    Raises:
        InvalidInput: it is no power of two from 1/16 to 16.

    >>> parse("1/4"), parse("0.5"), parse("2")
    (4, 8, 32)
    """
    try:
        weight = Fraction(text.strip())
    except (ValueError, ZeroDivisionError):
        weight = Fraction(0)
    if weight not in WEIGHTS:
        raise InvalidInput(
            f"weight {text[:40]!r} cannot be used", "give a power of two from 1/16 to 16, such as 1/4, 0.5 or 2"
        )
    return int(weight * SIXTEENTHS)


def weights_of(connection: sa.Connection, scene: str) -> Weights:
    """What was changed for a scene."""
    rows = connection.execute(sa.select(label_weights).where(label_weights.c.scene == scene)).all()
    if not rows:
        return EVEN
    found: dict[str, dict[str, int]] = {"annotator": {}, "source": {}}
    for row in rows:
        found[row.kind][row.name] = row.sixteenths
    return Weights(found["annotator"], found["source"])


def weigh(database: Database, scene: str, kind: Kind, name: str, sixteenths: int | None) -> None:
    """Let the labels of an annotator, or of a source, weigh so much; None: as ever."""
    with database.write() as connection:
        here = (label_weights.c.scene == scene) & (label_weights.c.kind == kind) & (label_weights.c.name == name)
        connection.execute(sa.delete(label_weights).where(here))
        if sixteenths is not None:
            row = {"scene": scene, "kind": kind, "name": name, "sixteenths": sixteenths}
            connection.execute(sa.insert(label_weights), row)
