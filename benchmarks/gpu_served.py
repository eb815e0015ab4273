"""The service on a GPU beside the same service on the CPU of the same machine, over HTTP.

EfficientNet-Lite0 at 224 px, pictures as JPEG files of 224 px (some 15 kB) and as photographs of 0.3 to 1 MB, whose
decoding is the CPU's in both. Closed loops: as many connections as are said, each of which asks again as soon as it is
answered.

Promises rounds in turns, one server running at a time, and medians over them. Knows nothing of the engine's inside.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

from PIL import Image

from benchmarks import photographs, planted
from benchmarks.generator.driver import Generator
from benchmarks.generator.http1 import request
from benchmarks.generator.plans import Closed
from benchmarks.generator.record import Record
from benchmarks.report import Claim, Row
from benchmarks.servers import Server, lepton
from benchmarks.serving_parts.part import Measure, failed, line, ratio, rounds, same_answers

SCENE = "image"
CONNECTIONS = (1, 16, 64)
CLOSE = 0.01  # of probabilities
ON_GPU, ON_CPU = "GPU", "CPU"
WAYS: Mapping[str, tuple[str, int]] = {ON_GPU: ("cuda", 1), ON_CPU: ("cpu", 1), "GPU, 4 workers": ("cuda", 4)}


def measured(
    *, seconds: float, count: int, ways: Mapping[str, tuple[str, int]] = WAYS
) -> tuple[list[Row], list[Claim]]:
    """Rows of both kinds of picture and all ways, ``count`` rounds of loops of so many seconds; a way is a device and a
    number of workers."""
    rows, claims = list[Row](), list[Claim]()
    home, large = planted.home("gpu", [(SCENE, planted.lite0())]), photographs.photographs()
    kinds = {"small": [_request(_small(data)) for data in large], "photographs": [_request(data) for data in large]}
    with ExitStack() as held, Generator() as generator:
        started: list[Server] = []
        for name, (device, workers) in ways.items():
            server = lepton(home, kinds["small"], name=name, workers=workers, settings={"SERVE_DEVICE": device})
            started.append(held.enter_context(server))
            print(f"… {name}: ready", file=sys.stderr, flush=True)
        same_answers(started, within=CLOSE)
        for kind, requests in kinds.items():
            servers = [replace(server, requests=requests) for server in started]
            found = rounds(servers, _loops(seconds), count, generator)
            rows += [line(kind, f"{name}, {loop}", records) for (name, loop), records in found.items()]
            claims += _claims(kind, found)
            print(f"… {kind}: measured", file=sys.stderr, flush=True)
    return rows, claims


def _request(data: bytes) -> bytes:
    return request(f"/v1/scenes/{SCENE}/predict", data, "image/jpeg")


def _loops(seconds: float) -> dict[str, Measure]:
    def loop(connections: int) -> Measure:
        def measure(generator: Generator, server: Server) -> Record:
            plan = Closed(port=server.port, requests=server.requests, connections=connections, seconds=seconds)
            return generator.run(plan)

        return measure

    return {_name(connections): loop(connections) for connections in CONNECTIONS}


def _claims(kind: str, found: Mapping[tuple[str, str], Sequence[Record]]) -> list[Claim]:
    """That no request fails, and that a GPU is no slower."""
    busiest, lost = _name(CONNECTIONS[-1]), sum(failed(records) for records in found.values())
    faster = ratio(found[ON_GPU, busiest], found[ON_CPU, busiest], Record.throughput)
    return [
        Claim(claim=f"{kind}: requests without a 200", value=lost, bound=0, holds=lost == 0),
        Claim(claim=f"{kind}: requests/s on the GPU over the CPU", value=faster, bound=1.0, holds=faster >= 1.0),
    ]


def _name(connections: int) -> str:
    return f"{connections} connection" + ("" if connections == 1 else "s")


def _small(data: bytes) -> bytes:
    """The picture as it would be sent by who knows the model's size."""
    out = io.BytesIO()
    with Image.open(io.BytesIO(data)) as opened:
        opened.resize((planted.SIZE, planted.SIZE)).save(out, "JPEG", quality=90)
    return out.getvalue()
