"""Every Prometheus name of the service in one place.

Promises values summed over all worker processes (multiprocess mode, where PROMETHEUS_MULTIPROC_DIR is set), and label
values that no request can make up: scenes that are served, templates of routes, words of our own. Knows nothing of
what it counts.
"""

from __future__ import annotations

import os
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

from core.errors import BadConfiguration

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64)
_OUTCOMES = ("answered", "refused")
_STATUSES = ("accepted", "duplicate", "pending", "conflict", "corrected", "withdrawn")
_DECISIONS = ("promoted", "refused")
_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_KINDS = ("counter", "histogram", "gauge_livemin", "gauge_livemax")  # a file each, as prometheus_client names them
_RESERVED = 2**18  # bytes of a file: some thousand series


class Metrics:
    """The metrics of one worker process; ``render`` gives those of all."""

    def __init__(self) -> None:
        """Make all metrics at zero.

        Raises:
            BadConfiguration: the disk has no room for them.
        """
        if _FOLDER in os.environ:
            _reserve(Path(os.environ[_FOLDER]))
        self._registry = CollectorRegistry()
        self.requests = self._counter(
            "lepton_requests_total", "Requests, by the status of the answer; 499: none was begun.", "route", "status"
        )
        self.predictions = self._counter("lepton_predictions_total", "Answered instances.", "scene", "outcome")
        self.labels = self._counter("lepton_labels_total", "Label events taken in.", "scene", "status")
        self.promotions = self._counter("lepton_promotions_total", "Asked-for promotions.", "scene", "decision")
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
        self.model_info = self._gauge(
            "lepton_model_info", "1 for the version that is served.", "livemax", "scene", "version"
        )

    def expect(self, scene: str) -> None:
        """Show the scene's counters at zero, so that their first step is one that Prometheus can see."""
        for outcome in _OUTCOMES:
            self.predictions.labels(scene, outcome)
        for status in _STATUSES:
            self.labels.labels(scene, status)
        for decision in _DECISIONS:
            self.promotions.labels(scene, decision)
        self.label_to_served.labels(scene)

    def render(self) -> bytes:
        """All metrics of all workers in the text format of Prometheus."""
        folder = os.environ.get(_FOLDER)
        if folder is None:
            return generate_latest(self._registry)
        _bury_the_dead(Path(folder))
        whole = CollectorRegistry()
        multiprocess.MultiProcessCollector(whole, path=folder)  # type: ignore[no-untyped-call]
        return generate_latest(whole)

    def close(self) -> None:
        """Take this process out of the gauges that count live workers only."""
        if _FOLDER in os.environ:
            multiprocess.mark_process_dead(os.getpid())  # type: ignore[no-untyped-call]

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self._registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self._registry)

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
