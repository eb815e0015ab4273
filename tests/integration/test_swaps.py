"""Swaps of versions under load, with two workers: nothing fails, nothing is mixed, and nothing grows.

Three versions take turns; every other swap is to the version that was kept, and the others load one.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import httpx
import psutil
import pytest

from core.home import Home
from tests import pico
from tests.load import answers, under_load
from tests.offline import can_tell_versions_apart, check, draw
from tests.processes import House, house
from tests.waiting import until

RATE = 40.0  # requests a second
WARM = 6  # swaps before the memory is looked at for the first time
ROOM = 16e6  # bytes that a worker may gain beside a tenth: pages that the C library keeps


@dataclass(frozen=True)
class Cost:
    """What a worker holds."""

    threads: int
    descriptors: int
    memory: int


@pytest.mark.parametrize("swaps", [20, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(900)])])
def test_swaps_under_load_lose_nothing_mix_nothing_and_hold_on_to_nothing(tmp_path: Path, swaps: int) -> None:
    pictures, out = tmp_path / "pictures", tmp_path / "answers.ndjson"
    draw(pictures)
    with house(tmp_path / "home") as place, closing(place.open()) as home:
        made = pico.register(home)
        a, b, c = (made.version.version, *(pico.another(home, made.scene, seed).version for seed in (1, 2)))
        order = list(islice(cycle([b, a, c, a]), WARM + swaps))
        place.start_service(workers=2)
        with under_load(place.url, pictures, out, RATE):
            _swap(place, order[:WARM])
            before = _costs(place)
            _swap(place, order[WARM:])
            after = _costs(place)
        told = answers(out)
    _nothing_grew(before, after)
    assert len(told) > RATE
    assert [answer for answer in told if answer.status != 200] == []
    assert {answer.worker for answer in told} == {"1", "2"}
    assert {answer.body["version"] for answer in told} == {a, b, c}
    with closing(place.open()) as home:
        can_tell_versions_apart(check(home, told, pictures))
        _as_it_was_asked(home, order)


def _swap(place: House, order: Sequence[str]) -> None:
    """Promote one after the other, each as soon as both workers serve the one before."""
    with httpx.Client(base_url=place.url, timeout=30, trust_env=False) as client:

        def agreed() -> bool:
            told = client.get("/v1/scenes/shapes").json()
            return bool(told["workers"]["on_champion"] == told["workers"]["total"] == 2)

        for version in order:
            generation = client.get("/v1/scenes/shapes").json()["champion"]["generation"]
            body = {"version": version, "expected_generation": generation}
            answer = client.put("/v1/scenes/shapes/champion", json=body)
            assert answer.status_code == 200, answer.text
            until(agreed)


def _costs(place: House) -> dict[int, Cost]:
    return {worker.pid: _cost(worker) for worker in place.workers()}


def _cost(worker: psutil.Process) -> Cost:
    files = worker.num_fds() - len(worker.net_connections())  # how many clients are connected is not the worker's doing
    return Cost(worker.num_threads(), files, worker.memory_info().rss)


def _nothing_grew(before: dict[int, Cost], after: dict[int, Cost]) -> None:
    assert before.keys() == after.keys() and len(after) == 2, "no worker died"
    for pid, now in after.items():
        was = before[pid]
        print(f"worker {pid}: {was} before, {now} after")
        assert now.threads <= was.threads + 8, "pools that fill up, but no session's threads"
        assert now.descriptors <= was.descriptors + 8, "connections to the databases, one a thread"
        assert now.memory <= 1.1 * was.memory + ROOM


def _as_it_was_asked(home: Home, order: Sequence[str]) -> None:
    moves = [row for row in reversed(home.registry.history("shapes", 1000)) if row["action"] == "promote"]
    assert [row["version"] for row in moves[1:]] == list(order)
    assert all(version.state == "ready" for version in home.registry.versions("shapes"))
