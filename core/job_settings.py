"""Settings of jobs: what a trainer and its jobs may use, and when the learner files jobs by itself.

Promises that a value out of its range is refused by name. Knows nothing of jobs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.errors import BadConfiguration
from core.ranges import not_negative, positive

QUIET = re.compile(r"(([01]\d|2[0-3]):[0-5]\d)-(([01]\d|2[0-3]):[0-5]\d)")


@dataclass(frozen=True, kw_only=True)
class TrainerSettings:
    """How a trainer takes jobs, and what each may use in its process of its own."""

    poll_seconds: float = 1.0
    """How often the queue is looked at."""
    lease_seconds: float = 10.0
    """How long a silent trainer keeps its job; then another takes it over."""
    attempts: int = 3
    """How often a job is begun before it is given up; once where it failed for a reason that no attempt can mend."""
    retry_seconds: float = 10.0
    """Wait before a second attempt, doubled with each further one."""
    job_minutes: float = 240.0
    """How long an attempt may take by the clock."""
    processor_minutes: float = 0.0
    """Processor time of the job's process; 0: what ``job_minutes`` allow on all processors."""
    memory_megabytes: int = 0
    """Memory that the job's process may write to; 0: four fifths of the machine's."""
    nice: int = 10
    """By how much the job gives way to what serves, 0 to 19."""
    log_kilobytes: int = 1024
    """What is kept of the words that an attempt prints: the last so many."""
    keep_days: float = 90.0
    """How long a job that has ended is kept, with its log and its metrics."""
    metrics_host: str = "127.0.0.1"
    """Address of the trainer's own ``/metrics``."""
    metrics_port: int = 3002
    """Port of the trainer's own ``/metrics``; 0 turns it off."""

    def __post_init__(self) -> None:
        """Check ranges."""
        positive(self, "trainer", "poll_seconds", "lease_seconds", "attempts", "job_minutes", "log_kilobytes")
        positive(self, "trainer", "keep_days")
        not_negative(self, "trainer", "retry_seconds", "processor_minutes", "memory_megabytes")
        if not 0 <= self.nice <= 19:
            raise BadConfiguration(f"trainer.nice is {self.nice}", "give a number from 0 to 19")


@dataclass(frozen=True, kw_only=True)
class RetrainSettings:
    """When the learner has a scene retrained by itself; ``lepton policy`` changes it for one scene."""

    labels: int = 0
    """So many new labels since the last retraining are a cause; 0: labels are none."""
    hours: float = 0.0
    """So many hours since the last retraining are a cause; 0: time is none."""
    drift: bool = False
    """Whether drift of the champion's traffic is a cause, once there are new labels to learn from."""
    quiet: str = ""
    """Hours of the day, by the clock of the learner's machine, in which nothing is filed, such as ``08:00-18:00``."""
    minutes_a_day: float = 240.0
    """Trainer time that the scene's retraining by itself may take within 24 hours; then the next cause waits."""

    def __post_init__(self) -> None:
        """Check ranges."""
        not_negative(self, "retrain", "labels", "hours", "minutes_a_day")
        if self.quiet and QUIET.fullmatch(self.quiet) is None:
            raise BadConfiguration(f"retrain.quiet is {self.quiet!r}", "give hours of the day, such as 08:00-18:00")
