"""Every Prometheus name of the service in one place.

Promises values summed over all worker processes (multiprocess mode, where PROMETHEUS_MULTIPROC_DIR is set), and label
values that no request can make up: scenes that are served, templates of routes, words of our own. Knows nothing of
what it counts.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess, values
from prometheus_client.metrics import MetricWrapperBase

from core.errors import BadConfiguration
from service.counting import Gatherer
from service.engine.admission import REASONS

FLAGS = ("clipped", "incomplete", "missing", "out_of_range", "silent", "truncated", "unseen")
OTHER = "other"

M = TypeVar("M", bound=MetricWrapperBase)

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64)
_OUTCOMES = ("answered", "refused")
_STATUSES = ("accepted", "duplicate", "pending", "conflict", "corrected", "withdrawn", "released")
_FATES = ("answered", "dropped", "failed")
_DECISIONS = ("promoted", "refused", "rolled_back")
_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_KINDS = ("counter", "histogram", "gauge_livemin", "gauge_livemax")  # a file each, as prometheus_client names them
_RESERVED = 2**18  # bytes of a file: some thousand series


class Kept(Generic[M]):
    """A metric whose children are looked up once and kept: their labels are bounded."""

    def __init__(self, metric: M) -> None:
        self.metric = metric
        self._children: dict[tuple[str, ...], M] = {}

    def labels(self, *values: str) -> M:
        """The child of these labels; the metric itself where it has none."""
        child = self._children.get(values)
        if child is None:
            child = self._children[values] = self.metric.labels(*values) if values else self.metric
        return child


class Metrics:
    """The metrics of one worker process; ``render`` gives those of all."""

    def __init__(self) -> None:
        """Make all metrics at zero.

        Raises:
            BadConfiguration: the disk has no room for them.
        """
        self._gatherer: Gatherer | None = None
        if _FOLDER in os.environ:
            _reserve(Path(os.environ[_FOLDER]))
            process = os.getpid()  # a worker never forks; asking the system at every count costs more than counting
            self._gatherer = Gatherer(lambda: process)
            values.ValueClass = self._gatherer.value_class()
        self._registry = CollectorRegistry()
        self.requests = self._counter(
            "lepton_requests_total", "Requests, by the status of the answer; 499: none was begun.", "route", "status"
        )
        self.predictions = self._counter("lepton_predictions_total", "Answered instances.", "scene", "outcome")
        self.labels = self._counter("lepton_labels_total", "Label events taken in.", "scene", "status")
        self.promotions = self._counter("lepton_promotions_total", "Asked-for promotions.", "scene", "decision")
        self.refused = self._counter(
            "lepton_refused_total", "Requests that found no room or no time.", "scene", "reason"
        )
        self.flagged = self._counter(
            "lepton_flagged_total", "What was out of the ordinary in instances.", "scene", "flag"
        )
        self.unlogged = self._counter("lepton_predictions_unlogged_total", "Predictions lost to the prediction log.")
        self.request_seconds = self._histogram("lepton_request_seconds", "Time of a request.", _SECONDS, "route")
        self.queue_seconds = self._histogram("lepton_queue_seconds", "Wait of an instance for the model.", _SECONDS)
        self.inference_seconds = self._histogram(
            "lepton_inference_seconds", "Time of one run of the model.", _SECONDS, "scene"
        )
        self.batch_size = self._histogram("lepton_batch_size", "Instances in one run of the model.", _SIZES, "scene")
        self.label_to_served = self._histogram(
            "lepton_label_to_served_seconds", "From a label on disk to a worker that serves it.", _SECONDS, "scene"
        )
        self.head_revision = self._gauge(
            "lepton_head_revision", "Head revision that every worker serves at least.", "livemin", "scene"
        )
        self.head_fallback = self._gauge(
            "lepton_head_fallback", "1 while no label stands and the version's own head answers.", "livemax", "scene"
        )
        self.version_skew = self._gauge(
            "lepton_version_skew_seconds",
            "Since when the champion has not been served by all workers; 0 where it is.",
            "livemax",
            "scene",
        )
        self.shadows = self._counter("lepton_shadows_total", "Copies of the traffic.", "scene", "outcome")
        self.model_info = self._gauge(
            "lepton_model_info", "1 for the version that is served.", "livemax", "scene", "version"
        )

    def start(self) -> None:
        """Begin to write counts where the other workers read them."""
        if self._gatherer is not None:
            self._gatherer.start()

    def expect(self, scene: str) -> None:
        """Show the scene's counters at zero, so that their first step is one that Prometheus can see."""
        for outcome in _OUTCOMES:
            self.predictions.labels(scene, outcome)
        for status in _STATUSES:
            self.labels.labels(scene, status)
        for decision in _DECISIONS:
            self.promotions.labels(scene, decision)
        for fate in _FATES:
            self.shadows.labels(scene, fate)
        for reason in REASONS:
            self.refused.labels(scene, reason)
        for flag in FLAGS:
            self.flagged.labels(scene, flag)
        self.version_skew.labels(scene)
        self.label_to_served.labels(scene)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """A request took so long; in the event loop. All workers' metrics have it, and what it counted, at once."""
        self.request_seconds.labels(route).observe(seconds)
        self.requests.labels(route, str(status)).inc()
        if self._gatherer is not None:
            self._gatherer.soon()

    def refuse(self, scene: str, reason: str) -> None:
        """A request found no room, or no time."""
        self.refused.labels(scene, reason if reason in REASONS else OTHER).inc()

    def flag(self, scene: str, flag: str, fields: int) -> None:
        """So many fields of an instance were out of the ordinary."""
        self.flagged.labels(scene, flag if flag in FLAGS else OTHER).inc(fields)

    def skewed(self, scene: str, seconds: float) -> None:
        """The workers of a scene have disagreed for so long."""
        self.version_skew.labels(scene).set(seconds)

    def shadowed(self, scene: str, fate: str) -> None:
        """A copy of the traffic was answered, dropped or failed."""
        self.shadows.labels(scene, fate).inc()

    def render(self) -> bytes:
        """All metrics of all workers in the text format of Prometheus."""
        folder = os.environ.get(_FOLDER)
        if folder is None or self._gatherer is None:
            return generate_latest(self._registry)
        self._gatherer.flush()
        _bury_the_dead(Path(folder))
        whole = CollectorRegistry()
        multiprocess.MultiProcessCollector(whole, path=folder)  # type: ignore[no-untyped-call]
        return generate_latest(whole)

    def close(self) -> None:
        """Take this process out of the gauges that count live workers only."""
        if self._gatherer is not None:
            self._gatherer.stop()
            multiprocess.mark_process_dead(os.getpid())  # type: ignore[no-untyped-call]

    def _counter(self, name: str, text: str, *labels: str) -> Kept[Counter]:
        return Kept(Counter(name, text, labels, registry=self._registry))

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Kept[Histogram]:
        return Kept(Histogram(name, text, labels, buckets=buckets, registry=self._registry))

    def _gauge(self, name: str, text: str, mode: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, multiprocess_mode=mode, registry=self._registry)  # type: ignore[arg-type]


def _reserve(folder: Path) -> None:
    """Take the disk for the memory-mapped files now: a page that is missing later would end the process (SIGBUS)."""
    try:
        for kind in _KINDS:
            with (folder / f"{kind}_{os.getpid()}.db").open("ab") as file:
                os.posix_fallocate(file.fileno(), 0, _RESERVED)
    except OSError as error:
        raise BadConfiguration(
            f"{folder} has no room for metrics: {error.strerror}", "free some megabytes under LEPTON_HOME"
        ) from error


def _bury_the_dead(folder: Path) -> None:
    """A killed worker leaves its live gauges behind; they would hold a minimum down for ever."""
    for file in folder.glob("gauge_live*_*.db"):
        pid = file.stem.rpartition("_")[2]
        if pid.isdigit() and not _alive(int(pid)):
            file.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
