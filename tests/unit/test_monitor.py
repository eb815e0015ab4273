"""Traffic is watched window by window, each judged once, and what moved is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.config import DatabaseSettings, DriftSettings, Settings
from core.drift import DriftReading
from core.errors import BadConfiguration
from core.home import Home, open_home
from core.offers import Lot
from core.types import Prediction, Scene, Task
from learner.loop import Learner
from learner.metrics import Metrics
from learner.monitor import Monitor
from tests.homes import SCENE, WIDTH, declare, evidence_of, example_of, feedback_of, head_of, manifest_of, prediction_of
from tests.ward import WARD, Ward

VERSION = "v" * 64
DRIFT = DriftSettings(every_seconds=1.0, reference=60, window=40, labels=20)


class Traffic:
    """A home with one champion, answering inputs whose features, classes and confidence can be shifted."""

    def __init__(self, home: Home, task: Task = "classification", modality: str = "image") -> None:
        self.home, self.count, self.rng = home, 0, np.random.default_rng(0)
        self.scene: Scene = replace(declare(home, task=task), modality=modality)
        home.registry.register(SCENE, VERSION, manifest_of(), head_of(0.0))

    def answer(self, count: int, *, shift: int = 0, dogs: float = 0.5, sure: float = 0.8, age: float = 40.0) -> None:
        rows = []
        for _ in range(count):
            self.count += 1
            features = self.rng.integers(-9000, 9001, WIDTH).astype(np.int16) + np.int16(shift)
            row = {"age": float(self.rng.normal(age, 5)), "sex": "f"}
            told: Prediction = replace(
                prediction_of(str(self.count), f"{SCENE}:{self.count:032x}", at=float(self.count)),
                features=features.astype(np.int16),
                label="dog" if self.rng.random() < dogs else "cat",
                confidence=float(np.clip(self.rng.normal(sure, 0.05), 0, 1)),
                instance=json.dumps(row).encode(),
            )
            rows.append(told)
        self.home.predictions.append(rows)

    def label(self, first: int, count: int, wrong: float) -> None:
        """Label answers from number ``first`` on, a share of them as wrong."""
        for number in range(first, first + count):
            found = self.home.predictions.find([f"{SCENE}:{number:032x}"])[f"{SCENE}:{number:032x}"]
            other = {"dog": "cat", "cat": "dog"}[found.label or ""]
            said = other if self.rng.random() < wrong else found.label
            self.home.ledger.add(feedback_of(str(number), said or ""), evidence_of(str(number)))

    def monitor(self) -> Monitor:
        return Monitor(self.home, self.scene, VERSION)


@pytest.fixture
def home(tmp_path: Path, url: str) -> Iterator[Home]:
    opened = open_home(Settings(home=tmp_path, database=DatabaseSettings(url=url), drift=DRIFT))
    yield opened
    opened.close()


def drifted(readings: list[DriftReading]) -> set[str]:
    return {reading.detector for reading in readings if reading.drifted}


def turns(monitor: Monitor, now: float) -> list[DriftReading]:
    """What is said until every task had its turn."""
    return [reading for _ in monitor.scene.tasks for reading in monitor.look(now)]


def test_before_there_is_a_reference_nothing_is_said(home: Home) -> None:
    traffic = Traffic(home)
    traffic.answer(59)
    assert traffic.monitor().look(1.0) == []
    traffic.answer(40)
    assert traffic.monitor().look(1.0) == []  # the reference, and 39 more: no window is full


def test_traffic_that_stays_is_no_drift_and_what_moves_is_named(home: Home) -> None:
    traffic, monitor = Traffic(home), None
    traffic.answer(60 + 40)
    monitor = traffic.monitor()
    first = monitor.look(1.0)
    assert {reading.detector for reading in first} == {"inputs", "answers", "confidence"}
    assert drifted(first) == set()
    assert monitor.estimated_accuracy[""] == pytest.approx(0.8, abs=0.03)
    traffic.answer(40, shift=9000, dogs=1.0, sure=0.5)
    second = monitor.look(2.0)
    assert drifted(second) == {"inputs", "answers", "confidence"}
    assert all(reading.words and reading.number == 2 for reading in second)
    assert monitor.estimated_accuracy[""] == pytest.approx(0.5, abs=0.03)
    assert monitor.look(3.0) == []


def test_a_restart_judges_no_window_twice(home: Home) -> None:
    traffic = Traffic(home)
    traffic.answer(60 + 85)
    assert {reading.number for reading in traffic.monitor().look(1.0)} == {1, 2}
    assert traffic.monitor().look(2.0) == []
    traffic.answer(40)
    assert {reading.number for reading in traffic.monitor().look(3.0)} == {3}
    kept = home.drift.of(SCENE, VERSION)
    assert len(kept) == len({(reading.detector, reading.number) for reading in kept}) == 9
    home.drift.keep([replace(kept[0], value=99.0)])
    assert home.drift.of(SCENE, VERSION) == kept


def test_errors_that_rise_are_seen_on_labelled_answers(home: Home) -> None:
    traffic = Traffic(home)
    traffic.answer(300)
    traffic.label(1, 100, 0.05)
    monitor = traffic.monitor()
    assert drifted([r for r in monitor.look(1.0) if r.detector == "errors"]) == set()
    assert monitor.live_accuracy[""] == pytest.approx(0.95, abs=0.05)
    traffic.label(101, 100, 0.9)
    assert "errors" in drifted(monitor.look(2.0))
    assert "errors" in {name for name, reading in traffic.monitor().standing().items() if reading.drifted}


def test_live_accuracy_weighs_by_the_chances_of_the_queue(home: Home) -> None:
    traffic = Traffic(home)
    traffic.answer(60)
    traffic.label(1, 20, wrong=1.0)  # what the queue chose for sure
    traffic.label(21, 10, wrong=0.0)  # what it drew by lot, one of four
    traffic.label(31, 30, wrong=1.0)  # what nobody offered
    chances = {example_of(str(n)): 1.0 if n <= 20 else 0.25 for n in range(1, 31)}
    monitor = traffic.monitor()
    monitor.look(1.0)
    assert monitor.live_accuracy[""] == pytest.approx(10 / 60)
    home.offers.draw(SCENE, "", lambda since: Lot(chances, None))
    monitor.look(2.0)
    assert monitor.live_accuracy[""] == pytest.approx(40 / 60)


def test_the_column_of_a_table_that_moved_is_named(home: Home) -> None:
    traffic = Traffic(home, modality="tabular")
    traffic.answer(60 + 40)
    traffic.answer(40, age=80.0)
    words = [reading.words for reading in traffic.monitor().look(1.0) if reading.detector == "columns"]
    assert len(words) == 2 and "'age'" in words[1]
    assert "columns" in drifted(home.drift.of(SCENE, VERSION)[:4])


def test_the_learner_shows_what_was_said(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    traffic = Traffic(home)
    traffic.answer(60)
    traffic.answer(40, shift=9000)
    traffic.label(1, 10, 0.0)
    metrics = Metrics()
    Learner(home, "one", metrics, lambda: 5.0).watch_traffic()
    value = metrics.registry.get_sample_value("lepton_drift", {"scene": SCENE, "detector": "inputs"})
    assert value is not None and value > 1.0
    assert metrics.registry.get_sample_value("lepton_live_accuracy", {"scene": SCENE, "task": ""}) == 1.0
    estimated = metrics.registry.get_sample_value("lepton_estimated_accuracy", {"scene": SCENE, "task": ""})
    assert estimated == pytest.approx(0.8, abs=0.03)
    assert "drifts (inputs)" in caplog.text


def test_of_several_tasks_each_has_its_answers_and_its_errors_watched_and_inputs_are_watched_once(home: Home) -> None:
    ward = Ward(home)
    ward.answer(60, pet=1.0, age=1.0, mood=1.0)
    ward.answer(40, pet=1.0, age=1.0, mood=1.0)
    monitor = Monitor(home, WARD, ward.version)
    first = turns(monitor, 1.0)
    told = {reading.detector for reading in first}
    assert told == {"inputs", "answers", "answers.age", "answers.mood", "confidence", "confidence.mood"} | {
        "errors",
        "errors.age",
        "errors.mood",
    }
    assert drifted(first) == set() and monitor.live_accuracy == {"pet": 1.0, "mood": 1.0}
    assert monitor.estimated_accuracy == {"pet": 0.75, "mood": 1.0}, "a value has no accuracy"
    ward.answer(80, pet=1.0, age=1.0, mood=0.0)
    second = turns(monitor, 2.0)
    assert drifted(second) == {"answers.mood", "errors.mood"}
    assert {reading.words.partition(":")[0] for reading in second if reading.drifted} == {"mood"}
    assert all(reading.words.startswith("inputs moved") for reading in second if reading.detector == "inputs")
    assert monitor.live_accuracy["pet"] == 1.0 and monitor.live_accuracy["mood"] < 0.5
    assert turns(Monitor(home, WARD, ward.version), 3.0) == [], "a restart judges nothing twice"


def test_labels_of_one_task_are_looked_at_in_a_look_so_that_labels_do_not_wait_for_all(home: Home) -> None:
    ward = Ward(home)
    ward.answer(40, pet=1.0, age=1.0, mood=1.0)
    monitor = Monitor(home, WARD, ward.version)
    each = [[reading.detector for reading in monitor.look(1.0)] for _ in range(4)]
    assert each == [["errors"], ["errors.age"], ["errors.mood"], []]


def test_the_learner_shows_the_accuracy_of_every_task(home: Home) -> None:
    ward = Ward(home)
    ward.answer(60 + 40, pet=1.0, age=1.0, mood=0.5)
    metrics = Metrics()
    learner = Learner(home, "one", metrics, lambda: 5.0)
    for _ in WARD.tasks:
        learner.watch_traffic()
    shown = {
        task: metrics.registry.get_sample_value("lepton_live_accuracy", {"scene": SCENE, "task": task})
        for task in ("pet", "age", "mood")
    }
    assert shown == {"pet": 1.0, "age": None, "mood": 0.5}
    drift = metrics.registry.get_sample_value("lepton_drift", {"scene": SCENE, "detector": "errors.mood"})
    assert drift is not None and drift < 1.0


def test_a_scene_that_cannot_be_watched_stops_no_other(home: Home, caplog: pytest.LogCaptureFixture) -> None:
    traffic = Traffic(home, modality="tabular")
    home.predictions.append(
        [replace(prediction_of(str(n), f"{SCENE}:{n:032x}", at=float(n + 1)), instance=b"no JSON") for n in range(100)]
    )
    home.registry.declare(replace(traffic.scene, name="tables", modality="tabular"))
    Learner(home, "one", Metrics(), lambda: 5.0).watch_traffic()
    assert home.drift.of("tables") == []


@pytest.mark.parametrize("wrong", [{"level": 1.0}, {"level": 0.0}, {"window": 0}, {"every_seconds": -1.0}])
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(BadConfiguration, match="drift"):
        DriftSettings(**wrong)  # type: ignore[arg-type]
