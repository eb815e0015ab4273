"""What long work tells while it goes on: its stages with how far they are, and metrics by step.

Promises that what was told can be read by other processes, at once and afterwards, and that metrics can be followed
from where a reader has come to. Knows nothing of what runs: ``run`` is the id of a job, or any other id.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy as sa

from core.database import Database
from core.job_tables import run_metrics, run_stages


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One stage of a run; ``total`` is None where nothing is counted in it. ``at`` is when it was last told."""

    title: str
    done: int
    total: int | None
    at: float


@dataclass(frozen=True, kw_only=True)
class Point:
    """One value of a metric; None where it was no number. ``id`` grows: ask for what came after it."""

    id: int
    name: str
    step: int
    value: float | None
    at: float


class Progress:
    """Writes and reads what runs tell. A run is told by one process at a time."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time):
        self.database = database
        self._clock = clock

    def begin(self, run: str) -> None:
        """The run begins, or begins anew: what an earlier attempt told is forgotten."""
        with self.database.write() as connection:
            connection.execute(sa.delete(run_stages).where(run_stages.c.run == run))
            connection.execute(sa.delete(run_metrics).where(run_metrics.c.run == run))

    def stage(self, run: str, title: str) -> None:
        """A new stage begins."""
        with self.database.write() as connection:
            place = (_last_place(connection, run) or 0) + 1
            row = {"run": run, "place": place, "title": title, "done": 0, "total": None, "at": self._clock()}
            connection.execute(sa.insert(run_stages), row)

    def advance(self, run: str, done: int, total: int) -> None:
        """The present stage has come this far."""
        with self.database.write() as connection:
            here = (run_stages.c.run == run) & (run_stages.c.place == _last_place(connection, run))
            connection.execute(sa.update(run_stages).where(here).values(done=done, total=total, at=self._clock()))

    def metric(self, run: str, name: str, step: int, value: float) -> None:
        """A metric has this value at this step, such as the loss after an epoch."""
        told = value if math.isfinite(value) else None
        row = {"run": run, "name": name, "step": step, "value": told, "at": self._clock()}
        with self.database.write() as connection:
            connection.execute(sa.insert(run_metrics), row)

    def stages(self, run: str) -> list[Stage]:
        """The stages of a run so far, in order."""
        columns = (run_stages.c.title, run_stages.c.done, run_stages.c.total, run_stages.c.at)
        wanted = sa.select(*columns).where(run_stages.c.run == run).order_by(run_stages.c.place)
        with self.database.read() as connection:
            return [Stage(**row._mapping) for row in connection.execute(wanted)]

    def metrics(self, run: str, after: int = 0) -> list[Point]:
        """The metrics of a run in the order in which they were told; those after a point's id only."""
        columns = [column for column in run_metrics.c if column.name != "run"]
        wanted = (
            sa.select(*columns).where(run_metrics.c.run == run, run_metrics.c.id > after).order_by(run_metrics.c.id)
        )
        with self.database.read() as connection:
            return [Point(**row._mapping) for row in connection.execute(wanted)]


def _last_place(connection: sa.Connection, run: str) -> int | None:
    place: int | None = connection.execute(
        sa.select(sa.func.max(run_stages.c.place)).where(run_stages.c.run == run)
    ).scalar()
    return place
