"""Counts are exact, wherever they are asked for, and whoever counts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, multiprocess, values

from service.counting import FLUSH_SECONDS, Gatherer
from service.metrics import Metrics
from tests.waiting import until


@pytest.fixture
def metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Metrics]:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    made = Metrics()
    yield made
    made.close()


def elsewhere(folder: Path, name: str, **labels: str) -> float | None:
    """What another worker reads of this one's files."""
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry, path=str(folder))  # type: ignore[no-untyped-call]
    return registry.get_sample_value(name, labels)


def test_counts_of_many_threads_are_whole_at_the_next_look(metrics: Metrics) -> None:
    def count(number: int) -> None:
        metrics.refuse("ward", "late")
        metrics.queue_seconds.labels().observe(number / 1024)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(2000)))
    told = metrics.render().decode()
    assert 'lepton_refused_total{reason="late",scene="ward"} 2000.0' in told
    assert "lepton_queue_seconds_count 2000.0" in told
    assert f"lepton_queue_seconds_sum {sum(range(2000)) / 1024}" in told


def test_other_workers_see_a_count_soon_and_a_gauge_at_once(metrics: Metrics, tmp_path: Path) -> None:
    metrics.expect("ward")
    metrics.skewed("ward", 3.0)
    assert elsewhere(tmp_path, "lepton_version_skew_seconds", scene="ward") == 3.0
    metrics.refuse("ward", "full")
    assert elsewhere(tmp_path, "lepton_refused_total", scene="ward", reason="full") == 0
    metrics.start()
    until(lambda: elsewhere(tmp_path, "lepton_refused_total", scene="ward", reason="full") == 1, 50 * FLUSH_SECONDS)


def test_what_a_turn_of_the_event_loop_answers_is_written_at_its_end(metrics: Metrics, tmp_path: Path) -> None:
    def seen() -> float | None:
        return elsewhere(tmp_path, "lepton_requests_total", route="a", status="200")

    async def turn(count: int) -> None:
        before = seen() or 0
        for _ in range(count):
            metrics.answered("a", 200, 0.001)
        assert (seen() or 0) == before
        turned = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(turned.set_result, None)
        await turned
        assert seen() == before + count

    asyncio.run(turn(16))
    asyncio.run(turn(1))


def test_what_was_counted_last_is_written_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    made = Gatherer(lambda: 7)
    value = made.value_class()("counter", "held", "held_total", (), (), "Held.")
    made.start()
    for _ in range(3):
        value.inc(0.5)
    made.stop()
    assert elsewhere(tmp_path, "held_total") == value.get() == 1.5
