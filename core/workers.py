"""What every worker of every host serves, as they tell it themselves, and for how long they have disagreed.

Lies beside the prediction log, because a write to the ledger would wake all who watch it. Promises that a worker which
has gone silent counts no longer than ``EXPIRES`` seconds; the clocks of hosts must agree to within a few. Knows nothing
of why a worker is late.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from core.database import Database, workers

BEAT = 2.0  # seconds between two signs of life
EXPIRES = 5 * BEAT


@dataclass(frozen=True, kw_only=True)
class Serving:
    """What a worker serves of a scene, and since when, in seconds since the epoch."""

    version: str
    revision: int
    since: float


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A worker process and what it serves, by scene."""

    host: str
    pid: int
    worker: str
    seen_at: float = 0.0
    serving: Mapping[str, Serving] = field(default_factory=dict)


class Workers:
    """Reads and writes the signs of life."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time):
        self.database = database
        self._clock = clock

    def beat(self, worker: Worker) -> None:
        """Tell what a worker serves now, and forget those that have been silent."""
        now = self._clock()
        told = {scene: vars(serving) for scene, serving in worker.serving.items()}
        row = {"worker": worker.worker, "serving": told, "seen_at": now}
        written = insert(workers).values(host=worker.host, pid=worker.pid, **row)
        with self.database.write() as connection:
            connection.execute(written.on_conflict_do_update(index_elements=["host", "pid"], set_=row))
            connection.execute(sa.delete(workers).where(workers.c.seen_at < now - EXPIRES))

    def leave(self, worker: Worker) -> None:
        """Take a worker out that ends."""
        with self.database.write() as connection:
            mine = (workers.c.host == worker.host) & (workers.c.pid == worker.pid)
            connection.execute(sa.delete(workers).where(mine))

    def live(self) -> list[Worker]:
        """The workers that were heard of lately, by host and process id."""
        heard = workers.c.seen_at >= self._clock() - EXPIRES
        with self.database.read() as connection:
            rows = connection.execute(sa.select(workers).where(heard).order_by(workers.c.host, workers.c.pid)).all()
        return [_worker(row) for row in rows]


def on_champion(live: Sequence[Worker], scene: str, champion: str) -> int:
    """How many of the workers serve a scene by its champion."""
    return sum(worker.serving[scene].version == champion for worker in live if scene in worker.serving)


def skew_seconds(live: Sequence[Worker], scene: str, champion: str, moved_at: float, now: float) -> float:
    """For how long the champion has been named and not been served by all workers; 0 once they agree."""
    return max(0.0, now - moved_at) if on_champion(live, scene, champion) < len(live) else 0.0


def _worker(row: sa.Row[tuple[object, ...]]) -> Worker:
    told = dict(row._mapping)
    serving = {scene: Serving(**each) for scene, each in told.pop("serving").items()}
    return Worker(**told, serving=serving)
