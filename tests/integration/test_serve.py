"""The real ``bentoml serve`` with two workers: what a process can do wrong that an application in a test cannot."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import psutil
import pytest

from core.config import ServeSettings, Settings
from core.home import Home, open_home
from service.run import command, environment
from tests import pico
from tests.asking import PNG, bomb, instance, predicted, refused
from tests.waiting import until

MOST = 2**20


@dataclass(frozen=True)
class Server:
    """A running server; ``process`` is its supervisor."""

    url: str
    home: Home
    process: psutil.Popen

    def client(self) -> httpx.Client:
        """A connection of its own, which may reach any worker."""
        return httpx.Client(base_url=self.url, timeout=30)

    @contextmanager
    def workers(self) -> Iterator[dict[str, httpx.Client]]:
        """One open connection to every worker, by its index: a connection stays with its worker."""
        found: dict[str, httpx.Client] = {}
        with ExitStack() as opened:
            for _ in range(200):
                client = opened.enter_context(self.client())
                answer = client.post("/v1/scenes/shapes/predict", content=pico.picture("circle"), headers=PNG)
                found.setdefault(answer.headers["Lepton-Worker"], client)
                if len(found) == 2:
                    yield found
                    return
            raise AssertionError(f"over 200 connections only workers {sorted(found)} have answered")

    def children(self) -> list[psutil.Process]:
        """The worker processes."""
        return [child for child in self.process.children() if _works(child)]


def _works(child: psutil.Process) -> bool:
    try:
        return "_bentoml_impl.worker.service" in child.cmdline()
    except psutil.Error:  # it has just ended
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def serve(home: Home, log: Path) -> Server:
    with log.open("wb") as out:
        process = psutil.Popen(
            command(home.settings), env=environment(home.settings), cwd=log.parent, stdout=out, stderr=out
        )
    server = Server(f"http://127.0.0.1:{home.settings.serve.port}", home, process)
    try:
        until(lambda: ready(server), 60)
    except AssertionError:
        stop(server, signal.SIGKILL)
        raise AssertionError(f"the server did not start:\n{log.read_text()[-3000:]}") from None
    return server


def ready(server: Server) -> bool:
    try:
        return httpx.get(server.url + "/readyz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def stop(server: Server, how: signal.Signals) -> None:
    family = [server.process, *server.process.children(recursive=True)]
    server.process.send_signal(how)
    _, left = psutil.wait_procs(family, timeout=20)
    server.process.wait(20)
    for process in left:
        process.kill()
    assert not left, f"{[process.pid for process in left]} did not end after {how.name}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("served")
    service = ServeSettings(port=free_port(), workers=2, max_body_bytes=MOST)
    home = open_home(Settings(home=folder / "home", serve=service))
    pico.register(home)
    started = serve(home, folder / "log.txt")
    yield started
    stop(started, signal.SIGTERM)
    home.close()


def test_both_workers_answer_and_both_learn_from_a_label_that_one_of_them_took(server: Server) -> None:
    with server.workers() as workers:
        assert set(workers) == {"1", "2"}
        prediction = predicted(workers["1"], 40)["prediction_id"]
        until(lambda: server.home.predictions.find([prediction]))
        answer = workers["2"].post("/v1/feedback", json={"prediction_id": prediction, "label": "square"})
        assert (answer.status_code, answer.json()["status"]) == (202, "accepted")
        revision = pico.learn(server.home)
        for client in workers.values():
            until(partial(_serves, client, revision.number))
            told = client.get(f"/v1/feedback/{answer.json()['event_id']}").json()
            assert told["served_since"]["revision"] == revision.number


def _serves(client: httpx.Client, revision: int) -> bool:
    answer = client.post("/v1/scenes/shapes/predict", content=pico.picture("circle"), headers=PNG)
    return bool(answer.json()["revision"] == revision)


def test_a_label_that_reaches_the_other_worker_before_the_log_is_accepted_or_pending_never_lost(server: Server) -> None:
    with server.workers() as workers:
        for number in range(200, 210):
            prediction = predicted(workers["1"], number)["prediction_id"]
            answer = workers["2"].post("/v1/feedback", json={"prediction_id": prediction, "label": "circle"})
            assert answer.json()["status"] in {"accepted", "pending"}


def test_health_pages_and_metrics_are_those_of_the_service(server: Server) -> None:
    with server.client() as client:
        assert client.get("/livez").status_code == client.get("/readyz").status_code == 200
        assert "swagger" in client.get("/docs").text
        assert "/v1/feedback" in client.get("/openapi.json").json()["paths"]
        refused(client.get("/nowhere"), 404, "not_found")
        refused(client.get("/v1/feedback"), 405, "method_not_allowed")
        predicted(client, 1)
        text = client.get("/metrics").text
        assert 'lepton_predictions_total{outcome="answered",scene="shapes"}' in text
        assert "bentoml_service" not in text


def test_metrics_add_up_over_the_workers(server: Server) -> None:
    def total(client: httpx.Client) -> float:
        lines = client.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("lepton_predictions_total{"))

    with server.workers() as workers:
        before = total(workers["1"])
        for client in workers.values():
            for number in range(3):
                predicted(client, number)
        assert total(workers["1"]) == total(workers["2"]) == before + 6


def test_bad_requests_are_answered_and_the_workers_live_on(server: Server) -> None:
    pids = {child.pid for child in server.children()}
    path = "/v1/scenes/shapes/predict"
    with server.client() as client:
        refused(client.post(path, content=bomb(), headers=PNG), 413, "too_large")
        refused(client.post(path, content=b"a text", headers={"content-type": "image/jpeg"}), 415, "unsupported_media")
        refused(client.post(path, content=b"x" * (3 * MOST), headers=PNG), 413, "too_large")
        refused(client.post(path, content=iter([b"x" * MOST] * 3), headers=PNG), 413, "too_large")
        refused(client.post(path, content=b"{", headers={"content-type": "application/json"}), 400, "malformed_request")
        refused(client.post("/v1/scenes/none/predict", content=b"x" * MOST, headers=PNG), 404, "not_found")
        assert predicted(client, 1)["label"] == "circle"
    assert {child.pid for child in server.children()} == pids


def test_an_endless_body_is_cut_off(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.home.settings.serve.port), timeout=20) as raw:
        raw.sendall(b"POST /v1/scenes/shapes/predict HTTP/1.1\r\nhost: a\r\ncontent-type: image/png\r\n")
        raw.sendall(b"content-length: 100000000000\r\n\r\n")
        sent = 0
        with pytest.raises(OSError, match=r"reset|[Bb]roken pipe"):
            while sent < 64 * MOST:
                sent += raw.send(b"x" * 65536)
    assert sent < 64 * MOST
    assert ready(server)


def test_a_clients_url_is_never_fetched(server: Server) -> None:
    with socket.socket() as trap:
        trap.bind(("127.0.0.1", 0))
        trap.listen()
        trap.settimeout(0.3)
        url = f"http://127.0.0.1:{trap.getsockname()[1]}/picture.png"
        with server.client() as client:
            for told in ({"image": url}, {"image": {"url": url}}, {"image": {"b64": url}}, url):
                answer = client.post("/v1/scenes/shapes/predict", json={"instances": [told]})
                refused(answer, 422, "invalid_input")
                body = {"scene": "shapes", "instance": told, "label": "circle"}
                assert client.post("/v1/feedback", json=body).status_code == 422
            answer = client.post(
                "/v1/scenes/shapes/predict", content=url.encode(), headers={"content-type": "text/uri-list"}
            )
            refused(answer, 415, "unsupported_media")
        with pytest.raises(TimeoutError):
            trap.accept()


def test_a_large_batch_from_a_client_that_reads_nothing_before_it_has_sent_all(server: Server) -> None:
    with server.client() as client:
        prediction = predicted(client, 300)["prediction_id"]
        until(lambda: server.home.predictions.find([prediction]))
        line = json.dumps({"prediction_id": prediction, "label": "circle", "event_id": "batch-1"}).encode() + b"\n"
        answer = client.post("/v1/feedback:batch", content=line * 500, headers={"content-type": "application/x-ndjson"})
        told = [json.loads(each)["status"] for each in answer.text.splitlines()]
        assert told == ["accepted", *["duplicate"] * 499]


def test_a_worker_listens_on_the_one_port_of_the_server_only(server: Server) -> None:
    for child in server.children():
        listening = {c.laddr.port for c in child.net_connections() if c.status == psutil.CONN_LISTEN}
        assert listening == {server.home.settings.serve.port}


def test_an_instance_sent_along_is_accepted_on_any_worker(server: Server) -> None:
    body = {"scene": "shapes", "instance": instance(pico.picture("square", 900)), "label": "square"}
    with server.workers() as workers:
        for client in workers.values():
            assert client.post("/v1/feedback", json=body).json()["status"] == "accepted"


def test_a_killed_worker_is_replaced(server: Server) -> None:
    victim = server.children()[0]
    os.kill(victim.pid, signal.SIGKILL)
    until(lambda: len(server.children()) == 2 and victim.pid not in {c.pid for c in server.children()}, 40)
    with server.workers() as workers:
        assert len(workers) == 2


def test_when_the_supervisor_is_killed_no_worker_keeps_the_port(tmp_path: Path) -> None:
    home = open_home(Settings(home=tmp_path / "home", serve=ServeSettings(port=free_port())))
    server = serve(home, tmp_path / "log.txt")
    stop(server, signal.SIGKILL)
    home.close()
