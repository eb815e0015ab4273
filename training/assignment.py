"""What a job's work is given: the home, how to tell where it is, and what earlier attempts left.

Promises that telling costs a write every half a second at most, beside those that begin a stage or tell a metric.
Knows nothing of kinds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from core.home import Home
from core.jobs import Job

TELL_SECONDS = 0.5  # between two rows about how far a stage is


class Teller:
    """A ``training.pipeline.Reporter`` whose words become rows."""

    def __init__(self, home: Home, run: str, clock: Callable[[], float] = time.monotonic):
        self._progress = home.progress
        self._run = run
        self._clock = clock
        self._told_at = -TELL_SECONDS

    @property
    def run(self) -> str:
        """The job's id."""
        return self._run

    def stage(self, title: str) -> None:
        """A new stage begins."""
        print(f"… {title}", flush=True)
        self._progress.stage(self._run, title)
        self._told_at = -TELL_SECONDS

    def progress(self, done: int, total: int) -> None:
        """The present stage has come this far; told when it is time, or when all is done."""
        now = self._clock()
        if done >= total or now - self._told_at >= TELL_SECONDS:
            self._told_at = now
            self._progress.advance(self._run, done, total)

    def metric(self, name: str, step: int, value: float) -> None:
        """A metric has this value at this step."""
        self._progress.metric(self._run, name, step, value)

    def note(self, words: str) -> None:
        """A line of the job's log."""
        print(f"  {words}", flush=True)


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """A job at work.

    Attributes:
        home: opened for this job: once the job is lost or cancelled, its ledger takes nothing from it any more.
        versions: what earlier attempts have registered, in order.
    """

    home: Home
    job: Job
    reporter: Teller
    versions: tuple[str, ...] = ()
