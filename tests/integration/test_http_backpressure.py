"""More than can be done: refused at once with the time to come again, counted, and never at another scene's cost."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from core.config import ServeSettings, Settings
from core.home import open_home
from service.api.application import application
from service.bootstrap import build
from service.context import Context
from service.engine.admission import Gate, Overloaded
from service.engine.batcher import Batcher, Result
from service.engine.pace import Pace
from service.engine.queues import Item
from service.engine.snapshot import Snapshot
from tests import pico
from tests.asking import MOST, PNG, instance, predicted, refused
from tests.waiting import until

PATH = "/v1/scenes/shapes/predict"
ROOM = 4


class Held(Batcher):
    """A batcher that runs one instance at a time, and none while ``let`` is not set."""

    def __init__(self, usual: Batcher) -> None:
        super().__init__(1, usual._observer)
        self.let = threading.Event()
        self.let.set()

    def _pace(self, snapshot: Snapshot) -> Pace:
        return Pace()  # of which nothing is known: the model runs in the thread, where it can be held up

    def _results(self, batch: Sequence[Item]) -> list[tuple[Item, Result]]:
        assert self.let.wait(20), "the test forgot to let the model go on"
        return super()._results(batch)


@dataclass
class Place:
    """A service whose model can be held up."""

    client: TestClient
    context: Context
    batcher: Held

    def ask(self, scene: str = "shapes", **headers: str) -> Any:
        path = f"/v1/scenes/{scene}/predict"
        return self.client.post(path, content=pico.picture("circle", 1), headers=PNG | headers)

    def refusals(self, reason: str, scene: str = "shapes") -> float:
        (value,) = re.findall(
            rf'lepton_refused_total{{reason="{reason}",scene="{scene}"}} (\S+)', self.client.get("/metrics").text
        )
        return float(value)

    def full(self, pool: ThreadPoolExecutor) -> list[Future[Any]]:
        """As many requests as there is room for, all waiting."""
        self.batcher.let.clear()
        waiting = [pool.submit(self.ask) for _ in range(ROOM)]
        until(lambda: self.context.predicting.inside == ROOM)
        return waiting


def limited(headers: Mapping[bytes, bytes], scene: str, count: int) -> None:
    """A limit by key: nobody may be greedy."""
    if headers.get(b"x-api-key") == b"greedy":
        raise Overloaded(f"the key has no room for {count} more", "ask for less", "key", 7)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("home")
    settings = Settings(home=folder, serve=ServeSettings(max_waiting=ROOM, poll_seconds=0.01))
    with closing(open_home(settings)) as home:
        pico.register(home)
        pico.register(home, "other")
    made: list[Context] = []

    def built() -> Context:
        usual = build(settings)
        gate = Gate(ROOM, usual.metrics.refuse, brisk=0.0)
        made.append(replace(usual, batcher=Held(usual.batcher), predicting=gate, limiter=limited))
        return made[0]

    with TestClient(application(built, MOST), raise_server_exceptions=False) as client:
        until(lambda: client.get("/readyz").status_code == 200)
        batcher = made[0].batcher
        assert isinstance(batcher, Held)
        yield Place(client, made[0], batcher)
        batcher.let.set()


def test_a_full_room_answers_503_with_the_time_to_come_again_and_what_was_let_in_is_answered(place: Place) -> None:
    before = place.refusals("full")
    with ThreadPoolExecutor(ROOM) as pool:
        waiting = place.full(pool)
        answer = place.ask()
        refused(answer, 503, "unavailable", f"of {ROOM} at most")
        assert int(answer.headers["retry-after"]) >= 1
        v2 = place.client.post("/v2/models/shapes/infer", content=b"no JSON at all")
        assert (v2.status_code, "retry-after" in v2.headers) == (503, True), "refused before the body is looked at"
        place.batcher.let.set()
        assert [each.result().status_code for each in waiting] == [200] * ROOM
    assert place.ask().status_code == 200
    assert place.refusals("full") == before + 2
    assert place.context.predicting.inside == 0


def test_a_refusal_does_not_wait_for_the_body(place: Place) -> None:
    async def never() -> Any:
        raise AssertionError("the body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    sent: list[Any] = []
    headers = [(b"content-type", b"image/png"), (b"content-length", b"1000")]
    scope = {"type": "http", "method": "POST", "path": PATH, "query_string": b"", "headers": headers}
    with ThreadPoolExecutor(ROOM) as pool:
        waiting = place.full(pool)
        asyncio.run(place.client.app(scope, never, send))  # type: ignore[arg-type]
        place.batcher.let.set()
        for each in waiting:
            each.result()
    assert sent[0]["status"] == 503


def test_a_flooded_scene_does_not_shut_another_out(place: Place) -> None:
    with ThreadPoolExecutor(2 * ROOM) as pool:
        waiting = place.full(pool)
        other = [pool.submit(place.ask, "other") for _ in range(ROOM // 2)]
        until(lambda: place.context.predicting.inside == ROOM + ROOM // 2)
        place.batcher.let.set()
        assert {each.result().status_code for each in waiting + other} == {200}


def test_a_request_whose_deadline_passes_while_it_waits_is_not_run(place: Place) -> None:
    before = place.refusals("expired") + place.refusals("late")  # it may be seen before it waits
    with ThreadPoolExecutor(2) as pool:
        place.batcher.let.clear()
        first = pool.submit(place.ask)
        until(lambda: place.context.predicting.inside == 1)
        late = pool.submit(place.ask, **{"Lepton-Deadline": "0.000001"})
        until(lambda: place.context.predicting.inside == 2 or late.done())
        place.batcher.let.set()
        refused(late.result(), 503, "unavailable", "deadline")
        assert first.result().status_code == 200
    assert place.refusals("expired") + place.refusals("late") == before + 1


@pytest.mark.parametrize("told", ["0", "-1", "nan", "inf", "soon", "1e400"])
def test_a_deadline_that_is_no_time_is_refused(place: Place, told: str) -> None:
    refused(place.ask(**{"Lepton-Deadline": told}), 422, "invalid_input", "Lepton-Deadline")


def test_limits_by_key_have_their_place_behind_the_room_and_before_the_model(place: Place) -> None:
    answer = place.ask(**{"X-API-Key": "greedy"})
    refused(answer, 503, "unavailable", "no room for 1 more")
    assert answer.headers["retry-after"] == "7"
    assert place.ask(**{"X-API-Key": "modest"}).status_code == 200
    body = {"inputs": [{"name": "encoded_image", "datatype": "BYTES", "shape": [1], "data": ["AAAA"]}]}
    assert place.client.post("/v2/models/shapes/infer", json=body, headers={"X-API-Key": "greedy"}).status_code == 503


def test_predictions_that_are_not_logged_have_an_id_all_the_same_and_labels_of_them_wait(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, serve=ServeSettings(log_predictions=False, poll_seconds=0.01))
    with closing(open_home(settings)) as home:
        pico.register(home)
        with TestClient(application(lambda: build(settings), MOST)) as client:
            until(lambda: client.get("/readyz").status_code == 200)
            prediction = predicted(client, 3)["prediction_id"]
            label = {"prediction_id": prediction, "label": "circle"}
            assert client.post("/v1/feedback", json=label).json()["status"] == "pending"
            along = label | {"instance": instance(pico.picture("circle", 3))}
            assert client.post("/v1/feedback", json=along).json()["status"] == "accepted"
        assert home.predictions.find([prediction]) == {}
