"""What runs tell: stages and metrics, as others read them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.home import Home
from core.progress import Progress
from tests.homes import home_at
from training.assignment import TELL_SECONDS, Teller


@pytest.fixture
def home(tmp_path: Path, url: str) -> Iterator[Home]:
    made = home_at(tmp_path, url)
    yield made
    made.close()


@pytest.fixture
def progress(home: Home) -> Progress:
    return home.progress


def shown(progress: Progress, run: str) -> list[tuple[str, int, int | None]]:
    return [(stage.title, stage.done, stage.total) for stage in progress.stages(run)]


def test_stages_come_in_order_and_the_last_one_moves(progress: Progress) -> None:
    progress.stage("one", "reading")
    progress.advance("one", 3, 3)
    progress.stage("two", "reading")
    progress.stage("one", "solving")
    progress.advance("one", 1, 9)
    assert shown(progress, "one") == [("reading", 3, 3), ("solving", 1, 9)]
    assert shown(progress, "two") == [("reading", 0, None)]


def test_metrics_are_followed_from_where_a_reader_is(progress: Progress) -> None:
    for step, value in enumerate([2.0, math.nan, 0.5]):
        progress.metric("one", "loss", step, value)
        progress.metric("two", "loss", step, value)
    points = progress.metrics("one")
    assert [(p.name, p.step, p.value) for p in points] == [("loss", 0, 2.0), ("loss", 1, None), ("loss", 2, 0.5)]
    assert progress.metrics("one", points[1].id) == points[2:]
    assert progress.metrics("one", points[2].id) == []


def test_a_run_that_begins_anew_has_told_nothing(progress: Progress) -> None:
    for run in ("one", "two"):
        progress.stage(run, "reading")
        progress.metric(run, "loss", 1, 1.0)
    progress.begin("one")
    assert (progress.stages("one"), progress.metrics("one")) == ([], [])
    assert len(progress.stages("two")) == len(progress.metrics("two")) == 1


def test_a_teller_writes_now_and_then_and_the_end_of_a_stage_always(home: Home) -> None:
    now = 0.0
    teller = Teller(home, "one", lambda: now)
    seen = []
    teller.stage("reading")
    for done in range(1, 101):
        now += TELL_SECONDS / 40
        teller.progress(done, 100)
        seen.append(shown(home.progress, "one")[0][1])
    assert seen[0] == 1 and seen[-1] == 100
    assert len(set(seen)) == 4
    teller.stage("solving")
    teller.progress(1, 5)
    teller.metric("loss", 1, 0.25)
    assert shown(home.progress, "one")[1] == ("solving", 1, 5)
    assert [point.value for point in home.progress.metrics("one")] == [0.25]
