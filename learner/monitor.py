"""A version's traffic watched for drift: windows of predictions and of labelled answers, each judged once.

Inputs are watched once; of several tasks each has its answers, their confidence and its errors watched: for the tasks
beside the first a detector's name is followed by the task's (``errors.severity``).

Promises that a restart judges no window twice, since what was judged stands in the ledger's database. The reference is
the version's first predictions that the log still holds, and the labelled answers before the present ones.
Knows nothing of what is done about drift, nor of other versions.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from itertools import cycle

import numpy as np

from core import plugins
from core.drift import DriftReading
from core.home import Home
from core.live_accuracy import live_accuracy
from core.outcomes import MOST, answered
from core.right import near, right
from core.types import Prediction, Reply, Scene
from learner.windows import Cell, Reading, Window

logger = logging.getLogger(__name__)

DETECTORS = "learner.drift"
ERRORS = "errors"  # the one detector that looks at labelled answers
AT_ONCE = 20  # windows judged in one look, so that labels never wait for long


class Monitor:
    """Watches one version of a scene.

    Attributes:
        estimated_accuracy: by task, the mean confidence of the newest full window, which a calibrated classifier's
            accuracy equals while nothing moves (an estimate: Guillory et al., arXiv 2107.03315); none before, and for
            regressions.
        live_accuracy: by task, the share of right ones among the newest labelled answers; where the queue has drawn
            some of them by lot, of those that it offered, weighted so that it is the traffic's (``core/offers.py``);
            none without labels, and for regressions.
    """

    def __init__(self, home: Home, scene: Scene, version: str):
        self.scene = scene
        self.version = version
        self.estimated_accuracy: dict[str, float] = {}
        self.live_accuracy: dict[str, float] = {}
        self._home = home
        self._settings = home.settings.drift
        self._reference: tuple[Window, ...] = ()
        self._since = 0.0
        self._turns = cycle(scene.tasks)
        self._seen: dict[str, DriftReading] = home.drift.last(scene.name, version)

    def look(self, now: float) -> list[DriftReading]:
        """Judge the windows that have become full; what was said of them, the oldest first.

        Of several tasks one has its labelled answers looked at, the next one at the next look, so that labels wait no
        longer than for one.
        """
        readings = self._look_at_predictions(now) + self._look_at_labels(next(self._turns), now)
        if readings:
            self._home.drift.keep(readings)
            self._seen |= {reading.detector: reading for reading in readings}
        return readings

    def standing(self) -> dict[str, DriftReading]:
        """Detector → its newest reading."""
        return dict(self._seen)

    def _look_at_predictions(self, now: float) -> list[DriftReading]:
        if not self._held():
            return []
        of_labels = {self._name(ERRORS, task) for task in self.scene.tasks}
        judged = [reading for name, reading in self._seen.items() if name not in of_labels]
        until = max((reading.until for reading in judged), default=self._since)
        number = max((reading.number for reading in judged), default=0)
        readings: list[DriftReading] = []
        for _ in range(AT_ONCE):
            rows = self._home.predictions.of_version(self.scene.name, self.version, until, self._settings.window)
            if len(rows) < self._settings.window:
                break
            number, until = number + 1, rows[-1].created_at
            watched = (None, *self.scene.tasks)
            for task, reference, current in zip(watched, self._reference, self._windows(rows), strict=True):
                readings += self._compared(task, reference, current, number, until, now)
                if task is not None and current.labels:
                    self.estimated_accuracy[task.task_name] = float(current.confidence_N.mean())
        return readings

    def _held(self) -> bool:
        """Whether there is a reference: not before there are enough predictions."""
        if not self._reference:
            rows = self._home.predictions.of_version(self.scene.name, self.version, 0.0, self._settings.reference)
            if len(rows) == self._settings.reference:
                self._reference, self._since = self._windows(rows), rows[-1].created_at
        return bool(self._reference)

    def _compared(
        self, task: Scene | None, reference: Window, current: Window, number: int, until: float, now: float
    ) -> list[DriftReading]:
        readings = []
        for name in plugins.names(DETECTORS):
            told = plugins.load(DETECTORS, name).compare(reference, current, self._settings.level)
            if told is not None:
                readings.append(self._reading(task, name, told, number, until, now))
        return readings

    def _look_at_labels(self, task: Scene, now: float) -> list[DriftReading]:
        rows = answered(self._home, self.scene.name, self.version, MOST, task=task.task_name or None)
        wrong_N = (~right(rows, near(rows) if task.task == "regression" else None)).astype(np.int8)
        if rows and task.task == "classification":
            self.live_accuracy[task.task_name] = live_accuracy(self._home, task, rows, self._settings.reference)
        last = self._seen.get(self._name(ERRORS, task))
        judged = sum(row.at <= last.until for row in rows) if last is not None else self._settings.labels
        if len(rows) - judged < self._settings.labels:
            return []
        told = plugins.load(DETECTORS, ERRORS).compare(
            Window(wrong_N=wrong_N[:judged]), Window(wrong_N=wrong_N[judged:]), self._settings.level
        )
        if told is None:
            return []
        number = 1 if last is None else last.number + 1
        return [self._reading(task, ERRORS, told, number, rows[-1].at, now)]

    def _name(self, detector: str, task: Scene | None) -> str:
        """A detector's name, of the tasks beside the first with the task's behind it; None looks at inputs."""
        if task is None or task.task_name == self.scene.task_name:
            return detector
        return f"{detector}.{task.task_name}"

    def _reading(
        self, task: Scene | None, detector: str, told: Reading, number: int, until: float, now: float
    ) -> DriftReading:
        return DriftReading(
            scene=self.scene.name,
            version=self.version,
            detector=self._name(detector, task),
            number=number,
            value=told.value,
            words=f"{task.task_name}: {told.words}" if task is not None and self.scene.further else told.words,
            until=until,
            at=now,
        )

    def _windows(self, rows: Sequence[Prediction]) -> tuple[Window, ...]:
        """The inputs, and for every task what was answered."""
        columns = self._columns(rows) if self.scene.modality == "tabular" else {}
        inputs = Window(features_ND=np.stack([row.features for row in rows]), columns=columns)
        return (inputs, *(_answers([row.of(task.task_name) for row in rows]) for task in self.scene.tasks))

    def _columns(self, rows: Sequence[Prediction]) -> dict[str, tuple[Cell, ...]]:
        """Column → cells of those rows whose inputs the log has kept."""
        held = [row.instance or self._home.predictions.instance(row.example) for row in rows]
        tables = [json.loads(data) for data in held if data is not None]
        names = sorted({name for table in tables for name in table})
        return {name: tuple(table.get(name) for table in tables) for name in names}


def _answers(said: Sequence[Reply]) -> Window:
    return Window(
        confidence_N=np.array([reply.confidence for reply in said], np.float64),
        labels=tuple(reply.label for reply in said if reply.label is not None),
        values_N=np.array([reply.value for reply in said if reply.value is not None], np.float64),
    )
