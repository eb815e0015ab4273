"""What the gate decided, decision by decision: the ledger of how often a hold-out has judged.

Promises that a hold-out spends with every decision that is written down, and that two decisions that were made at the
same time do not both spend the same share. A decision is written before anything is registered, so that a process which
dies in between has spent and not cheated. Knows nothing of what is asked or of models.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from core.database import Database
from core.errors import Conflict, NotFound
from core.gate_tables import gate_decisions
from core.ids import uuid7


@dataclass(frozen=True, kw_only=True)
class Uses:
    """How many decisions were made by an anchor set, and by labels that came after a champion was made."""

    anchor: int
    fresh: int


@dataclass(frozen=True, kw_only=True)
class Written:
    """A decision as it was written down; ``version`` is what the candidate became, where it became one."""

    id: str
    scene: str
    at: float
    champion: str
    anchor: int
    accepted: bool
    version: str | None
    job: str | None
    record: Mapping[str, Any] = field(repr=False)


class Decisions:
    """Reads and writes decisions. ``job`` is the job that this process works for, noted with each."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time):
        self.database = database
        self.job: str | None = None
        self._clock = clock

    def uses(self, scene: str, champion: str, anchor: int) -> Uses:
        """How often this anchor set has judged, and the fresh labels of this champion."""
        with self.database.read() as connection:
            return _uses(connection, scene, champion, anchor)

    def write(
        self, scene: str, champion: str, anchor: int, uses: Uses, accepted: bool, record: Mapping[str, Any]
    ) -> Written:
        """Write a decision down that was made knowing of ``uses``.

        Raises:
            Conflict: another decision was written meanwhile.
        """
        with self.database.write() as connection:
            if _uses(connection, scene, champion, anchor) != uses:
                raise Conflict(
                    f"another decision about {scene!r} was made by the same examples meanwhile", "retrain again"
                )
            now = self._clock()
            row: dict[str, Any] = {"id": uuid7(now), "scene": scene, "at": now, "champion": champion, "anchor": anchor}
            row |= {"accepted": accepted, "version": None, "job": self.job, "record": dict(record)}
            connection.execute(sa.insert(gate_decisions), row)
        return Written(**row)

    def became(self, decision: str, version: str) -> None:
        """Note the version that an accepted candidate became."""
        with self.database.write() as connection:
            here = gate_decisions.c.id == decision
            connection.execute(sa.update(gate_decisions).where(here).values(version=version))

    def find(self, decision: str) -> Written:
        """A decision by its id.

        Raises:
            NotFound: there is none.
        """
        with self.database.read() as connection:
            row = connection.execute(sa.select(gate_decisions).where(gate_decisions.c.id == decision)).first()
        if row is None:
            raise NotFound(f"there is no decision {decision[:80]!r}", "see those of a scene with its versions")
        return Written(**row._mapping)

    def of(self, scene: str, most: int = 100) -> list[Written]:
        """The decisions about a scene, newest first."""
        wanted = sa.select(gate_decisions).where(gate_decisions.c.scene == scene)
        wanted = wanted.order_by(gate_decisions.c.at.desc(), gate_decisions.c.id.desc()).limit(most)
        with self.database.read() as connection:
            return [Written(**row._mapping) for row in connection.execute(wanted)]


def _uses(connection: sa.Connection, scene: str, champion: str, anchor: int) -> Uses:
    here = sa.select(sa.func.count()).select_from(gate_decisions).where(gate_decisions.c.scene == scene)
    return Uses(
        anchor=connection.execute(here.where(gate_decisions.c.anchor == anchor)).scalar() or 0,
        fresh=connection.execute(here.where(gate_decisions.c.champion == champion)).scalar() or 0,
    )
