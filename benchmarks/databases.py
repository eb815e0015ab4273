"""How long a label takes to be on disk, and a commit to be heard of: SQLite and PostgreSQL side by side.

``python -m benchmarks.databases [--quick] [--json FILE]``: the ledger alone, without HTTP; a label brings 1,280
features with it. Both databases lie on the same disk with durability on, PostgreSQL as Debian packages it, over the
loopback interface; one writer, then four at once. They take turns, label by label or block by block.

Promises that a time ends when the label is acknowledged. Knows nothing of a network between the hosts: on PostgreSQL a
label costs a dozen round trips, so add twelve of yours.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.report import Claim, Row, finish, options
from core.config import DatabaseSettings, Settings
from core.database import Watch
from core.events import Feedback
from core.evidence import Evidence
from core.home import Home, open_home
from core.types import Scene
from tests.cluster import cluster, programs

SCENE = "labels"
FEATURES = 1280
WRITERS = 4
BLOCK = 10  # labels of each writer before the other database takes its turn
WARM = 20  # labels that are not counted
LOOKS = 5_000
SLOWER, P99, HEARD = 3.0, 250.0, 50.0  # the claims' bounds: times, ms, ms


@dataclass
class Side:
    """One database under measurement: homes, one a writer, and milliseconds by number of writers."""

    name: str
    homes: list[Home]
    watch: Watch
    told: dict[int, list[float]] = field(default_factory=dict)
    wall: dict[int, float] = field(default_factory=dict)
    heard: list[float] = field(default_factory=list)
    look: float = 0.0  # microseconds


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and give the exit code."""
    given = options(__doc__ or "", argv)
    labels = 200 if given.quick else 1_000
    there = programs()
    if there is None:
        print("PostgreSQL is not installed: as root, apt-get install postgresql", file=sys.stderr)
        return 1
    with ExitStack() as held:
        server = held.enter_context(cluster(there, durable=True))
        sides = [held.enter_context(_side("SQLite", "")), held.enter_context(_side("PostgreSQL", server.fresh()))]
        _one_writer(sides, labels)
        _several_writers(sides, labels)
        for side in sides:
            side.look = _look(side.watch)
    rows = [_row(side, writers) for writers in (1, WRITERS) for side in sides]
    return finish("A label from the ledger's call to its receipt", rows, _claims(*sides), given.json)


@contextmanager
def _side(name: str, url: str) -> Iterator[Side]:
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="lepton-databases-")))
        settings = Settings(home=folder, database=DatabaseSettings(url=url))
        homes = [held.enter_context(closing(open_home(settings))) for _ in range(WRITERS)]
        labels = ("cat", "dog")
        homes[0].registry.declare(Scene(name=SCENE, task="classification", modality="image", labels=labels))
        watch = held.enter_context(closing(homes[0].ledger.database.watch()))
        side = Side(name, homes, watch)
        for number in range(WARM):
            _tell(side.homes[number % WRITERS], f"warm {number}")
        yield side


def _tell(home: Home, name: str) -> float:
    """Milliseconds of one label."""
    features = np.random.default_rng(zlib.crc32(name.encode())).integers(-9_000, 9_000, FEATURES).astype(np.int16)
    evidence = Evidence(example=name, features={"extractor": features}, media="image/png")
    began = time.perf_counter()
    home.ledger.add(Feedback(scene=SCENE, event_id=name, example=name, label="cat"), evidence)
    return 1000 * (time.perf_counter() - began)


def _one_writer(sides: Sequence[Side], labels: int) -> None:
    for number in range(labels):
        for side in sides:
            side.watch.changed()
            side.told.setdefault(1, []).append(_tell(side.homes[0], f"one {number}"))
            side.wall[1] = side.wall.get(1, 0.0) + side.told[1][-1] / 1000
            began = time.perf_counter()
            while not side.watch.changed():
                pass
            side.heard.append(1000 * (time.perf_counter() - began))


def _several_writers(sides: Sequence[Side], labels: int) -> None:
    def block(home: Home, name: str) -> list[float]:
        return [_tell(home, f"{name} {number}") for number in range(BLOCK)]

    with ThreadPoolExecutor(WRITERS) as pool:
        for turn in range(labels // (BLOCK * WRITERS)):
            for side in sides:
                names = [f"turn {turn}, writer {writer}" for writer in range(WRITERS)]
                began = time.perf_counter()
                for times in pool.map(block, side.homes, names):
                    side.told.setdefault(WRITERS, []).extend(times)
                side.wall[WRITERS] = side.wall.get(WRITERS, 0.0) + time.perf_counter() - began


def _look(watch: Watch) -> float:
    began = time.perf_counter()
    for _ in range(LOOKS):
        watch.changed()
    return 1e6 * (time.perf_counter() - began) / LOOKS


def _row(side: Side, writers: int) -> Row:
    times = side.told[writers]
    alone = writers == 1
    return {
        "database": side.name,
        "writers": writers,
        "labels": len(times),
        "p50 ms": round(statistics.median(times), 2),
        "p99 ms": round(float(np.quantile(times, 0.99)), 2),
        "labels/s": round(len(times) / side.wall[writers], 1),
        "heard p99 ms": round(float(np.quantile(side.heard, 0.99)), 3) if alone else None,
        "a look µs": round(side.look, 1) if alone else None,
    }


def _claims(sqlite: Side, server: Side) -> list[Claim]:
    ratio = statistics.median(server.told[1]) / statistics.median(sqlite.told[1])
    slowest = float(np.quantile(server.told[WRITERS], 0.99))
    heard = float(np.quantile(server.heard, 0.99))
    told = [
        ("median of PostgreSQL over SQLite's, one writer", ratio, SLOWER),
        (f"PostgreSQL's 99th percentile in ms, {WRITERS} writers", slowest, P99),
        ("ms until a commit to PostgreSQL is heard of, 99th percentile", heard, HEARD),
    ]
    return [Claim(claim=claim, value=value, bound=bound, holds=value < bound) for claim, value, bound in told]


if __name__ == "__main__":
    sys.exit(main())
