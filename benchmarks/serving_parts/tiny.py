"""A network of 30, 64 and 2 as a JSON service: what a server costs where the model costs nothing.

One worker of each server, the same ONNX file, 30 numbers a request, closed loops at 1 and at 16 connections. Claims
rest on ratios within a round. Ours runs twice, without and with its prediction log.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from benchmarks import planted
from benchmarks.generator.driver import Generator
from benchmarks.generator.http1 import json_request
from benchmarks.generator.nothing import nothing
from benchmarks.generator.plans import Closed
from benchmarks.generator.record import Record
from benchmarks.peers import listing
from benchmarks.peers.environments import NotInstalled
from benchmarks.peers.listing import Peer
from benchmarks.servers import Server, lepton, peer
from benchmarks.serving_parts.part import Measure, Part, failed, line, ratio, rounds, same_answers

SCENE = "tiny"
OURS, LOGGED = "Lepton", "Lepton, prediction log on"
ONE, MANY = "1 connection", "16 connections"
ROWS = 64  # different requests
FASTER, OF_BARE, MEDIAN_OF_BARE, OF_SILENT = 5.0, 0.5, 2.5, 0.8  # the bounds


def run(generator: Generator, *, quick: bool) -> Part:
    """All servers in turns."""
    seconds, count = (0.7, 3) if quick else (2.0, 7)
    part = Part()
    with ExitStack() as held:
        servers = _servers(held, part)
        same_answers(servers, within=1e-3)
        measures = {ONE: _closed(1, seconds), MANY: _closed(16, seconds)}
        found = rounds(servers, measures, count, generator)
    for server in servers:
        for measure in measures:
            part.rows.append(line("tiny", f"{server.name}, {measure}", found[server.name, measure]))
    _claims(part, found)
    return part


def ceiling(generator: Generator, *, quick: bool) -> str:
    """What the generator itself can do, as a sentence."""
    sent = request_of(0)
    with nothing(len(sent)) as port:
        plans = [Closed(port=port, requests=[sent], connections=c, seconds=1.0 if quick else 3.0) for c in (1, 16)]
        one, many = (generator.run(plan).throughput() for plan in plans)
    where = "the generator's ceiling, against a server that does nothing"
    return f"{where}: {one:,.0f} requests/s at one connection, {many:,.0f} at 16"


def request_of(number: int, scene: str = SCENE, instances: int = 1) -> bytes:
    """A request to ours, with one row or more."""
    rows = [{"features": planted.features(planted.row(number * instances + n))} for n in range(instances)]
    return json_request(f"/v1/scenes/{scene}/predict", {"instances": rows})


def _servers(held: ExitStack, part: Part) -> list[Server]:
    """Every server that can be had, ready."""
    silent, logged = (planted.home(f"tiny-{word}", [(SCENE, planted.tiny())]) for word in ("silent", "logged"))
    requests = [request_of(number) for number in range(ROWS)]
    servers = [
        held.enter_context(lepton(silent, requests, name=OURS, settings={"SERVE_LOG_PREDICTIONS": "false"})),
        held.enter_context(lepton(logged, requests, name=LOGGED)),
    ]
    model = planted.model_file(silent, SCENE)
    for each in listing.ALL:
        server = _peer(held, part, each, model)
        servers += [server] if server else []
    return servers


def _peer(held: ExitStack, part: Part, each: Peer, model: Path) -> Server | None:
    asked = [each.numbers(planted.row(number)) for number in range(ROWS)]
    try:
        return held.enter_context(peer(each, "tiny", model, asked, planted.PLACE / "logs"))
    except (NotInstalled, TimeoutError) as error:
        part.notes.append(f"left out: {each.name}: {error}")
        return None


def _closed(connections: int, seconds: float) -> Measure:
    def measure(generator: Generator, server: Server) -> Record:
        plan = Closed(port=server.port, requests=server.requests, connections=connections, seconds=seconds)
        return generator.run(plan)

    return measure


def _claims(part: Part, found: dict[tuple[str, str], list[Record]]) -> None:
    ours = found[OURS, MANY]
    for each in (listing.BENTOML, listing.LITSERVE):
        if theirs := found.get((each.name, MANY)):
            times = ratio(ours, theirs, Record.throughput)
            part.at_least(f"tiny: requests/s at 16 connections over {each.name}", times, FASTER)
    for each in (listing.FASTAPI, listing.MLSERVER):
        if theirs := found.get((each.name, MANY)):
            times = ratio(ours, theirs, Record.throughput)
            part.notes.append(f"tiny: {times:.2f} times the requests/s of {each.name} at 16 connections")
    if bare := found.get((listing.BARE.name, MANY)):
        name = listing.BARE.name
        part.at_least(f"tiny: requests/s at 16 connections over {name}", ratio(ours, bare, Record.throughput), OF_BARE)
        slower = ratio(found[OURS, ONE], found[name, ONE], lambda record: record.milliseconds(50))
        part.at_most(f"tiny: median at one connection over {name}", slower, MEDIAN_OF_BARE)
    logged = ratio(found[LOGGED, MANY], ours, Record.throughput)
    part.at_least("tiny: requests/s with the prediction log over without", logged, OF_SILENT)
    both = [*ours, *found[LOGGED, MANY], *found[OURS, ONE], *found[LOGGED, ONE]]
    part.at_most("tiny: requests to ours without a 200", failed(both), 0)
