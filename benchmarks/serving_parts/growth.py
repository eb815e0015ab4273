"""What more work costs: workers, scenes and instances a request, for the tiny model, where only the service counts.

Closed loops at 16 connections for workers and scenes (requests go round the scenes), at one connection for instances.
The prediction log is off. No claims: a table and a picture.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks import planted
from benchmarks.generator.driver import Generator
from benchmarks.generator.plans import Closed
from benchmarks.generator.record import Record
from benchmarks.servers import Server, lepton
from benchmarks.serving_parts.part import Measure, Part, line, median, rounds
from benchmarks.serving_parts.tiny import ROWS, request_of

WORKERS, SCENES = (1, 2), (1, 4, 16)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
SETTINGS = {
    "SERVE_LOG_PREDICTIONS": "false",
    "SERVE_MAX_INSTANCES": str(BATCHES[-1]),
    "SERVE_MAX_BATCH": str(BATCHES[-1]),
}
FULL = "16 connections"


def run(generator: Generator, *, quick: bool) -> Part:
    """All in turns."""
    seconds, count = (0.5, 2) if quick else (2.0, 5)
    part = Part()
    with ExitStack() as held:
        servers = {key: held.enter_context(_server(*key)) for key in _variants()}
        found = rounds(list(servers.values()), {FULL: _closed(seconds)}, count, generator)
        for (workers, scenes), server in servers.items():
            records = found[server.name, FULL]
            largest = max(worker.memory_info().rss for worker in server.workers()) / 1e6
            part.rows.append(line("growth", server.name, records) | {"MB a worker": round(largest)})
            rate = median(records, Record.throughput)
            if scenes == 1:
                part.figures.setdefault("workers", []).append((workers, rate))
            if workers == 1:
                part.figures.setdefault("scenes", []).append((scenes, rate))
        for key in servers.keys() - {(1, 1)}:
            servers[key].pause()
        _batches(part, generator, servers[1, 1], seconds, count)
        for key in servers.keys() - {(1, 1)}:
            servers[key].resume()
    return part


def draw(part: Part, file: Path) -> None:
    """Requests a second by workers and scenes, and milliseconds and instances a second by batch."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 3.4), layout="constrained")
    titles = {"workers": "requests/s", "scenes": "requests/s", "batch": "instances/s"}
    for place, (what, unit) in enumerate(titles.items(), 1):
        axes = figure.add_subplot(1, 3, place)
        points = part.figures.get(what, [])
        axes.plot([x for x, _ in points], [y for _, y in points], marker="o")
        axes.set(xlabel="instances a request" if what == "batch" else what, ylabel=unit, ylim=(0, None))
        if what != "workers":
            axes.set_xscale("log", base=2)
        axes.set_xticks([x for x, _ in points], [f"{x:g}" for x, _ in points])
    figure.suptitle("The tiny model: what more work costs")
    figure.savefig(file, dpi=120)


def _variants() -> list[tuple[int, int]]:
    """(workers, scenes): one grows at a time."""
    return sorted({(workers, 1) for workers in WORKERS} | {(1, scenes) for scenes in SCENES})


@contextmanager
def _server(workers: int, scenes: int) -> Iterator[Server]:
    plant = planted.tiny()
    home = planted.home(f"growth-{workers}-{scenes}", [(f"scene{k}", plant) for k in range(scenes)])
    requests = [request_of(number, f"scene{number % scenes}") for number in range(ROWS)]
    name = f"{workers} worker{'s' * (workers > 1)}, {scenes} scene{'s' * (scenes > 1)}"
    with lepton(home, requests, name=name, workers=workers, settings=SETTINGS) as server:
        yield server


def _closed(seconds: float) -> Measure:
    def measure(generator: Generator, server: Server) -> Record:
        return generator.run(Closed(port=server.port, requests=server.requests, connections=16, seconds=seconds))

    return measure


def _batch(instances: int, seconds: float) -> Measure:
    requests = [request_of(number, "scene0", instances) for number in range(8)]

    def measure(generator: Generator, server: Server) -> Record:
        return generator.run(Closed(port=server.port, requests=requests, connections=1, seconds=seconds))

    return measure


def _batches(part: Part, generator: Generator, server: Server, seconds: float, count: int) -> None:
    measures = {str(instances): _batch(instances, seconds) for instances in BATCHES}
    found = rounds([server], measures, count, generator)
    for instances in BATCHES:
        records = found[server.name, str(instances)]
        rate = round(instances * median(records, Record.throughput), 1)
        row = line("growth", f"{instances} instances a request, 1 connection", records)
        part.rows.append(row | {"instances/s": rate})
        part.figures.setdefault("batch", []).append((instances, rate))
