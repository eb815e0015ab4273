"""Spans: one a request, the caller's as its parent, with children for decode, queue and run; off, nothing at all."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from core.config import ServeSettings, Settings
from core.home import open_home
from service.api.application import application
from service.bootstrap import build
from service.tracing import Tracing, tracing
from tests import pico
from tests.asking import MOST, PNG, instance, predicted
from tests.waiting import until

PREDICT = "/v1/scenes/{scene}/predict"
TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SECRET = "anna-7"


@dataclass
class Seen:
    """A service whose spans are kept."""

    client: TestClient
    spans: InMemorySpanExporter
    version: str

    def new(self) -> list[ReadableSpan]:
        """The spans since the last look."""
        told = list(self.spans.get_finished_spans())
        self.spans.clear()
        return told


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    settings = Settings(home=tmp_path_factory.mktemp("home"), serve=ServeSettings(poll_seconds=0.01))
    with closing(open_home(settings)) as home:
        version = pico.register(home).version.version
    spans = InMemorySpanExporter()

    def built() -> object:
        return replace(build(settings), tracing=Tracing(SimpleSpanProcessor(spans)))

    with TestClient(application(built, MOST), raise_server_exceptions=False) as client:  # type: ignore[arg-type]
        until(lambda: client.get("/readyz").status_code == 200)
        spans.clear()
        yield Seen(client, spans, version)


def test_a_prediction_is_one_span_with_its_parts_under_the_callers(seen: Seen) -> None:
    parent = {"traceparent": f"00-{TRACE}-{CALLER}-01"}
    body = {"instances": [instance(pico.picture("circle", n)) for n in (1, 2)]}
    assert seen.client.post("/v1/scenes/shapes/predict", json=body, headers=parent).status_code == 200
    *parts, whole = seen.new()
    assert whole.name == f"POST {PREDICT}"
    assert whole.attributes == {
        "http.request.method": "POST",
        "http.route": PREDICT,
        "http.response.status_code": 200,
        "lepton.scene": "shapes",
        "lepton.version": seen.version,
    }
    assert whole.parent is not None and f"{whole.parent.span_id:016x}" == CALLER
    assert sorted(part.name for part in parts) == ["decode"] * 2 + ["queue"] * 2 + ["run"] * 2
    for part in parts:
        assert part.parent is not None and part.parent.span_id == whole.context.span_id
        assert f"{part.context.trace_id:032x}" == TRACE
        assert part.start_time is not None and part.end_time is not None and part.start_time <= part.end_time


def test_other_routes_and_failures_are_spans_too_and_nothing_private_is_in_them(seen: Seen) -> None:
    seen.client.post(f"/v1/scenes/{SECRET}/predict?top_k={SECRET}", content=SECRET.encode(), headers=PNG)
    seen.client.get(f"/{SECRET}", headers={"X-Secret": SECRET, "traceparent": SECRET})
    prediction = predicted(seen.client, 1)["prediction_id"]
    seen.client.post("/v1/feedback", json={"prediction_id": prediction, "label": "circle", "subject": SECRET})
    body = {"inputs": [{"name": "encoded_image", "datatype": "BYTES", "shape": [1], "data": ["AAAA"]}]}
    seen.client.post("/v2/models/shapes/infer", json=body)
    told = seen.new()
    wholes = {span.name: span for span in told if span.name not in {"decode", "queue", "run"}}
    assert list(wholes) == [
        f"POST {PREDICT}",
        "GET other",
        "POST /v1/feedback",
        "POST /v2/models/{scene}/infer",
    ]
    codes = [(span.attributes or {})["http.response.status_code"] for span in wholes.values()]
    assert codes == [200, 404, 202, 415]
    assert SECRET not in "".join(span.to_json() for span in told)


def test_spans_are_sent_over_otlp_to_where_the_usual_variables_say(monkeypatch: pytest.MonkeyPatch) -> None:
    got: list[ExportTraceServiceRequest] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["Content-Length"]))))
            assert self.path == "/v1/traces"
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        made = tracing(Settings(serve=ServeSettings(tracing="otlp")))
        assert made is not None
        made.begin([]).end("GET", "/v1/scenes", 500)
        made.close()
        server.shutdown()
        thread.join()
    (span,) = (span for each in got for part in each.resource_spans for of in part.scope_spans for span in of.spans)
    assert (span.name, span.status.code) == ("GET /v1/scenes", 2)


def test_off_neither_the_sdk_nor_an_exporter_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from core.config import Settings; from service.bootstrap import build; "
        f"context = build(Settings(home=pathlib.Path({str(tmp_path)!r}))); "
        "assert context.tracing is None; made = ('opentelemetry.sdk', 'opentelemetry.exporter'); "
        "print([name for name in sys.modules if name.startswith(made)])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_without_the_package_the_setting_is_refused_with_the_remedy() -> None:
    code = (
        "import sys; sys.modules['opentelemetry.exporter'] = None; "
        "from core.config import ServeSettings, Settings; from core.errors import BadConfiguration\n"
        "from service.tracing import tracing\n"
        "try: tracing(Settings(serve=ServeSettings(tracing='otlp')))\n"
        "except BadConfiguration as error: print(error)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "lepton[tracing]" in told.stdout and "opentelemetry.exporter" in told.stdout
