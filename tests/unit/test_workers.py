"""What workers tell of themselves, and how long they have disagreed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.config import DatabaseSettings
from core.database import open_ledger, open_predictions
from core.workers import EXPIRES, Serving, Worker, Workers, on_champion, skew_seconds


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def worker(pid: int, version: str = "a", host: str = "one") -> Worker:
    serving = {"ward": Serving(version=version, revision=3, since=990.0)}
    return Worker(host=host, pid=pid, worker=str(pid), serving=serving)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def workers(tmp_path: Path, url: str, clock: Clock) -> Iterator[Workers]:
    made = Workers(open_predictions(tmp_path, DatabaseSettings(url=url)), clock)
    yield made
    made.database.close()


def test_a_worker_is_told_of_as_it_told(workers: Workers, clock: Clock) -> None:
    workers.beat(worker(1))
    assert workers.live() == [replace(worker(1), seen_at=clock.now)]
    clock.now += 1
    workers.beat(worker(1, "b"))
    assert workers.live() == [replace(worker(1, "b"), seen_at=clock.now)]


def test_hosts_are_told_apart(workers: Workers) -> None:
    workers.beat(worker(1, host="two"))
    workers.beat(worker(1, host="one"))
    assert [(each.host, each.pid) for each in workers.live()] == [("one", 1), ("two", 1)]


def test_a_silent_worker_expires_and_one_that_leaves_is_gone(workers: Workers, clock: Clock) -> None:
    workers.beat(worker(1))
    workers.beat(worker(2))
    workers.leave(worker(2))
    assert [each.pid for each in workers.live()] == [1]
    clock.now += EXPIRES + 1
    assert workers.live() == []
    workers.beat(worker(3))
    with workers.database.read() as connection:
        assert connection.exec_driver_sql("SELECT pid FROM workers").scalars().all() == [3]


def test_workers_agree_when_all_serve_the_champion() -> None:
    live = [worker(1, "a"), worker(2, "b")]
    assert [on_champion(live, "ward", version) for version in ("a", "b", "c")] == [1, 1, 0]
    assert skew_seconds(live, "ward", "b", 995.0, 1000.0) == 5.0
    assert skew_seconds([worker(1, "b"), worker(2, "b")], "ward", "b", 995.0, 1000.0) == 0.0
    assert skew_seconds([], "ward", "b", 995.0, 1000.0) == 0.0
    assert skew_seconds(live, "ward", "b", 1001.0, 1000.0) == 0.0, "a clock that runs behind"


def test_a_worker_without_the_scene_does_not_serve_its_champion() -> None:
    assert skew_seconds([worker(1), Worker(host="one", pid=2, worker="2")], "ward", "a", 990.0, 1000.0) == 10.0


def test_a_sign_of_life_wakes_nobody_who_watches_the_ledger(tmp_path: Path, url: str, workers: Workers) -> None:
    ledger = open_ledger(tmp_path, DatabaseSettings(url=url))
    watch = ledger.watch()
    assert watch.changed()
    workers.beat(worker(1))
    assert not watch.changed()
    watch.close()
    ledger.close()
