"""A version's traffic watched for drift: windows of predictions and of labelled answers, each judged once.

Promises that a restart judges no window twice, since what was judged stands in the ledger's database. The reference is
the version's first predictions that the log still holds, and the labelled answers before the present ones.
Knows nothing of what is done about drift, nor of other versions.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence

import numpy as np

from core import plugins
from core.drift import DriftReading
from core.home import Home
from core.live_accuracy import live_accuracy
from core.outcomes import MOST, answered
from core.right import near, right
from core.types import Prediction, Scene
from learner.windows import Cell, Window

logger = logging.getLogger(__name__)

DETECTORS = "learner.drift"
ERRORS = "errors"  # the one detector that looks at labelled answers
AT_ONCE = 20  # windows judged in one look, so that labels never wait for long


class Monitor:
    """Watches one version of a scene.

    Attributes:
        estimated_accuracy: mean confidence of the newest full window, which a calibrated classifier's accuracy equals
            while nothing moves (an estimate: Guillory et al., arXiv 2107.03315); None before, and for regressions.
        live_accuracy: share of right ones among the newest labelled answers; where the queue has drawn some of them by
            lot, of those that it offered, weighted so that it is the traffic's (``core/offers.py``); None without
            labels, and for regressions.
    """

    def __init__(self, home: Home, scene: Scene, version: str):
        self.scene = scene
        self.version = version
        self.estimated_accuracy: float | None = None
        self.live_accuracy: float | None = None
        self._home = home
        self._settings = home.settings.drift
        self._reference: Window | None = None
        self._since = 0.0
        self._seen: dict[str, DriftReading] = home.drift.last(scene.name, version)

    def look(self, now: float) -> list[DriftReading]:
        """Judge the windows that have become full; what was said of them, the oldest first."""
        readings = [*self._look_at_predictions(now), *self._look_at_labels(now)]
        if readings:
            self._home.drift.keep(readings)
            self._seen |= {reading.detector: reading for reading in readings}
        return readings

    def standing(self) -> dict[str, DriftReading]:
        """Detector → its newest reading."""
        return dict(self._seen)

    def _look_at_predictions(self, now: float) -> list[DriftReading]:
        reference = self._held()
        if reference is None:
            return []
        judged = [reading for name, reading in self._seen.items() if name != ERRORS]
        until = max((reading.until for reading in judged), default=self._since)
        number = max((reading.number for reading in judged), default=0)
        readings: list[DriftReading] = []
        for _ in range(AT_ONCE):
            rows = self._home.predictions.of_version(self.scene.name, self.version, until, self._settings.window)
            if len(rows) < self._settings.window:
                break
            current = self._window(rows)
            number, until = number + 1, rows[-1].created_at
            readings += self._compared(reference, current, number, until, now)
            if current.labels:
                self.estimated_accuracy = float(current.confidence_N.mean())
        return readings

    def _held(self) -> Window | None:
        """The reference, once there are enough predictions."""
        if self._reference is None:
            rows = self._home.predictions.of_version(self.scene.name, self.version, 0.0, self._settings.reference)
            if len(rows) == self._settings.reference:
                self._reference, self._since = self._window(rows), rows[-1].created_at
        return self._reference

    def _compared(
        self, reference: Window, current: Window, number: int, until: float, now: float
    ) -> list[DriftReading]:
        readings = []
        for name in plugins.names(DETECTORS):
            told = plugins.load(DETECTORS, name).compare(reference, current, self._settings.level)
            if told is not None:
                readings.append(self._reading(name, number, told.value, told.words, until, now))
        return readings

    def _look_at_labels(self, now: float) -> list[DriftReading]:
        rows = answered(self._home, self.scene.name, self.version, MOST)
        wrong_N = (~right(rows, near(rows) if self.scene.task == "regression" else None)).astype(np.int8)
        if rows and self.scene.task == "classification":
            self.live_accuracy = live_accuracy(self._home, self.scene, rows, self._settings.reference)
        last = self._seen.get(ERRORS)
        judged = sum(row.at <= last.until for row in rows) if last is not None else self._settings.labels
        if len(rows) - judged < self._settings.labels:
            return []
        told = plugins.load(DETECTORS, ERRORS).compare(
            Window(wrong_N=wrong_N[:judged]), Window(wrong_N=wrong_N[judged:]), self._settings.level
        )
        if told is None:
            return []
        number = 1 if last is None else last.number + 1
        return [self._reading(ERRORS, number, told.value, told.words, rows[-1].at, now)]

    def _reading(self, detector: str, number: int, value: float, words: str, until: float, now: float) -> DriftReading:
        return DriftReading(
            scene=self.scene.name,
            version=self.version,
            detector=detector,
            number=number,
            value=value,
            words=words,
            until=until,
            at=now,
        )

    def _window(self, rows: Sequence[Prediction]) -> Window:
        return Window(
            features_ND=np.stack([row.features for row in rows]),
            confidence_N=np.array([row.confidence for row in rows], np.float64),
            labels=tuple(row.label for row in rows if row.label is not None),
            values_N=np.array([row.value for row in rows if row.value is not None], np.float64),
            columns=self._columns(rows) if self.scene.modality == "tabular" else {},
        )

    def _columns(self, rows: Sequence[Prediction]) -> dict[str, tuple[Cell, ...]]:
        """Column → cells of those rows whose inputs the log has kept."""
        held = [row.instance or self._home.predictions.instance(row.example) for row in rows]
        tables = [json.loads(data) for data in held if data is not None]
        names = sorted({name for table in tables for name in table})
        return {name: tuple(table.get(name) for table in tables) for name in names}
