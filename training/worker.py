"""The trainer's loop: take a job, have it done in a process of its own, keep the lease, settle what came of it.

Promises that a job that was cancelled has ended within two seconds, that a trainer which lost a job ends its process,
and that killing the trainer at any point loses no job: another takes it over after its lease. Knows nothing of kinds.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from core.confined import ended_by
from core.errors import LeadershipLost, LeptonError
from core.failpoint import passes
from core.home import Home
from core.job_files import folder_of
from core.job_settings import TrainerSettings
from core.jobs import Hold, Job
from training.child import Child, Limits, memory_of_machine
from training.metrics import Metrics
from training.presence import Presence

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.2  # between two looks at the process and at whether the job was cancelled
RENEWALS = 3  # renewals in the life of a lease
TIDY_SECONDS = 3600.0
DAY_SECONDS = 86400.0


class Trainer:
    """Takes one job after the other.

    Args:
        home: where everything lies.
        owner: who this is, for the leases; unique to the process.
        metrics: what to count in.
        clock: seconds since the epoch.
    """

    def __init__(self, home: Home, owner: str, metrics: Metrics, clock: Callable[[], float] = time.time):
        self._home = home
        self._owner = owner
        self._metrics = metrics
        self._clock = clock
        self._settings = home.settings.trainer
        self._tidy_at = 0.0
        self._presence = Presence(home.ledger.database, owner, clock)

    def run(self, stop: threading.Event, *, once: bool = False) -> bool:
        """Work until ``stop`` is set, or, if ``once``, until nothing can be begun any more; whether no job failed."""
        fine = True
        while not stop.is_set():
            self._presence.tell()
            try:
                job = self.step(stop)
            except (
                LeptonError,
                SQLAlchemyError,
            ):  # a locked or full database: whatever was taken is taken over after its lease
                logger.exception("the queue cannot be read or written just now")
                job = None
            if job is not None:
                fine = fine and job.state != "failed"
            elif once:
                break
            else:
                stop.wait(self._settings.poll_seconds)
        self._presence.leave()
        return fine

    def step(self, stop: threading.Event) -> Job | None:
        """Take one job and see it through; None where there is none."""
        if self._clock() >= self._tidy_at:
            tidy(self._home, self._clock())
            self._tidy_at = self._clock() + TIDY_SECONDS
        self._metrics.count(self._home.jobs)
        hold = self._home.jobs.claim(self._owner, self._settings.lease_seconds)
        if hold is None:
            return None
        job = hold.job
        logger.info("job %s (%s of %s): attempt %d", job.id, job.kind, job.scene, job.attempts)
        passes("trainer.claimed")
        began = self._clock()
        with self._metrics.busy.track_inprogress():
            ended = self._see_through(hold, stop)
        self._metrics.seconds.labels(job.kind, ended.state).observe(self._clock() - began)
        self._metrics.count(self._home.jobs)
        logger.info("job %s is %s%s", job.id, ended.state, f": {ended.reason}" if ended.reason else "")
        return ended

    def _see_through(self, hold: Hold, stop: threading.Event) -> Job:
        try:
            child = self._start(hold)
        except OSError as error:
            return self._settle(hold, f"its process could not be started: {error.strerror}", True, stop)
        passes("trainer.started")
        try:
            reason, again = self._attend(hold, child, stop)
        except LeadershipLost:
            logger.warning("job %s was lost to another trainer", hold.job.id)
            return self._home.jobs.find(hold.job.id)
        finally:
            child.close()
        passes("trainer.ended")
        return self._settle(hold, reason, again, stop)

    def _start(self, hold: Hold) -> Child:
        for left in folder_of(self._home.settings.home, hold.job.id, hold.job.attempts).parent.glob("*/tmp"):
            shutil.rmtree(left, ignore_errors=True)  # of an attempt whose trainer was killed
        return Child(
            "training.attempt",
            [hold.job.id, hold.lease.owner, str(hold.lease.token)],
            folder_of(self._home.settings.home, hold.job.id, hold.job.attempts),
            limits(self._settings),
            self._settings.log_kilobytes * 1024,
            self._home.settings.home,
        )

    def _attend(self, hold: Hold, child: Child, stop: threading.Event) -> tuple[str, bool]:
        """Wait for the process while the job is ours; why it is over, and whether another attempt can help."""
        seconds, now = self._settings.lease_seconds, self._clock()
        renewed, late = now, now + self._settings.job_minutes * 60
        while (code := child.wait(LOOK_SECONDS)) is None:
            now = self._clock()
            self._presence.tell()
            if stop.is_set() or self._cancelled(hold):
                return "it was stopped", False
            if now >= late:
                return (
                    f"it did not end within {self._settings.job_minutes:g} minutes: raise [trainer] job_minutes",
                    False,
                )
            if now - renewed >= seconds / RENEWALS:
                renewed = now if self._renew(hold) else renewed
                self._metrics.count(self._home.jobs)
            if now - renewed >= seconds:
                raise LeadershipLost("the lease could not be renewed", "nothing: another trainer takes the job over")
        reason = ended_by(-code) if code < 0 else f"its process ended with code {code} and said nothing"
        return reason, code != -signal.SIGXCPU

    def _cancelled(self, hold: Hold) -> bool:
        try:
            return self._home.jobs.find(hold.job.id).cancel_asked
        except (LeptonError, SQLAlchemyError):
            return False

    def _renew(self, hold: Hold) -> bool:
        try:
            self._home.jobs.heartbeat(hold, self._settings.lease_seconds)
        except LeadershipLost:
            if self._home.jobs.find(hold.job.id).state not in {"done", "failed"}:
                raise
            return False  # the process has written it, and is about to end
        except LeptonError as error:
            logger.error("job %s: the lease could not be renewed: %s", hold.job.id, error)
            return False
        return True

    def _settle(self, hold: Hold, reason: str, again: bool, stop: threading.Event) -> Job:
        """Write what the process has left open, where it has."""
        jobs = self._home.jobs
        try:
            if stop.is_set():
                return jobs.give_back(hold)
            return jobs.fail(hold, reason, again=again, wait=self._settings.retry_seconds)
        except LeadershipLost:  # the process has written it itself, or somebody else has the job
            return jobs.find(hold.job.id)


def limits(settings: TrainerSettings) -> Limits:
    """What a job may use."""
    minutes = settings.processor_minutes or settings.job_minutes * (os.cpu_count() or 1)
    megabytes = settings.memory_megabytes or memory_of_machine() * 4 // 5
    return Limits(processor_seconds=math.ceil(60 * minutes), megabytes=megabytes, nice=settings.nice)


def tidy(home: Home, now: float) -> None:
    """Remove jobs that ended long ago, and the temporary files of attempts whose trainer was killed."""
    folder = home.settings.home / "jobs"
    for job in home.jobs.forget(now - home.settings.trainer.keep_days * DAY_SECONDS):
        shutil.rmtree(folder / job, ignore_errors=True)
    for left in folder.glob("*/*/tmp"):
        job, number = left.parts[-3:-1]
        if all(attempt.outcome != "running" for attempt in home.jobs.attempts(job) if str(attempt.number) == number):
            shutil.rmtree(left, ignore_errors=True)
