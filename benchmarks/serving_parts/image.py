"""EfficientNet-Lite0 at 224 px on JPEG files of 0.3 to 1 MB: what is left of the machine's speed behind a server.

One worker of each, all cores, the same ONNX file and the same way to decode. Throughput is that of 16 connections in a
closed loop, beside a plain loop without any server in every round. Then ours alone in open loops at 70 % of its
capacity: evenly spaced, which the claim is about, and as from independent clients (Poisson), where waiting is the
arrivals' doing even with a perfect server.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from benchmarks import photographs, planted
from benchmarks.generator.driver import Generator
from benchmarks.generator.http1 import request
from benchmarks.generator.plans import Closed, Open
from benchmarks.generator.record import Record
from benchmarks.peers import listing
from benchmarks.peers.environments import NotInstalled
from benchmarks.report import Row
from benchmarks.servers import CORES, ROOT, Server, lepton, peer
from benchmarks.serving_parts.part import Part, failed, line, median, rounds, same_answers

SCENE = "image"
OURS, PLAIN, FULL = "Lepton", "plain loop of decode, resize, run", "16 connections"
SHARE = 0.7  # of capacity
OF_PLAIN, TAIL = 0.9, 3.0  # the bounds


def run(generator: Generator, *, quick: bool) -> Part:
    """Throughput of all in turns, then ours at part of its capacity."""
    seconds, count = (2.0, 1) if quick else (5.0, 5)
    part, plain = Part(), []
    pictures = photographs.photographs()
    home = planted.home(SCENE, [(SCENE, planted.lite0())])
    model = planted.model_file(home, SCENE)

    def closed(generator: Generator, server: Server) -> Record:
        if server.name == OURS:
            plain.append(_plain_loop(model, seconds))  # beside ours, in the same round
        return generator.run(Closed(port=server.port, requests=server.requests, connections=16, seconds=seconds))

    with ExitStack() as held:
        requests = [request(f"/v1/scenes/{SCENE}/predict", data, "image/jpeg") for data in pictures]
        ours = held.enter_context(lepton(home, requests, name=OURS))
        servers = [ours, *_peers(held, part, model, pictures)]
        same_answers(servers, within=0.01)
        found = rounds(servers, {FULL: closed}, count, generator)
        for server in servers[1:]:
            server.pause()
        capacity = median(found[OURS, FULL], Record.throughput)
        steady, poisson = (_at_share(generator, ours, capacity, 3 * seconds, seed) for seed in (None, 1))
        for server in servers[1:]:
            server.resume()
    for server in servers:
        part.rows.append(line("image", f"{server.name}, {FULL}", found[server.name, FULL]))
    part.rows.append(_plain_row(plain[1:]))
    part.rows.append(line("image", f"{OURS} at {SHARE:.0%}, evenly spaced", [steady]))
    part.rows.append(line("image", f"{OURS} at {SHARE:.0%}, Poisson", [poisson]))
    shares = sorted(record.throughput() / alone for record, alone in zip(found[OURS, FULL], plain[1:], strict=True))
    part.at_least("image: throughput over a plain loop with the same cores", shares[len(shares) // 2], OF_PLAIN)
    tail = steady.milliseconds(99) / steady.milliseconds(50)
    part.at_most(f"image: p99 over median at {SHARE:.0%} of capacity, evenly spaced", tail, TAIL)
    lost = failed([*found[OURS, FULL], steady, poisson])
    part.at_most("image: requests to ours without a 200", lost, 0)
    return part


def _peers(held: ExitStack, part: Part, model: Path, pictures: list[bytes]) -> list[Server]:
    servers = []
    for each in listing.ALL:
        asked = [each.picture(data) for data in pictures]
        try:
            servers.append(held.enter_context(peer(each, "image", model, asked, planted.PLACE / "logs")))
        except (NotInstalled, TimeoutError) as error:
            part.notes.append(f"left out: {each.name}: {error}")
    return servers


def _at_share(generator: Generator, server: Server, capacity: float, seconds: float, seed: int | None) -> Record:
    plan = Open(port=server.port, requests=server.requests, phases=((SHARE * capacity, seconds),), seed=seed)
    return generator.run(plan)


def _plain_loop(model: Path, seconds: float) -> float:
    """Pictures a second without a server, in a process of its own."""
    given = {"MODEL": str(model), "KIND": "image", "THREADS": str(CORES), "CORES": str(CORES)}
    command = [sys.executable, "-m", "benchmarks.peers.plain_loop", str(photographs.PLACE), str(seconds)]
    variables = dict(os.environ) | {f"PEER_{key}": value for key, value in given.items()}
    ran = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=True)
    return float(ran.stdout)


def _plain_row(rates: list[float]) -> Row:
    middle = sorted(rates)[len(rates) // 2]
    return {
        "part": "image",
        "what": PLAIN,
        "requests/s": round(middle, 1),
        "from": round(min(rates), 1),
        "to": round(max(rates), 1),
    }
