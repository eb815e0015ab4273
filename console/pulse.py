"""Tells whether what a page shows has moved, so that pages ask the database when there is news and not by the clock.

One task for all windows looks at the two databases a few times a second: first whether anybody has committed (a pragma
of SQLite, LISTEN on PostgreSQL), and only then at a mark for each topic, a handful of look-ups by index. Promises that
a topic's count grows after whatever moved it. Knows nothing of pages.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from core.database import (
    aliases,
    audit,
    counters,
    drift_readings,
    predictions,
    revisions,
    scenes,
)
from core.errors import LeptonError
from core.gate_tables import gate_decisions
from core.home import Home
from core.job_tables import jobs, run_metrics, run_stages

logger = logging.getLogger(__name__)

Topic = Literal["scenes", "labels", "heads", "jobs", "drift", "traffic", "clock"]
LOOK_SECONDS = 0.3
CLOCK_SECONDS = 2.0  # for what comes and goes with time alone, such as whether a process is alive


class Pulse:
    """Counts of news by topic.

    Topics: ``scenes`` (scenes, versions and what was done to them), ``labels``, ``heads`` (revisions that champions
    have), ``jobs`` (and all that runs tell), ``drift``, ``traffic`` (predictions), ``clock`` (every two seconds).
    """

    def __init__(self, home: Home):
        self._home = home
        self._counts: dict[Topic, int] = {}
        self._marks: dict[Topic, Any] = {}
        self._ledger = home.ledger.database.watch()
        log = home.predictions.database
        self._traffic = None if log.shared else log.watch()  # PostgreSQL tells of commits to the ledger alone

    def at(self, topics: tuple[Topic, ...]) -> tuple[int, ...]:
        """Where these topics stand: another value means that there is news."""
        return tuple(self._counts.get(topic, 0) for topic in topics)

    async def run(self) -> None:
        """Look until cancelled."""
        last = 0.0
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() - last >= CLOCK_SECONDS
            try:
                await asyncio.to_thread(self.look, due)
            except (LeptonError, SQLAlchemyError, sqlite3.Error) as error:
                logger.warning("the databases cannot be read just now: %s", error)
            if due:
                last = loop.time()
                self._count("clock")
            await asyncio.sleep(LOOK_SECONDS)

    def look(self, due: bool = True) -> None:
        """One look at both databases; ``due``: also at what tells of itself only when it is asked."""
        if self._ledger.changed():
            with self._home.ledger.database.read() as connection:
                for topic, mark in LEDGER_MARKS.items():
                    self._compare(topic, mark(connection))
        if due if self._traffic is None else self._traffic.changed():
            with self._home.predictions.database.read() as connection:
                self._compare("traffic", _scalars(connection, sa.select(sa.func.max(predictions.c.created_at))))

    def close(self) -> None:
        """Stop watching."""
        self._ledger.close()
        if self._traffic is not None:
            self._traffic.close()

    def _compare(self, topic: Topic, mark: Any) -> None:
        if self._marks.get(topic, ...) != mark:
            self._marks[topic] = mark
            self._count(topic)

    def _count(self, topic: Topic) -> None:
        self._counts[topic] = self._counts.get(topic, 0) + 1


def _scenes(connection: sa.Connection) -> Any:
    decided = sa.select(sa.func.count()).select_from(gate_decisions)
    known = sa.select(sa.func.count()).select_from(scenes)
    return _scalars(connection, known, sa.select(sa.func.max(audit.c.id)), decided)


def _labels(connection: sa.Connection) -> Any:
    return _scalars(connection, sa.select(sa.func.max(counters.c.value)))


def _heads(connection: sa.Connection) -> Any:
    newest = sa.select(sa.func.max(revisions.c.number)).where(
        revisions.c.scene == aliases.c.scene, revisions.c.version == aliases.c.version
    )
    return connection.execute(sa.select(aliases.c.scene, aliases.c.version, newest.scalar_subquery())).all()


def _jobs(connection: sa.Connection) -> Any:
    states = connection.execute(
        sa.select(jobs.c.state, jobs.c.cancel_asked, sa.func.count()).group_by(jobs.c.state, jobs.c.cancel_asked)
    ).all()
    told = (
        sa.select(sa.func.max(run_metrics.c.id)),
        sa.select(sa.func.max(run_stages.c.at)),
        sa.select(sa.func.max(jobs.c.attempts), sa.func.sum(jobs.c.attempts)),
    )
    return sorted(map(tuple, states)), _scalars(connection, *told)


def _drift(connection: sa.Connection) -> Any:
    return _scalars(connection, sa.select(sa.func.max(drift_readings.c.at)))


def _scalars(connection: sa.Connection, *statements: sa.Select[Any]) -> list[tuple[Any, ...]]:
    return [tuple(row) for statement in statements for row in connection.execute(statement)]


LEDGER_MARKS: dict[Topic, Callable[[sa.Connection], Any]] = {
    "scenes": _scenes,
    "labels": _labels,
    "heads": _heads,
    "jobs": _jobs,
    "drift": _drift,
}
