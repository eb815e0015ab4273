"""What no client should send, sent to the real service: refused in time, in little memory, and the next one is served.

``tests/unit/test_connections.py`` has more of the same against a few lines of application.
"""

from __future__ import annotations

import base64
import gzip
import json
import pickle
import random
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from tests import pico
from tests.asking import PNG, instance, predicted, refused
from tests.processes import house
from tests.waiting import until
from tests.wires import Wire, request, wire

MOST = 2**20  # bytes of a body
ROOM = 24 * 2**20  # bytes that bad input may cost a worker for a while
PREDICT, FEEDBACK, BATCH = "/v1/scenes/shapes/predict", "/v1/feedback", "/v1/feedback:batch"
INFER = "/v2/models/shapes/infer"
JSON = {"content-type": "application/json"}
TYPES = {PREDICT: "image/png", FEEDBACK: "application/json", BATCH: "application/x-ndjson", INFER: "application/json"}


@dataclass(frozen=True)
class Service:
    """One worker, and a client that it knows well."""

    port: int
    worker: psutil.Process
    client: httpx.Client

    def status(self, name: str) -> int:
        """Bytes, by a name of /proc/PID/status."""
        lines = Path(f"/proc/{self.worker.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name + ":"))

    @contextmanager
    def bounded(self) -> Iterator[None]:
        """What happens within costs the worker little memory, at no moment, and it answers as ever afterwards."""
        Path(f"/proc/{self.worker.pid}/clear_refs").write_text("5")  # the peak begins anew
        before = self.status("VmRSS")
        yield
        predicted(self.client, 1)
        assert self.status("VmHWM") - before < ROOM


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("protocol")
    limits = {"LEPTON_SERVE_HEADER_SECONDS": "1", "LEPTON_SERVE_BODY_SECONDS": "1"}
    with house(folder / "home", folder, LEPTON_SERVE_MAX_BODY_BYTES=str(MOST), **limits) as place:
        with closing(place.open()) as home:
            pico.register(home)
        place.start_service(workers=1)
        (worker,) = place.workers()
        with httpx.Client(base_url=place.url, timeout=30, trust_env=False) as client:
            for number in range(20):
                predicted(client, number)
            yield Service(place.port, worker, client)


def ask(service: Service, data: bytes) -> tuple[int, bool]:
    """The status of the one answer, and whether the connection ends then."""
    with wire(service.port) as line:
        line.send(data)
        reply = line.reply()
        line.half_close()
        return reply.status, reply.headers.get("connection") == "close" and line.closed()


def series(service: Service) -> set[str]:
    lines = service.client.get("/metrics").text.splitlines()
    return {line.rsplit(" ", 1)[0] for line in lines if not line.startswith("#")}


def counted(service: Service, route: str, status: int) -> float:
    lines = service.client.get("/metrics").text.splitlines()
    name = f'lepton_requests_total{{route="{route}",status="{status}"}}'
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def test_heads_that_do_not_end_are_closed_in_time(service: Service) -> None:
    with service.bounded():
        lines = [Wire(service.port) for _ in range(50)]
        for line, begun in zip(
            lines, (b"", b"P", f"POST {PREDICT} HTTP/1.1\r\nhost: a\r\n".encode()) * 17, strict=False
        ):
            line.send(begun)
        predicted(service.client, 2)
        begun_at = time.monotonic()
        assert all(line.closed() for line in lines)
        assert time.monotonic() - begun_at < 10
        for line in lines:
            line.close()


@pytest.mark.parametrize("path", TYPES)
def test_slow_bodies_are_answered_408_while_others_are_served(service: Service, path: str) -> None:
    route = path.replace("shapes", "{scene}")
    before = counted(service, route, 408)
    with service.bounded():
        lines = [Wire(service.port) for _ in range(20)]
        for line in lines:
            line.send(f"POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: {TYPES[path]}\r\n".encode())
            line.send(b"content-length: 1000\r\n\r\n{")
        predicted(service.client, 3)
        for line in lines:
            reply = line.reply()
            assert (reply.status, reply.headers["connection"]) == (408, "close")
            line.half_close()
            assert line.closed()
            line.close()
    assert counted(service, route, 408) == before + 20


@pytest.mark.parametrize("path", [PREDICT, FEEDBACK, INFER, "/nowhere"])
def test_a_body_without_end_is_cut_off(service: Service, path: str) -> None:
    kind = TYPES.get(path, "image/png")
    piece = b"10000\r\n" + b"x" * 2**16 + b"\r\n"
    with service.bounded(), wire(service.port) as line:
        line.send(f"POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: {kind}\r\n".encode())
        line.send(b"transfer-encoding: chunked\r\n\r\n" + piece * (MOST // 2**16 + 1))
        reply = line.reply()
        assert reply.status == (404 if path == "/nowhere" else 413)
        assert line.send(piece * 1024) < len(piece) * 1024
        assert line.closed()


@pytest.mark.parametrize("endless", [b"\n", b"x", b" \n"], ids=["empty lines", "one line", "blank lines"])
def test_a_batch_without_end_is_cut_off(service: Service, endless: bytes) -> None:
    piece = b"10000\r\n" + endless * (2**16 // len(endless)) + b"\r\n"
    with service.bounded(), wire(service.port) as line:
        line.send(f"POST {BATCH} HTTP/1.1\r\nhost: a\r\ncontent-type: application/x-ndjson\r\n".encode())
        line.send(b"transfer-encoding: chunked\r\n\r\n")
        assert line.send(piece * 1024) < len(piece) * 1024


def test_a_body_that_says_that_it_is_too_large_is_refused_before_it_comes(service: Service) -> None:
    with service.bounded(), wire(service.port) as line:
        line.send(request(PREDICT, "content-type: image/png", "expect: 100-continue", f"content-length: {10**11}"))
        assert line.reply().status == 413


def test_a_header_of_100_mb_is_refused_in_little_memory(service: Service) -> None:
    with service.bounded(), wire(service.port) as line:
        line.send(b"GET /v1/scenes HTTP/1.1\r\nhost: a\r\nx-large: ")
        assert line.send(b"a" * 100_000_000) < 100_000_000
    assert ask(service, b"GET / HTTP/1.1\r\nx-large: " + b"a" * 2**17) == (431, True)
    assert ask(service, b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 1000 + b"\r\n") == (431, True)
    assert ask(service, b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\n\r\n") == (414, True)


WRONG = [
    "text/html",
    "application/x-www-form-urlencoded",
    "application/python-pickle",
    "application/vnd.bentoml+pickle",
]


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        (path, kind) for path in TYPES for kind in ("", *WRONG) if (path, kind) != (INFER, "")
    ],  # Triton's own client states no content type
)
def test_a_content_type_that_is_wrong_or_missing_is_refused(service: Service, path: str, kind: str) -> None:
    body = pickle.dumps({"scene": "shapes"}) if "pickle" in kind else b"{}"
    answer = service.client.post(path, content=body, headers={"content-type": kind} if kind else {})
    assert answer.status_code == 415, answer.text
    predicted(service.client, 4)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "identity, gzip"])
@pytest.mark.parametrize("path", TYPES)
def test_compressed_bodies_are_refused(service: Service, path: str, coding: str) -> None:
    headers = {"content-type": TYPES[path], "content-encoding": coding}
    with service.bounded():
        answer = service.client.post(path, content=gzip.compress(b"{" + b" " * 10**8), headers=headers)
        assert answer.status_code == 415, answer.text


NUMBERS = {"NaN": b"NaN", "infinity": b"-Infinity", "1e999": b"1e999", "a million digits": b"9" * (MOST - 1000)}
TEXTS = {"lone surrogate": b'"\\ud800"', "not UTF-8": b'"\xff"', "encoded surrogate": b'"\xed\xa0\x80"'}
NESTED = {"lists": b"[" * 100_000, "closed lists": b"[" * 100_000 + b"]" * 100_000, "objects": b'{"a":' * 100_000}
ODD = NUMBERS | TEXTS | NESTED
WHOLE = {
    "the same key twice": b'{"instances": [], "instances": [1]}',
    "the same key twice, once escaped": b'{"top_k": 1, "top\\u005fk": 2, "instances": [1]}',
    "the same key twice, deep inside": b'{"instances": [{"image": {"b64": "", "b64": ""}}]}',
    "a byte order mark": b'\xef\xbb\xbf{"instances": [1]}',
    "UTF-16": '{"instances": [1]}'.encode("utf-16"),
    "two values": b'{"instances": [1]} {}',
    "nothing": b"",
} | {name: b'{"instances": [' + value + b"]}" for name, value in ODD.items()}


@pytest.mark.parametrize("path", TYPES)
@pytest.mark.parametrize("body", WHOLE.values(), ids=WHOLE)
def test_json_that_readers_would_not_agree_upon_is_refused_fast(service: Service, path: str, body: bytes) -> None:
    headers = {"content-type": "application/x-ndjson"} if path == BATCH else JSON
    with service.bounded():
        begun_at = time.monotonic()
        answer = service.client.post(path, content=body, headers=headers)
        assert time.monotonic() - begun_at < 5
        if path == BATCH:
            assert all("error" in json.loads(line) for line in answer.text.splitlines())
        else:
            assert answer.status_code == 400, answer.text[:300]


def test_a_gif_of_ten_thousand_frames_is_not_looked_into(service: Service) -> None:
    frame = bytes.fromhex("2c000000000100010000020244 0100")
    gif = b"GIF89a" + bytes.fromhex("01000100800000ffffff000000") + frame * 10_000 + b";"
    with service.bounded():
        for kind in ("image/png", "image/jpeg", "application/octet-stream"):
            answer = service.client.post(PREDICT, content=gif, headers={"content-type": kind})
            refused(answer, 415, "unsupported_media")
        refused(
            service.client.post(PREDICT, content=gif, headers={"content-type": "image/gif"}), 415, "unsupported_media"
        )
        refused(service.client.post(PREDICT, json={"instances": [instance(gif)]}), 415, "unsupported_media")


def test_a_scan_of_addresses_and_methods_makes_no_series(service: Service) -> None:
    dice = random.Random(0)
    service.client.get("/nowhere")
    service.client.request("PURGE", "/nowhere")
    service.client.post("/v1/scenes/nothing/predict", content=b"x", headers=PNG)
    before = series(service)
    with service.bounded():
        for _ in range(1000):
            name = base64.urlsafe_b64encode(dice.randbytes(12)).decode()
            path = dice.choice(
                [f"/{name}", f"/v1/{name}", f"/v1/scenes/{name}/predict", f"/v2/{name}", f"/{name}?a={name}"]
            )
            method = dice.choice(["GET", "POST", "PURGE", "DELETE"]) if "predict" not in path else "POST"
            answer = service.client.request(method, path, headers=PNG)
            assert answer.status_code == (405 if method == "PURGE" else 404), (method, path, answer.text)
    assert series(service) == before


@pytest.mark.parametrize(
    "data",
    [
        request(PREDICT, "content-length: 5", "transfer-encoding: chunked") + b"0\r\n\r\n",
        request(PREDICT, "content-length: 5", "content-length: 6") + b"hello!",
        request(PREDICT, "a: b", " folded: c"),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        bytes.fromhex("16030100c8010000c403036162"),
        random.Random(0).randbytes(5000),
        b"FOO / HTTP/1.1\r\n\r\n",
        b"\r\n\r\n GET / HTTP/1.1\r\n\r\n",
    ],
    ids=["two framings", "two lengths", "a folded header", "HTTP/2", "TLS", "noise", "no method", "no address"],
)
def test_what_is_no_request_or_could_be_two_is_refused_and_closed(service: Service, data: bytes) -> None:
    with service.bounded():
        assert ask(service, data) == (400, True)


def test_pipelined_requests_are_answered_in_order(service: Service) -> None:
    pictures = [pico.picture(label, number) for number in range(10) for label in pico.LABELS]
    with service.bounded(), wire(service.port) as line:
        names = [f"request-{number}" for number in range(len(pictures))]
        line.send(
            b"".join(
                request(PREDICT, "content-type: image/png", f"x-request-id: {name}", body=picture)
                for name, picture in zip(names, pictures, strict=True)
            )
        )
        replies = [line.reply() for _ in pictures]
    assert [reply.headers["x-request-id"] for reply in replies] == names
    told = [json.loads(reply.body)["predictions"][0]["label"] for reply in replies]
    assert told == list(pico.LABELS) * 10


LEAVING: dict[str, bytes] = {
    "silent": b"",
    "in the head": b"POST / HTTP/1.1\r\nhost:",
    "in the body": f"POST {PREDICT} HTTP/1.1\r\ncontent-type: image/png\r\ncontent-length: 1000\r\n\r\nx".encode(),
    "in a batch": f"POST {BATCH} HTTP/1.1\r\ncontent-type: application/x-ndjson\r\n".encode()
    + b"content-length: 1000\r\n\r\n{}\n{}\n",
    "while it is answered": request(PREDICT, "content-type: image/png", body=pico.picture("circle")),
}


@pytest.mark.parametrize("kind", LEAVING)
def test_two_hundred_clients_that_leave_leave_no_descriptor_and_no_memory(service: Service, kind: str) -> None:
    predicted(service.client, 5)
    before = service.worker.num_fds()
    with service.bounded():
        for number in range(200):
            line = Wire(service.port)
            line.send(LEAVING[kind])
            (line.reset if number % 2 else line.half_close)()
            line.close()
        until(lambda: service.worker.num_fds() <= before)
