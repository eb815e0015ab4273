"""How long requests took: counted in memory, told in the background, added up over workers, read back as quantiles."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.flow import flow
from console.latency import requests, stretches
from console.pages.traffic import charts
from core.config import DatabaseSettings
from core.database import open_predictions
from core.errors import Unavailable
from core.home import Home
from core.latencies import BOUNDS, KEPT_DAYS, MINUTE, Latencies
from service.engine.stopwatch import Stopwatch
from tests.homes import SCENE, declare, home_at

NOW = 1_700_000_030.0
FIRST = int(NOW // MINUTE)
NUMBERS = itertools.count()


class Full(Latencies):
    """Cannot be written for as long as ``full``."""

    full = True

    def add(self, counts: object, now: float) -> None:
        if self.full:
            raise Unavailable("the disk is full", "free it")
        super().add(counts, now)  # type: ignore[arg-type]


@pytest.fixture
def latencies(tmp_path: Path, url: str) -> Iterator[Latencies]:
    made = Latencies(open_predictions(tmp_path, DatabaseSettings(url=url)))
    yield made
    made.database.close()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    made = home_at(tmp_path_factory.mktemp("latencies") / "home")
    yield made
    made.close()


def counts(**places: int) -> list[int]:
    made = [0] * (len(BOUNDS) + 1)
    for name, number in places.items():
        made[int(name[1:])] = number
    return made


def test_counts_of_workers_and_minutes_add_up_and_old_ones_go(latencies: Latencies) -> None:
    two = Latencies(latencies.database)
    old = NOW - (KEPT_DAYS * 24 * 60 + 1) * MINUTE
    for told in (latencies, two):
        told.add({"ward": counts(p3=1, p37=2), "lab": counts(p0=5)}, old)
        told.add({"ward": counts(p3=1, p4=4)}, NOW)
    latencies.add({"ward": counts(p4=1)}, NOW + MINUTE)
    assert latencies.over("ward", FIRST, 1, 10) == {0: counts(p3=2, p4=8), 1: counts(p4=1)}
    assert latencies.over("ward", FIRST - 1, 2, 10) == {0: counts(p3=2, p4=8), 1: counts(p4=1)}
    assert latencies.over("ward", FIRST, 5, 1) == {0: counts(p3=2, p4=9)}
    assert latencies.over("ward", int(old // MINUTE), 1, 1) == {}
    assert latencies.over("lab", int(old // MINUTE), 1, 1) == {0: counts(p0=10)}, "the lab has told nothing since"


def test_what_could_not_be_told_is_told_later_and_nothing_twice(latencies: Latencies) -> None:
    full = Full(latencies.database)
    watch = Stopwatch(full, lambda: NOW)
    watch.start()
    watch.took("ward", 0.0001)
    watch.took("ward", 100.0)
    with pytest.raises(Unavailable):
        watch.tell()
    full.full = False
    watch.tell()
    watch.tell()
    watch.took("ward", BOUNDS[7])
    watch.stop()
    assert latencies.over("ward", FIRST, 1, 1) == {0: counts(p0=1, p7=1, p37=1)}


@settings(max_examples=20)
@given(st.lists(st.floats(0.001, 20.0), min_size=30, max_size=200))
def test_a_quantile_is_within_the_bounds_of_what_was_counted(home: Home, seconds: list[float]) -> None:
    scene = f"scene-{next(NUMBERS)}"
    watch = Stopwatch(home.latencies, lambda: NOW)
    for each in seconds:
        watch.took(scene, each)
    watch.tell()
    (told,) = stretches(home, scene, 600.0, NOW, NOW)
    assert told.took.count == len(seconds)
    for share in (0.5, 0.99):
        exact, read = np.quantile(seconds, share, method="inverted_cdf"), told.took.quantile(share)
        assert read is not None and exact / 1.42 <= read <= exact * 1.42


def test_time_is_shown_whether_answers_are_logged_or_not(home: Home) -> None:
    task = declare(home)
    for minute in range(30):
        home.latencies.add({SCENE: counts(p8=90, p12=9, p16=1)}, NOW - 60 * minute)
    told = flow(home, task, 3600.0, NOW)
    took = stretches(home, SCENE, 3600.0, told.end, NOW)
    assert requests(took) == 3000
    assert all(-3600 <= each.middle <= 0 for each in took)
    assert {each.seconds for each in took[:-1]} == {120.0}
    drawn = charts(told, took, [], "3600")
    assert "time of a request, ms" in drawn and "requests a second" in drawn and "log_predictions" in drawn
    assert "No traffic" in charts(told, [], [], "3600")
