"""Who judges versions: an anchor set that stays and teaches none, and a share of what is labelled afresh.

Promises that who judges is decided by a keyed hash of the example alone: nobody outside can choose it, and taking one
example away leaves all others where they are. An anchor set is written down when it is drawn, and stays as it is until
the next one is drawn; an erased person leaves it. Knows nothing of features, of models or of what the gate asks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import sqlalchemy as sa

from core.database import Database, label_events, unknown
from core.gate_tables import anchors

PAGE = 500


def drawn(key: bytes, purpose: str, example: str, share: float) -> bool:
    """Whether an example is among the ``share`` of all that is drawn for a purpose.

    >>> sum(drawn(b"key", "anchor 1", f"{n:064x}", 0.2) for n in range(1000))
    193
    """
    told = hashlib.blake2b(f"{purpose}\0{example}".encode(), key=key[:64], digest_size=8).digest()
    return int.from_bytes(told, "big") < share * 2**64


class Holdouts:
    """Reads and writes anchor sets."""

    def __init__(self, database: Database):
        self.database = database

    def sets(self, scene: str) -> dict[int, set[str]]:
        """Every anchor set of a scene by its number, from 1, as far as its examples were not erased."""
        with self.database.read() as connection:
            rows = connection.execute(
                sa.select(anchors.c.number, anchors.c.example).where(anchors.c.scene == scene)
            ).all()
        found: dict[int, set[str]] = {}
        for number, example in rows:
            found.setdefault(number, set()).add(example)
        return found

    def keep(self, scene: str, number: int, examples: Iterable[str]) -> None:
        """Write a set down, but for those who were erased meanwhile; one that is there already stays as it is."""
        rows = [{"scene": scene, "number": number, "example": example} for example in sorted(examples)]
        here = (anchors.c.scene == scene) & (anchors.c.number == number)
        with self.database.write() as connection:
            if rows and connection.execute(sa.select(anchors.c.example).where(here).limit(1)).first() is None:
                connection.execute(sa.insert(anchors), rows)
                connection.execute(sa.delete(anchors).where(here, unknown(anchors.c.example)))


def known(database: Database, scene: str, upto: int) -> set[str]:
    """Examples of which something was said by this sequence, whatever became of it."""
    said = (label_events.c.scene == scene) & (label_events.c.sequence <= upto) & label_events.c.example.is_not(None)
    with database.read() as connection:
        rows = connection.execute(sa.select(label_events.c.example).distinct().where(said))
        return set(rows.scalars())


def forget(connection: sa.Connection, examples: list[str]) -> None:
    """Take erased examples out of every set, inside the caller's transaction."""
    for start in range(0, len(examples), PAGE):
        connection.execute(sa.delete(anchors).where(anchors.c.example.in_(examples[start : start + PAGE])))
