"""What every worker of every host serves, as they tell it themselves, and for how long they have disagreed.

Lies beside the prediction log, because a write to the ledger would wake all who watch it. Promises that a worker which
has gone silent counts no longer than ``EXPIRES`` seconds by the database's clock. Knows nothing of why a worker is
late.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa

from core.database import Database, insert, workers

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

    def __init__(self, database: Database, clock: Callable[[], float] | None = None):
        self.database = database
        self._clock = clock

    def beat(self, worker: Worker) -> None:
        """Tell what a worker serves now, and forget those that have been silent."""
        told = {scene: vars(serving) for scene, serving in worker.serving.items()}
        key = sa.tuple_(workers.c.host, workers.c.pid)
        with self.database.write() as connection:
            now = self._now(connection)
            row = {"worker": worker.worker, "serving": told, "seen_at": now}
            written = insert(connection, workers).values(host=worker.host, pid=worker.pid, **row)
            connection.execute(written.on_conflict_do_update(index_elements=["host", "pid"], set_=row))
            silent = sa.select(workers.c.host, workers.c.pid).where(workers.c.seen_at < now - EXPIRES)
            # Not those that tell of themselves at this moment: after a pause all would wait for each other.
            connection.execute(sa.delete(workers).where(key.in_(silent.with_for_update(skip_locked=True))))

    def leave(self, worker: Worker) -> None:
        """Take a worker out that ends."""
        with self.database.write() as connection:
            mine = (workers.c.host == worker.host) & (workers.c.pid == worker.pid)
            connection.execute(sa.delete(workers).where(mine))

    def live(self) -> list[Worker]:
        """The workers that were heard of lately, by host and process id."""
        with self.database.read() as connection:
            heard = workers.c.seen_at >= self._now(connection) - EXPIRES
            rows = connection.execute(sa.select(workers).where(heard)).all()
        return sorted((_worker(row) for row in rows), key=lambda each: (each.host, each.pid))

    def _now(self, connection: sa.Connection) -> float:
        return self._clock() if self._clock is not None else self.database.now(connection)


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
