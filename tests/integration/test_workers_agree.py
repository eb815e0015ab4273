"""Two workers: they share traffic alike, one that is late is told of, and a new one begins with the champion."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import httpx
import pytest

from core.home import Home
from core.promotion import challenge, promote
from core.types import Version
from tests import pico
from tests.asking import PNG
from tests.processes import House, house
from tests.waiting import until

KEYS = [f"patient {number}" for number in range(30)]


class Served:
    """A home with two versions and two workers."""

    def __init__(self, place: House, home: Home, champion: Version, other: Version) -> None:
        self.place, self.home, self.champion, self.other = place, home, champion, other

    @contextmanager
    def workers(self) -> Iterator[dict[str, httpx.Client]]:
        """A connection to each worker: it stays with its worker."""
        found: dict[str, httpx.Client] = {}
        with ExitStack() as opened:
            for _ in range(200):
                client = opened.enter_context(httpx.Client(base_url=self.place.url, timeout=30, trust_env=False))
                found.setdefault(ask(client).headers["Lepton-Worker"], client)
                if len(found) == 2:
                    yield found
                    return
            raise AssertionError(f"over 200 connections only workers {sorted(found)} have answered")

    def promote(self, version: Version) -> None:
        alias = self.home.registry.champion("shapes")
        assert alias is not None
        promote(self.home, "shapes", version.version, expected_generation=alias.generation)


def ask(client: httpx.Client, key: str = "") -> httpx.Response:
    answer = client.post(
        "/v1/scenes/shapes/predict", content=pico.picture("circle", 1), headers=PNG | {"Lepton-Key": key}
    )
    assert answer.status_code == 200, answer.text
    return answer


def told(client: httpx.Client) -> dict[str, Any]:
    """What the live workers tell."""
    return dict(client.get("/v1/scenes/shapes").json()["workers"])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with house(tmp_path_factory.mktemp("agree") / "home") as place, closing(place.open()) as home:
        made = pico.register(home)
        other = pico.another(home, made.scene, seed=1)
        place.start_service(workers=2)
        yield Served(place, home, made.version, other)


def test_a_key_has_the_same_version_on_every_worker(served: Served) -> None:
    asked = {"mode": "split", "share": 0.5, "expected_generation": served.home.challenges.generation("shapes")}
    challenge(served.home, "shapes", served.other.version, **asked)  # type: ignore[arg-type]
    with served.workers() as workers:
        for client in workers.values():
            until(lambda each=client: len({ask(each, key).json()["version"] for key in KEYS}) == 2)  # type: ignore[misc]
        one, two = ({key: ask(client, key).json()["version"] for key in KEYS} for client in workers.values())
    assert one == two
    served.home.challenges.end("shapes")


def test_while_a_worker_is_late_the_skew_is_told_and_then_it_is_none(served: Served) -> None:
    with served.workers() as workers:
        until(lambda: told(workers["1"])["on_champion"] == 2)
        assert {each["worker"] for each in told(workers["1"])["serving"]} == {"1", "2"}
        late = next(each for each in served.home.workers.live() if each.worker == "2")
        os.kill(late.pid, signal.SIGSTOP)
        try:
            served.promote(served.other)
            until(lambda: told(workers["1"])["on_champion"] == 1)
            seen = told(workers["1"])
            assert (seen["total"], seen["on_champion"]) == (2, 1) and seen["skew_seconds"] > 0
            until(lambda: gauge(workers["1"]) > 0)
        finally:
            os.kill(late.pid, signal.SIGCONT)
        until(lambda: told(workers["1"])["on_champion"] == 2)
        assert told(workers["1"])["skew_seconds"] == 0
        until(lambda: gauge(workers["1"]) == 0)


def gauge(client: httpx.Client) -> float:
    lines = client.get("/metrics").text.splitlines()
    return float(next(line.split()[-1] for line in lines if line.startswith("lepton_version_skew_seconds{")))


def test_a_new_worker_answers_by_the_champion_from_its_first_answer_on(served: Served) -> None:
    served.promote(served.champion)
    with served.workers() as workers:
        until(lambda: told(workers["1"])["on_champion"] == told(workers["1"])["total"] == 2)
    old = {worker.pid for worker in served.place.workers()}
    os.kill(min(old), signal.SIGKILL)
    until(lambda: len(served.place.workers()) == 2 and {w.pid for w in served.place.workers()} != old, 60)
    answers: list[httpx.Response] = []

    def both_answered() -> bool:
        with httpx.Client(base_url=served.place.url, timeout=30, trust_env=False) as client:
            answers.append(ask(client))
        return len({answer.headers["Lepton-Worker"] for answer in answers}) == 2

    until(both_answered, 60)
    assert {answer.json()["version"] for answer in answers} == {served.champion.version}
