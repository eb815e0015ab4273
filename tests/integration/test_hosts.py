"""Two hosts on one PostgreSQL: each a home and a service of its own, with one folder of artifacts and one learner.

What is told to one is served by the other; promotions and skew are seen by both; the database may go away and come
back, and a host may be killed.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from core.home import Home
from core.promotion import prepare
from core.types import Version
from tests import pico
from tests.asking import PNG, instance
from tests.cluster import Cluster
from tests.databases import Databases
from tests.processes import House, house
from tests.waiting import until

NAMES = ("north", "south")
SCENE = "/v1/scenes/shapes"


@dataclass(frozen=True)
class Hosts:
    """Two hosts, what they share, and a connection to each."""

    server: Cluster
    places: dict[str, House]
    home: Home
    champion: Version
    other: Version
    clients: dict[str, httpx.Client]

    def answer(self, name: str, number: int = 1) -> dict[str, Any]:
        got = self.clients[name].post(f"{SCENE}/predict", content=pico.picture("circle", number), headers=PNG)
        assert got.status_code == 200, got.text
        return dict(got.json())

    def served(self, name: str, sequence: int) -> float:
        """Seconds until a host answers with a label."""
        began = time.monotonic()
        until(lambda: self.answer(name)["sequence"] >= sequence)
        return time.monotonic() - began

    def label(self, name: str, number: int, **more: Any) -> httpx.Response:
        told = {"scene": "shapes", "instance": instance(pico.picture("circle", number)), "label": "circle"} | more
        return self.clients[name].post("/v1/feedback", json=told)

    def told(self, name: str) -> dict[str, Any]:
        """What a host knows of the workers of both."""
        return dict(self.clients[name].get(SCENE).json()["workers"])

    def promote(self, name: str, version: Version) -> None:
        prepare(self.home, "shapes", version.version, lambda *_: None)
        held = self.clients[name].get(SCENE).json()["champion"]
        asked = {"version": version.version, "expected_generation": held["generation"]}
        moved = self.clients[name].put(f"{SCENE}/champion", json=asked)
        assert moved.status_code == 200, moved.text

    def gauge(self, name: str) -> float:
        lines = self.clients[name].get("/metrics").text.splitlines()
        return float(next(line.split()[-1] for line in lines if line.startswith("lepton_version_skew_seconds{")))


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory, databases: Databases) -> Iterator[Hosts]:
    folder, url = tmp_path_factory.mktemp("hosts"), databases.another()
    shared = folder / "shared"
    shared.mkdir()
    with ExitStack() as held:
        places = {name: held.enter_context(_host(folder / name, shared, url, name)) for name in NAMES}
        home = held.enter_context(closing(places["north"].open()))
        made = pico.register(home)
        other = pico.another(home, made.scene, seed=1)
        for place in places.values():
            place.start_service(workers=1)
        places["north"].start_learner()
        clients = {
            name: held.enter_context(httpx.Client(base_url=place.url, timeout=30, trust_env=False))
            for name, place in places.items()
        }
        yield Hosts(databases.server, places, home, made.version, other, clients)


def _host(folder: Path, shared: Path, url: str, name: str) -> AbstractContextManager[House]:
    (folder / "home").mkdir(parents=True)
    (folder / "home" / "artifacts").symlink_to(shared)
    return house(
        folder / "home",
        LEPTON_DATABASE_URL=url,
        LEPTON_SERVE_HOST_NAME=name,
        LEPTON_LEARNER_LEASE_SECONDS="1",
    )


def test_a_label_told_to_one_host_is_served_by_the_other(hosts: Hosts) -> None:
    took = []
    for number in range(10, 15):
        receipt = hosts.label("north", number)
        assert receipt.status_code == 202 and receipt.json()["status"] == "accepted", receipt.text
        took.append(hosts.served("south", receipt.json()["sequence"]))
        hosts.served("north", receipt.json()["sequence"])
    print(f"label on one host to answer of the other: {sorted(took)[len(took) // 2]:.3f} s")
    assert min(took) < 1.0


def test_a_prediction_of_one_host_is_labelled_through_the_other(hosts: Hosts) -> None:
    made = hosts.answer("south", 20)["predictions"][0]["prediction_id"]
    told = hosts.clients["north"].post("/v1/feedback", json={"prediction_id": made, "label": "square"})
    assert told.status_code == 202
    event = f"/v1/feedback/{told.json()['event_id']}"
    until(lambda: hosts.clients["south"].get(event).json()["served_since"])


def test_a_promotion_on_one_host_reaches_the_other_and_meanwhile_the_skew_is_told(hosts: Hosts) -> None:
    until(lambda: hosts.told("north")["on_champion"] == 2)
    assert {each["host"] for each in hosts.told("south")["serving"]} == set(NAMES)
    (late,) = hosts.places["south"].workers()
    os.kill(late.pid, signal.SIGSTOP)
    try:
        hosts.promote("north", hosts.other)
        until(lambda: hosts.told("north")["on_champion"] == 1)
        assert hosts.told("north")["skew_seconds"] > 0
        until(lambda: hosts.gauge("north") > 0)
    finally:
        os.kill(late.pid, signal.SIGCONT)
    until(lambda: hosts.answer("south")["version"] == hosts.other.version)
    for name in NAMES:
        until(lambda each=name: hosts.told(each)["on_champion"] == 2)  # type: ignore[misc]
        assert hosts.told(name)["skew_seconds"] == 0
        until(lambda each=name: hosts.gauge(each) == 0)  # type: ignore[misc]


def test_while_the_database_is_away_predictions_go_on_and_labels_are_turned_away(hosts: Hosts) -> None:
    kept = hosts.label("south", 30, event_id="before")
    assert kept.status_code == 202
    hosts.server.stop(signal.SIGQUIT)  # as good as a crash
    try:
        answered = {name: hosts.answer(name, 31)["predictions"][0]["prediction_id"] for name in NAMES}
        for name in NAMES:
            refused = hosts.label(name, 32, event_id=f"while away, to {name}")
            assert refused.status_code == 503 and refused.json()["error"]["code"] == "unavailable", refused.text
            assert int(refused.headers["Retry-After"]) > 0
            assert hosts.clients[name].get("/livez").status_code == 200
    finally:
        hosts.server.start()
    for name in NAMES:
        sequence = until(lambda each=name: _taken(hosts.label(each, 33, event_id=f"after, to {each}")))  # type: ignore[misc]
        for other in NAMES:
            hosts.served(other, sequence)
    assert hosts.label("north", 30, event_id="before").json()["status"] == "duplicate", "what was told stands"
    until(lambda: len(hosts.home.predictions.find(answered.values())) == 2)


def test_when_one_host_is_killed_the_other_goes_on_alone(hosts: Hosts) -> None:
    service = hosts.places["south"].service
    assert service is not None
    service.kill()
    receipt = hosts.label("north", 40)
    assert receipt.status_code == 202
    hosts.served("north", receipt.json()["sequence"])
    hosts.promote("north", hosts.champion)
    until(lambda: hosts.answer("north")["version"] == hosts.champion.version)
    until(lambda: (hosts.told("north")["total"], hosts.told("north")["on_champion"]) == (1, 1))


def _taken(response: httpx.Response) -> int:
    """Its sequence; 0 where it was turned away."""
    assert response.status_code in {202, 503}, response.text
    return int(response.json().get("sequence", 0))
