"""Settings of jobs: what a trainer and its jobs may use, and when the learner files jobs by itself.

Promises that a value out of its range is refused by name. Knows nothing of jobs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from core.cron import check as check_cron
from core.errors import BadConfiguration
from core.ranges import not_negative, positive

STARTS = ("base", "champion")
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
    """When the learner has a scene retrained by itself, how, and what becomes of it; ``lepton policy`` changes it for
    one scene."""

    labels: int = 500
    """So many new labels since the last retraining are a cause; 0: labels are none. A third of 500 judges:
    enough to tell about every second gain of eight points from luck; with fewer the work is mostly for nothing, and
    gains of three points take two thousand. Of texts, where all judge, 500 tell gains of three points."""
    hours: float = 0.0
    """So many hours since the last retraining are a cause; 0: time is none."""
    cron: str = ""
    """Moments that are a cause, by the clock of the learner's machine: ``0 3 * * 1`` is Mondays at three."""
    drift: bool = False
    """Whether drift of the champion's traffic is a cause, once there are new labels to learn from."""
    quiet: str = ""
    """Hours of the day, by the clock of the learner's machine, in which nothing is filed, such as ``08:00-18:00``."""
    minutes_a_day: float = 240.0
    """Trainer time that the scene's retraining by itself may take within 24 hours; then the next cause waits."""
    start: str = "base"
    """Weights that tuning begins from: ``base``, the pretrained ones, or ``champion``. After an erasure that taints
    the champion it is ``base`` whatever stands here."""
    recipe: str = "auto"
    """How weights are moved; ``auto``: fine-tuning, where the labels suffice and the backbone can be tuned."""
    minutes: float = 5.0
    """Time that one cycle may take to tune."""
    replay: int = 1000
    """Old examples that are learned beside the new ones, classes in turn: as many as there are new ones, and at least
    so many, as far as there are any; where tuning goes on from the champion's tuned weights, no more than new ones."""
    distill: float = 0.0
    """Share of what the champion answers in the targets of replayed examples, 0 to 1; labels have the rest."""
    accepted: str = "promote"
    """What becomes of a version that the gate accepts: ``promote`` at once, or ``shadow`` or ``split``: it challenges
    the champion on live traffic first, and evidence promotes it."""
    undecided: str = "shadow"
    """What becomes of a version against which only too few examples speak, since nothing was lost beyond a margin and
    more was gained: ``shadow``: it answers a copy of the traffic, and evidence promotes it or sends it away; or
    ``refuse``."""
    judging: str = "auto"
    """What labels do that came since the champion was made: ``aside``: three tenths judge and teach nothing, the others
    teach; or ``turns``: all teach and all judge, each by weights that others tuned; ``auto``: turns of texts alone."""
    share: float = 0.1
    """Share of the traffic of a challenger that splits it."""
    margin: float = 0.02
    """Loss in balanced accuracy that the gate takes for none. The smaller it is, the more examples have to judge: of
    four classes 0.02 takes some 170 before equal answers count as equal, 0.01 twice as many."""
    alpha: float = 0.05
    """Chance that the gate calls a candidate better that is not, over all cycles that ask to replace one champion."""
    confidence: float = 0.0
    """Answers less sure than this count as abstentions."""
    abstention: float = 1.0
    """Share of abstentions that the gate allows; 1: any."""
    slices: str = ""
    """Columns of the scene's table, such as ``region, sex``, of which the gate judges every value with twenty examples
    by itself, as it does sources and annotators; none if empty. Each is one more thing to be refused by."""
    least_accuracy: float = 0.0
    """Live accuracy, by labels, below which in any classification of the scene the champion gives way to the one before
    it (``core.fall``); 0: none is too low. Of no use where people label only what is wrong."""
    fall: float = 0.1
    """How much lower than before a promotion live accuracy may be in any task, where the former champion does not watch
    the new one as a shadow; below that it comes back. Of a regression answers are right that miss by at most twice what
    was usual before. 1: any loss is borne."""

    def __post_init__(self) -> None:
        """Check ranges."""
        not_negative(self, "retrain", "labels", "hours", "minutes_a_day", "replay", "margin")
        positive(self, "retrain", "minutes")
        for name in ("distill", "share", "confidence", "abstention", "least_accuracy", "fall"):
            if not 0 <= getattr(self, name) <= 1:
                raise BadConfiguration(f"retrain.{name} is {getattr(self, name)!r}", "give a number from 0 to 1")
        if not 0 < self.alpha < 1:
            raise BadConfiguration(f"retrain.alpha is {self.alpha!r}", "give a chance such as 0.05")
        choices_of = {
            "start": STARTS,
            "accepted": ("promote", "shadow", "split"),
            "undecided": ("shadow", "refuse"),
            "judging": ("auto", "aside", "turns"),
        }
        for name, choices in choices_of.items():
            if getattr(self, name) not in choices:
                raise BadConfiguration(
                    f"retrain.{name} is {getattr(self, name)!r}", f"choose one of: {', '.join(choices)}"
                )
        if self.cron:
            check_cron(self.cron)
        if self.quiet and QUIET.fullmatch(self.quiet) is None:
            raise BadConfiguration(f"retrain.quiet is {self.quiet!r}", "give hours of the day, such as 08:00-18:00")
