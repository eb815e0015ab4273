"""What a training run measures, step by step, while it goes on: for whoever watches, and for reports.

A table and no file beside the run, because processes of this program meet in databases: the console may be on another
host than the trainer, and a table has no half-written line. Lies beside the prediction log and not in the ledger, whose
every commit wakes all workers and the learner. Promises that a step is there with all its figures or not at all. Knows
nothing of what the figures mean.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import sqlalchemy as sa

from core.database import Database, prediction_tables
from core.ids import uuid7

run_metrics = sa.Table(
    "run_metrics",
    prediction_tables,
    sa.Column("run", sa.String, primary_key=True),
    sa.Column("step", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("value", sa.Float, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One figure of one step; ``at`` in seconds since the epoch."""

    step: int
    name: str
    value: float
    at: float


def run_id(scene: str) -> str:
    """A fresh name of a run, which names its scene and sorts by time."""
    return f"{scene}:{uuid7().replace('-', '')}"


class Runs:
    """Reads and writes the figures of runs."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time):
        self.database = database
        self._clock = clock

    def note(self, run: str, step: int, figures: Mapping[str, float]) -> None:
        """Add the figures of a step; what is no number is left out."""
        now = self._clock()
        rows = [
            {"run": run, "step": step, "name": name, "value": value, "at": now}
            for name, value in figures.items()
            if math.isfinite(value)
        ]
        if rows:
            with self.database.write() as connection:
                connection.execute(sa.insert(run_metrics), rows)

    def figures(self, run: str, after: int = -1) -> list[Figure]:
        """Figures of the steps after one, in their order: called with the last step seen, it tells what is new."""
        wanted = (
            sa.select(run_metrics)
            .where(run_metrics.c.run == run, run_metrics.c.step > after)
            .order_by(run_metrics.c.step, run_metrics.c.name)
        )
        with self.database.read() as connection:
            rows = connection.execute(wanted).all()
        return [Figure(step=row.step, name=row.name, value=row.value, at=row.at) for row in rows]

    def of(self, scene: str, limit: int = 20) -> list[str]:
        """The scene's runs, the newest first."""
        wanted = (
            sa.select(run_metrics.c.run)
            .where(run_metrics.c.run.startswith(f"{scene}:", autoescape=True))
            .distinct()
            .order_by(run_metrics.c.run.desc())
            .limit(limit)
        )
        with self.database.read() as connection:
            return list(connection.execute(wanted).scalars())
