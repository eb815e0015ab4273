"""Every drift detector keeps its level, sees what moved, and says so in words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core import plugins
from core.statistics import to_grid
from learner.windows import Reading, Window

PACKAGE = "learner.drift"
DETECTORS = plugins.names(PACKAGE)
LEVEL, ROUNDS = 0.01, 200
MOST_FALSE = 8  # of 200 at a level of 0.01: more than 7 have a chance of 0.1 % (binomial)


def compare(detector: str, reference: Window, current: Window, level: float = LEVEL) -> Reading | None:
    reading = plugins.load(PACKAGE, detector).compare(reference, current, level)
    assert reading is None or isinstance(reading, Reading)
    return reading


def windows(detector: str, seed: int) -> tuple[Window, Window, Window]:
    reference, same, moved = plugins.load(PACKAGE, detector).examples(np.random.default_rng(seed))
    return reference, same, moved


def test_there_are_detectors_of_all_that_can_move() -> None:
    assert {"inputs", "columns", "answers", "confidence", "errors"} <= set(DETECTORS)


@pytest.mark.parametrize("detector", DETECTORS)
def test_false_alarms_keep_to_the_level(detector: str) -> None:
    rounds = [windows(detector, seed)[:2] for seed in range(ROUNDS)]
    readings = [compare(detector, reference, same) for reference, same in rounds]
    assert sum(reading is not None and reading.drifted for reading in readings) < MOST_FALSE


@pytest.mark.parametrize("detector", DETECTORS)
def test_what_moved_is_seen_and_told(detector: str) -> None:
    for seed in range(5):
        reference, _, moved = windows(detector, seed)
        reading = compare(detector, reference, moved)
        assert reading is not None and reading.drifted and len(reading.words) > 10


@pytest.mark.parametrize("detector", DETECTORS)
def test_the_same_windows_give_the_same_reading(detector: str) -> None:
    reference, _, moved = windows(detector, 7)
    assert compare(detector, reference, moved) == compare(detector, reference, moved)


@pytest.mark.parametrize("detector", DETECTORS)
def test_a_stricter_level_alarms_no_sooner(detector: str) -> None:
    reference, same, _ = windows(detector, 3)
    loose, strict = compare(detector, reference, same, 0.05), compare(detector, reference, same, 0.001)
    assert loose is not None and strict is not None
    assert loose.value >= strict.value - 1e-12


@pytest.mark.parametrize("detector", DETECTORS)
def test_nothing_to_look_at_is_no_reading(detector: str) -> None:
    reference, _, _ = windows(detector, 0)
    assert compare(detector, Window(), Window()) is None
    assert compare(detector, reference, Window()) is None


def test_a_constant_feature_and_a_constant_window_are_no_drift() -> None:
    still = Window(features_ND=to_grid(np.full((50, 4), 0.25)), labels=("a",) * 50, confidence_N=np.full(50, 0.9))
    for detector in ("inputs", "answers", "confidence"):
        reading = compare(detector, still, still)
        assert reading is not None and not reading.drifted


def test_missing_cells_and_new_words_of_a_column_are_seen() -> None:
    before = Window(columns={"colour": ("red", "blue") * 100, "age": (1.0, 2.0, 3.0, 4.0) * 50})
    for cells in ((None,) * 200, ("green",) * 200):
        reading = compare("columns", before, replace(before, columns=dict(before.columns) | {"colour": cells}))
        assert reading is not None and reading.drifted and "colour" in reading.words


def test_fewer_errors_are_no_drift() -> None:
    rng = np.random.default_rng(0)
    worse, better = (rng.random(400) < 0.5).astype(np.int8), (rng.random(400) < 0.1).astype(np.int8)
    reading = compare("errors", Window(wrong_N=worse), Window(wrong_N=better))
    assert reading is not None and not reading.drifted
