"""A worker that has lost its GPU says so wherever it is asked, and answers nobody by another device."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from core.config import ServeSettings, Settings
from core.home import open_home
from service.api.application import application
from service.bootstrap import build
from tests import pico
from tests.asking import MOST, PNG, predicted, refused
from tests.fakes import FailingSession
from tests.waiting import until

SAID = "Non-zero status code returned while running Gemm node. CUDA failure 719: unspecified launch failure"
LOST = "has lost its GPU: CUDA failure 719: unspecified launch failure"


@pytest.fixture
def client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr("service.engine.prepare.Session", FailingSession)
    settings = Settings(home=tmp_path, serve=ServeSettings(max_body_bytes=MOST, poll_seconds=0.01))
    home = open_home(settings)
    pico.register(home)
    home.close()
    with TestClient(application(lambda: build(settings), MOST), raise_server_exceptions=False) as made:
        until(lambda: made.get("/readyz").status_code == 200)
        yield made


def session(client: TestClient) -> FailingSession:
    held = client.app.state.context.engine.snapshot("shapes").session  # type: ignore[attr-defined]
    assert isinstance(held, FailingSession)
    return held


def test_a_worker_that_lost_its_gpu_is_neither_ready_nor_alive_and_names_the_reason(client: TestClient) -> None:
    predicted(client, 1)
    assert client.get("/livez").status_code == 200
    session(client).said = SAID
    answer = client.post("/v1/scenes/shapes/predict", content=pico.picture("circle"), headers=PNG)
    refused(answer, 503, "device_lost", LOST, "start the worker again")
    for path in ("/readyz", "/livez"):
        refused(client.get(path), 503, "unavailable", LOST, "restart the worker")
    assert client.get("/v2/health/live").status_code == client.get("/v2/health/ready").status_code == 503
    session(client).said = ""
    runs = session(client).runs
    again = client.post("/v1/scenes/shapes/predict", content=pico.picture("circle"), headers=PNG)
    refused(again, 503, "device_lost", LOST)
    assert session(client).runs == runs, "a lost GPU is not asked again"
    assert client.get("/readyz").status_code == 503, "it does not come back"


def test_a_gpu_that_only_refused_one_run_is_still_there(client: TestClient) -> None:
    session(client).said = "CUDA failure 2: out of memory"
    answer = client.post("/v1/scenes/shapes/predict", content=pico.picture("circle"), headers=PNG)
    assert answer.status_code >= 500
    assert client.get("/readyz").status_code == client.get("/livez").status_code == 200
    session(client).said = ""
    predicted(client, 1)
