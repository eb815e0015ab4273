"""Versions that change under load: nothing fails, nothing is mixed, nothing is left behind.

EfficientNet-Lite0 at 96 px, two workers, four versions whose heads differ, promoted over HTTP one after the other while
predictions arrive evenly. A swap lasts from its PUT until both workers have answered by the new version; what was due
in that time is compared with what was due outside. Every answer is compared with what the version that it names would
say. Resident memory is compared with that after the first round through the versions, because from then on a worker
keeps the champion before the present one; what it was before any swap is told, too.
"""

from __future__ import annotations

import http.client
import io
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import photographs, planted
from benchmarks.generator.driver import Generator
from benchmarks.generator.http1 import HOST, request
from benchmarks.generator.plans import Open
from benchmarks.generator.record import OK, Record
from benchmarks.servers import Server, lepton
from benchmarks.serving_parts.part import Part, line
from benchmarks.wire import Wire, one_to_each
from core.config import Settings
from core.home import open_home
from core.modality import image
from core.preprocess import Limits
from core.session import Session
from core.types import Floats

SCENE, SIZE = "swaps", 96
WORKERS, VERSIONS = 2, 4
RATE = 40.0  # requests a second
PAUSE = 0.3  # seconds from the end of a swap to the next
PATIENCE = 20.0  # seconds that a swap may take
LOOK = 0.05  # seconds between two looks at a worker; they are predictions, and cost what those cost
MIXED = 0.01  # difference of a probability from its version's; heads differ by far more
SLOWER, GROWN, FLAT = 2.0, 1.1, 2  # the bounds: times quiet, times before, descriptors or threads more

Window = tuple[float, float]


@dataclass(frozen=True)
class Standing:
    """What the workers hold, summed over them; ``descriptors`` without connections, which are the clients'."""

    megabytes: float
    descriptors: int
    threads: int


def run(generator: Generator, *, quick: bool) -> Part:
    """Swap under load, then look at what happened."""
    swaps = 20 if quick else 200
    home = planted.home(SCENE, [])
    pictures = [_small(data) for data in photographs.photographs()[:8]]
    expected = _plant(home, pictures)
    requests = [request(f"/v1/scenes/{SCENE}/predict", data, "image/png") for data in pictures]
    with lepton(home, requests, workers=WORKERS) as server:
        phases = ((RATE, 4.0 + swaps * (PAUSE + PATIENCE)),)
        generator.start(Open(port=server.port, requests=requests, phases=phases, keep=True))
        time.sleep(4.0)
        fresh = _standing(server)
        wires = one_to_each(HOST, server.port, WORKERS, SCENE, pictures[0])
        windows = _swap(server.port, wires, pictures[0], sorted(expected), VERSIONS)
        before = _standing(server)
        windows += _swap(server.port, wires, pictures[0], sorted(expected), swaps)
        time.sleep(2.0)
        after = _standing(server)
        record = generator.stop()
        for wire in wires.values():
            wire.close()
    return _told(record, windows, expected, (fresh, before, after))


def _told(
    record: Record, windows: Sequence[Window], expected: Mapping[str, Floats], standings: Sequence[Standing]
) -> Part:
    part, (fresh, before, after) = Part(), standings
    moment_N = record.begun + record.due_N
    during_N = np.zeros(len(moment_N), np.bool_)
    for start, end in windows:
        during_N |= (moment_N >= start) & (moment_N < end)
    swapping = record.where(during_N, 0.0, sum(end - start for start, end in windows))
    quiet = record.where(~during_N, 0.0, record.seconds - swapping.seconds)
    part.rows.append(line("swaps", "outside of swaps", [quiet]))
    part.rows.append(line("swaps", f"during {len(windows)} swaps", [swapping]))
    for what, held in (("before any swap", fresh), ("after the first round", before), ("at the end", after)):
        told = f"{what}: {held.megabytes:.0f} MB, {held.descriptors} descriptors, {held.threads} threads"
        part.notes.append(f"swaps: {told}, {WORKERS} workers together")
    longest = max(end - start for start, end in windows)
    part.notes.append(f"swaps: until both workers answered by the new version: at most {longest:.2f} s")
    part.at_most("swaps: requests without a 200", len(record.status_N) - record.count(OK), 0)
    part.at_most("swaps: answers that are not those of the version they name", _mixed(record, expected), 0)
    slower = swapping.milliseconds(99) / quiet.milliseconds(99)
    part.at_most("swaps: p99 during a swap over p99 outside", slower, SLOWER)
    part.at_most("swaps: resident memory at the end over before", after.megabytes / before.megabytes, GROWN)
    part.at_most("swaps: descriptors more than before", after.descriptors - before.descriptors, FLAT)
    part.at_most("swaps: threads more than before", after.threads - before.threads, FLAT)
    return part


