"""A worker tells what it serves: at once when a version is swapped, not before it takes requests, and not for ever."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.config import Settings
from core.home import Home, open_home
from core.promotion import promote
from core.workers import Serving, Worker
from service.engine.engine import Engine, EngineSettings
from service.engine.heart import Heart
from service.engine.snapshot import Snapshot
from tests import pico
from tests.waiting import until


class Parts:
    """An engine with its heart, wired as in a worker."""

    def __init__(self, home: Home) -> None:
        self.skews: list[tuple[str, float]] = []
        settings = EngineSettings(threads=1, device="cpu", max_batch=2, poll_seconds=0.01)
        self.engine = Engine(home, settings, self)
        self.heart = Heart(home, self.engine, "1", lambda scene, seconds: self.skews.append((scene, seconds)))

    def swapped(self, before: Snapshot | None, now: Snapshot) -> None:
        self.heart.nudge()


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    opened = open_home(Settings(home=tmp_path))
    yield opened
    opened.close()


@pytest.fixture
def parts(home: Home) -> Iterator[Parts]:
    made = Parts(home)
    yield made
    made.heart.stop()
    made.engine.stop()


def told(home: Home) -> list[str]:
    """The version of every live worker."""
    return [worker.serving["shapes"].version for worker in home.workers.live()]


def test_a_worker_counts_once_it_takes_requests_and_no_more_when_it_has_left(home: Home, parts: Parts) -> None:
    made = pico.register(home)
    parts.heart.start()
    parts.heart.nudge()
    assert home.workers.live() == []
    parts.engine.start()
    until(lambda: told(home) == [made.version.version])
    until(lambda: ("shapes", 0.0) in parts.skews)
    parts.heart.stop()
    assert home.workers.live() == []


def test_a_swap_is_told_at_once_with_its_moment(home: Home, parts: Parts) -> None:
    made = pico.register(home)
    parts.engine.start()
    parts.heart.start()
    until(lambda: told(home))
    (first,) = home.workers.live()
    newer = pico.another(home, made.scene, seed=1)
    promote(home, "shapes", newer.version, expected_generation=1)
    until(lambda: told(home) == [newer.version], 1.5)
    (second,) = home.workers.live()
    assert second.serving["shapes"].since > first.serving["shapes"].since


def test_while_another_worker_is_late_the_skew_grows(home: Home, parts: Parts) -> None:
    pico.register(home)
    late = {"shapes": Serving(version="of yesterday", revision=1, since=0.0)}
    home.workers.beat(Worker(host="elsewhere", pid=1, worker="1", serving=late))
    parts.engine.start()
    until(parts.engine.settled)
    parts.heart.beat()
    parts.heart.beat()
    (_, one), (_, two) = parts.skews
    assert 0 < one < two


def test_a_beat_that_cannot_be_written_ends_nothing(home: Home, parts: Parts) -> None:
    pico.register(home)
    with home.predictions.database.write() as connection:
        connection.exec_driver_sql("ALTER TABLE workers RENAME TO away")
    parts.engine.start()
    until(parts.engine.settled)
    parts.heart.start()
    parts.heart.nudge()
    with home.predictions.database.write() as connection:
        connection.exec_driver_sql("ALTER TABLE away RENAME TO workers")
    until(lambda: parts.heart.nudge() or told(home))  # type: ignore[func-returns-value]
