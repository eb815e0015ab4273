"""The learner's own Prometheus metrics, on a registry of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from core.fall import Bound, Name

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """What the learner counts."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.leader = Gauge("lepton_learner_leader", "1 while this learner leads", registry=self.registry)
        self.revision = Gauge("lepton_head_revision", "Newest head revision", ["scene"], registry=self.registry)
        self.standing = Gauge("lepton_standing_examples", "Examples in the head", ["scene"], registry=self.registry)
        self.conflicts = Gauge("lepton_conflicts", "Examples whose annotators tie", ["scene"], registry=self.registry)
        self.held = Gauge(
            "lepton_labels_held",
            "Examples whose labels wait: for the guard, a second opinion, or in quarantine",
            ["scene", "reason"],
            registry=self.registry,
        )
        self.head_held = Gauge(
            "lepton_head_held",
            "1 while the guard holds a head and the one before serves",
            ["scene"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "lepton_solve_seconds",
            "From reading the ledger to a published revision",
            ["scene"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.learned = Counter(
            "lepton_labels_learned",
            "Labels that a published head was the first to include, however they came",
            ["scene"],
            registry=self.registry,
        )
        self.failures = Counter(
            "lepton_learner_failures", "Scenes that failed a step", ["scene"], registry=self.registry
        )
        self.drift = Gauge(
            "lepton_drift",
            "What a detector said of the newest window, over its limit: above 1 is drift",
            ["scene", "detector"],
            registry=self.registry,
        )
        self.live_accuracy = Gauge(
            "lepton_live_accuracy",
            "Share of right ones among the newest labelled answers, given before their labels",
            ["scene", "task"],
            registry=self.registry,
        )
        self.estimated_accuracy = Gauge(
            "lepton_estimated_accuracy",
            "Mean confidence of the newest window: an estimate of accuracy without labels",
            ["scene", "task"],
            registry=self.registry,
        )
        self.rulings = Counter(
            "lepton_rulings",
            "Decided by evidence: promote (of a probation: the former champion came back), end, or rollback",
            ["scene", "verdict"],
            registry=self.registry,
        )
        self.fallen = Gauge(
            "lepton_accuracy_fallen",
            "Evidence that live accuracy is below a bound, over what convinces: at 1 the former champion comes back",
            ["scene", "bound"],
            registry=self.registry,
        )
        self.joined = Counter("lepton_labels_joined", "Labels joined to a late prediction", registry=self.registry)
        self.orphaned = Counter("lepton_labels_orphaned", "Labels whose prediction never came", registry=self.registry)

    def follows(self, scene: str, standing: int, conflicts: int) -> None:
        """Note a scene that is followed from here on; its counters show at zero."""
        self.standing.labels(scene).set(standing)
        self.conflicts.labels(scene).set(conflicts)
        self.seconds.labels(scene)
        self.learned.labels(scene)

    def holds(self, scene: str, head: bool, labels: Mapping[str, int]) -> None:
        """Note whether a head is held, and how many examples wait by reason."""
        self.head_held.labels(scene).set(head)
        for reason, count in labels.items():
            self.held.labels(scene, reason).set(count)

    def solved(self, scene: str, number: int, seconds: float, standing: int, conflicts: int) -> None:
        """Note a published revision."""
        self.revision.labels(scene).set(number)
        self.standing.labels(scene).set(standing)
        self.conflicts.labels(scene).set(conflicts)
        self.seconds.labels(scene).observe(seconds)

    def guarded(self, scene: str, asked: Sequence[Bound]) -> None:
        """Note how near a champion is to each bound of its live accuracy, of several tasks the nearest; one that is not
        asked shows at zero."""
        for name in get_args(Name):
            told = [bound.evidence / bound.convinces for bound in asked if bound.name == name]
            self.fallen.labels(scene, name).set(max(told, default=0.0))

    def watched(
        self, scene: str, drift: Mapping[str, float], live: Mapping[str, float], estimated: Mapping[str, float]
    ) -> None:
        """Note what is known of a scene's traffic, accuracies by task; what is not known is not shown."""
        for verdict in ("promote", "end", "rollback"):
            self.rulings.labels(scene, verdict)
        for detector, value in drift.items():
            self.drift.labels(scene, detector).set(value)
        for gauge, shares in ((self.live_accuracy, live), (self.estimated_accuracy, estimated)):
            for task, share in shares.items():
                gauge.labels(scene, task).set(share)
