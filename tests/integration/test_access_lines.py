"""The access log of the service: what stands in a line, and what must never."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from core.config import ServeSettings, Settings
from core.home import Home, open_home
from service.api.application import application
from service.bootstrap import build
from tests import pico
from tests.asking import MOST, PNG, instance, predicted
from tests.processes import house
from tests.waiting import until

FIELDS = [
    *("time", "method", "route", "status", "seconds"),
    *("bytes_in", "bytes_out", "worker", "scene", "request_id"),
]
PREDICT = "/v1/scenes/{scene}/predict"
SECRET = "xyzzy-4711"


class Logged:
    """A service with an access log, and the lines that came since the last look."""

    def __init__(self, client: TestClient, file: Path):
        self.client = client
        self._file = file
        self._seen = 0

    def new(self) -> list[dict[str, Any]]:
        lines = self._file.read_text().splitlines()[self._seen :]
        self._seen += len(lines)
        return [json.loads(line) for line in lines]


def home_of(folder: Path, **serve: Any) -> Home:
    home = open_home(Settings(home=folder, serve=ServeSettings(max_body_bytes=MOST, **serve)))
    pico.register(home)
    return home


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Logged]:
    home = home_of(tmp_path_factory.mktemp("logged"), access_log="json", access_log_file="access.log")
    app = application(lambda: build(home.settings, 7), MOST)
    with TestClient(app, raise_server_exceptions=False) as client:
        until(lambda: client.get("/readyz").status_code == 200)
        yield Logged(client, home.settings.home / "access.log")
    home.close()


@pytest.fixture(autouse=True)
def _from_here_on(logged: Logged) -> None:
    logged.new()


def test_a_line_says_what_was_asked_and_how_it_was_answered(logged: Logged) -> None:
    picture = pico.picture("circle", 1)
    answer = logged.client.post("/v1/scenes/shapes/predict?top_k=2", content=picture, headers=PNG)
    (line,) = logged.new()
    assert list(line) == FIELDS
    assert (line["method"], line["route"], line["status"]) == ("POST", PREDICT, 200)
    assert (line["bytes_in"], line["bytes_out"]) == (len(picture), len(answer.content))
    assert (line["worker"], line["scene"], line["request_id"]) == ("7", "shapes", answer.headers["X-Request-Id"])
    assert 0 < line["seconds"] < 30
    assert datetime.fromisoformat(line["time"]).utcoffset() is not None


def test_what_was_refused_and_what_was_not_found_has_its_line_too(logged: Logged) -> None:
    logged.client.post("/v1/scenes/shapes/predict", content=b"x" * (MOST + 1), headers=PNG)
    logged.client.post("/v1/scenes/nowhere/predict", content=b"x", headers=PNG)
    logged.client.get("/nowhere/at/all?token=1")
    logged.client.request("BREW", "/livez")
    logged.client.get("/metrics")
    told = [(line["method"], line["route"], line["status"], line["scene"]) for line in logged.new()]
    assert told == [
        ("POST", PREDICT, 413, "shapes"),
        ("POST", PREDICT, 404, None),
        ("GET", "other", 404, None),
        ("other", "/livez", 405, None),
        ("GET", "/metrics", 200, None),
    ]


def test_no_payload_label_subject_secret_path_or_query_gets_into_the_log(logged: Logged) -> None:
    client, prediction = logged.client, predicted(logged.client, 5)["prediction_id"]
    headers = {"Authorization": f"Bearer {SECRET}", "Cookie": f"key={SECRET}", "X-Request-Id": f"{SECRET} {SECRET}"}
    body = {"scene": "shapes", "instance": instance(pico.picture("square", 3)), "label": "square", "subject": SECRET}
    client.post("/v1/feedback", json=body | {"annotator": SECRET, "event_id": SECRET}, headers=headers)
    client.post("/v1/feedback", json={"prediction_id": prediction, "label": SECRET}, headers=headers)
    client.post(
        "/v1/feedback:batch",
        content=json.dumps(body | {"event_id": f"2{SECRET}"}),
        headers={**headers, "content-type": "application/x-ndjson"},
    )
    client.patch(f"/v1/feedback/{SECRET}", json={"label": "circle"}, headers=headers)
    client.get(f"/v1/feedback/{SECRET}", headers=headers)
    client.delete(f"/v1/subjects/{SECRET}", headers=headers)
    client.get(f"/{SECRET}?key={SECRET}", headers=headers)
    client.post(f"/v1/scenes/{SECRET}/predict", content=SECRET.encode(), headers=headers)
    client.request(SECRET.upper(), "/v1/queue", headers=headers)
    lines = logged.new()
    assert [line["status"] for line in lines] == [200, 202, 422, 200, 200, 200, 200, 404, 404, 405]
    text = json.dumps(lines).lower()
    for word in (SECRET, "square", "circle", "bearer", prediction):
        assert word not in text


@pytest.mark.parametrize("given", ["a", "x" * 128, "01a20033-fe03-73e2-bbb5-ad4911200536", "Root=1-67:891/a+b=@~."])
def test_a_request_id_of_the_client_is_kept_and_sent_back(logged: Logged, given: str) -> None:
    answer = logged.client.get("/v1/scenes", headers={"X-Request-Id": given})
    assert answer.headers.get_list("X-Request-Id") == [given] == [line["request_id"] for line in logged.new()]


@pytest.mark.parametrize("given", ["", "x" * 129, "two words", 'quote"', "tab\there", "ümlaut", "a\\n"])
def test_a_request_id_that_cannot_be_used_is_replaced(logged: Logged, given: str) -> None:
    answer = logged.client.get("/v1/scenes", headers=[(b"X-Request-Id", given.encode())])
    (line,) = logged.new()
    assert line["request_id"] == answer.headers["X-Request-Id"] != given
    assert len(line["request_id"]) == 36


def test_a_batch_is_counted_in_bytes_both_ways(logged: Logged) -> None:
    lines = b'{"scene": "nowhere"}\n' * 100
    answer = logged.client.post("/v1/feedback:batch", content=lines, headers={"content-type": "application/x-ndjson"})
    (line,) = logged.new()
    assert (line["route"], line["bytes_in"], line["bytes_out"]) == (
        "/v1/feedback:batch",
        len(lines),
        len(answer.content),
    )


def test_a_client_that_leaves_in_the_middle_of_its_request_is_no_error_of_ours(logged: Logged) -> None:
    sent: list[Any] = []
    told = iter([{"type": "http.request", "body": b"abc", "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> Any:
        return next(told)

    async def send(message: Any) -> None:
        sent.append(message)

    path = "/v1/scenes/shapes/predict"
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": [(b"content-type", b"image/png")],
    }

    async def ask() -> None:
        await logged.client.app(scope, receive, send)

    asyncio.run(ask())
    (line,) = logged.new()
    assert (line["route"], line["status"], line["bytes_in"], sent) == (PREDICT, 499, 3, [])
    text = logged.client.get("/metrics").text
    assert f'lepton_requests_total{{route="{PREDICT}",status="499"}} 1.0' in text
    assert f'lepton_requests_total{{route="{PREDICT}",status="500"}}' not in text


def test_without_the_setting_there_is_no_log_and_still_a_request_id(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    home = home_of(tmp_path / "home")
    with TestClient(application(lambda: build(home.settings), MOST)) as client:
        assert len(client.get("/v1/scenes").headers["X-Request-Id"]) == 36
    home.close()
    assert "request_id" not in "".join(capfd.readouterr())


def test_the_real_service_writes_the_lines_of_all_its_workers_to_standard_error(tmp_path: Path) -> None:
    home_of(tmp_path / "home").close()
    with house(tmp_path / "home", LEPTON_SERVE_ACCESS_LOG="json") as running:
        running.start_service()
        workers = set()
        for number in range(60):
            with httpx.Client(base_url=running.url, trust_env=False, timeout=30) as client:
                path, headers = "/v1/scenes/shapes/predict", PNG | {"X-Request-Id": f"n{number}"}
                answer = client.post(path, content=pico.picture("circle"), headers=headers)
            assert answer.headers.get_list("X-Request-Id") == [f"n{number}"]
            workers.add(answer.headers["Lepton-Worker"])
            if len(workers) == 2:
                break
    log = (tmp_path / "service.log").read_text()
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    asked = [line for line in lines if line["route"] == PREDICT]
    assert [line["request_id"] for line in asked] == [f"n{n}" for n in range(number + 1)]
    assert {line["worker"] for line in asked} == workers == {"1", "2"}