def _plant(home: Path, pictures: Sequence[bytes]) -> dict[str, Floats]:
    """Versions with other heads; what each says of every picture, (P, K)."""
    plant, opened = planted.lite0(SIZE), open_home(Settings(home=home))
    pixels = np.stack([image.decode(data, (SIZE, SIZE), Limits()) for data in pictures])
    said = {}
    for seed in range(VERSIONS):
        version = planted.register(opened, SCENE, plant, seed)
        said[version.version] = Session(opened.bundle(version.version).model).predict({"image": pixels}).outputs
    opened.close()
    return said


def _swap(port: int, wires: Mapping[str, Wire], probe: bytes, versions: Sequence[str], count: int) -> list[Window]:
    """Promote in turn; when each swap began and ended."""
    windows = []
    for number in range(count):
        version = versions[number % len(versions)]
        scene = _json(port, "GET", f"/v1/scenes/{SCENE}")
        if scene["champion"]["version"] == version:
            continue
        begun = time.perf_counter()
        content = {"version": version, "expected_generation": scene["champion"]["generation"]}
        _json(port, "PUT", f"/v1/scenes/{SCENE}/champion", content)
        _until(wires.values(), probe, version)
        windows.append((begun, time.perf_counter()))
        time.sleep(PAUSE)
    return windows


def _until(wires: Iterable[Wire], probe: bytes, version: str) -> None:
    """Look at all at every turn: a connection that rests for some seconds is closed."""
    deadline = time.monotonic() + PATIENCE
    while {wire.predict(SCENE, probe).version for wire in wires} != {version}:
        if time.monotonic() > deadline:
            raise TimeoutError(f"a worker did not serve version {version[:12]} within {PATIENCE:.0f} s")
        time.sleep(LOOK)


def _mixed(record: Record, expected: Mapping[str, Floats]) -> int:
    """Answers whose probabilities are not those of the version that they name."""
    found = 0
    for number, _, body in record.answers:
        if record.status_N[number] != OK:
            continue
        told = json.loads(body)
        said = told["predictions"][0]["probabilities"]
        want_K = expected[told["version"]][number % len(expected[told["version"]])]
        off = max(abs(said[label] - float(p)) for label, p in zip(planted.LABELS, want_K, strict=True))
        found += off > MIXED
    return found


def _json(port: int, method: str, path: str, content: object = None) -> dict[str, Any]:
    connection = http.client.HTTPConnection(HOST, port, timeout=PATIENCE)
    body = None if content is None else json.dumps(content)
    connection.request(method, path, body, {} if body is None else {"Content-Type": "application/json"})
    answer = connection.getresponse()
    said = answer.read()
    connection.close()
    if answer.status != OK:
        raise RuntimeError(f"{method} {path}: {answer.status} {said[:300]!r}")
    told: dict[str, Any] = json.loads(said)
    return told


def _standing(server: Server) -> Standing:
    workers = server.workers()
    return Standing(
        megabytes=sum(worker.memory_info().rss for worker in workers) / 1e6,
        descriptors=sum(worker.num_fds() - len(worker.net_connections("inet")) for worker in workers),
        threads=sum(worker.num_threads() for worker in workers),
    )


def _small(data: bytes) -> bytes:
    """A picture as a small PNG, so that decoding is no part of what is measured."""
    out = io.BytesIO()
    with Image.open(io.BytesIO(data)) as opened:
        opened.convert("RGB").resize((SIZE, SIZE)).save(out, "PNG")
    return out.getvalue()
