"""The trainer's own Prometheus metrics, on a registry of their own."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge, Histogram

from core import plugins
from core.jobs import Jobs
from training.filing import KINDS

SECONDS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)


class Metrics:
    """What the trainer counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.jobs = Gauge("lepton_jobs", "Jobs in the table", ["kind", "state"], registry=self.registry)
        self.busy = Gauge("lepton_trainer_busy", "1 while this trainer has a job", registry=self.registry)
        self.seconds = Histogram(
            "lepton_job_seconds",
            "An attempt at a job, by the state that it left the job in",
            ["kind", "state"],
            buckets=SECONDS,
            registry=self.registry,
        )
        for kind in plugins.names(KINDS):
            for state in ("done", "failed"):
                self.seconds.labels(kind, state)  # shown at zero before the first

    def count(self, jobs: Jobs) -> None:
        """Show what is in the table now."""
        self.jobs.clear()
        for (kind, state), number in jobs.counts().items():
            self.jobs.labels(kind, state).set(number)
