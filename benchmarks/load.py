"""Predictions on a fixed schedule, from a process of its own: an open loop, which does not wait for slow answers.

Promises that latency is counted from the moment at which a request was due, so that a stall is not hidden by the
requests it delayed. Knows nothing of labels.
"""

from __future__ import annotations

import http.client
import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from threading import Event

from benchmarks.wire import Wire, WireError, one_to_each

LANES = 4  # connections to each worker; a lane that is late starts its next request at once
READY_SECONDS = 60.0


@dataclass
class Load:
    """What was sent; complete after the block of :func:`driven`. ``seconds`` are latencies, one an answer."""

    seconds: list[float] = field(default_factory=list)
    failed: int = 0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to send where: ``rate`` requests a second, to all workers in turn."""

    host: str
    port: int
    workers: int
    scene: str
    pictures: Sequence[bytes] = field(repr=False)
    rate: float


@contextmanager
def driven(plan: Plan, load: Load) -> Iterator[None]:
    """Predictions as planned while the block lasts; what came of them is added to ``load`` at its end."""
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_drive, args=(plan, there), daemon=True)
    process.start()
    try:
        if not here.poll(READY_SECONDS):
            raise TimeoutError(f"the load did not start within {READY_SECONDS:.0f} s")
        here.recv()
        yield
        here.send("stop")
        done: Load = here.recv()
        load.seconds += done.seconds
        load.failed += done.failed
        process.join()
    finally:
        process.kill()


def _drive(plan: Plan, line: Connection) -> None:
    stop, wires = Event(), []
    for _ in range(LANES):
        found = one_to_each(plan.host, plan.port, plan.workers, plan.scene, plan.pictures[0])
        wires += [found[worker] for worker in sorted(found)]
    line.send("ready")
    begun = time.perf_counter()
    with ThreadPoolExecutor(len(wires)) as pool:
        lanes = [pool.submit(_lane, plan, wire, begun, place, len(wires), stop) for place, wire in enumerate(wires)]
        line.recv()
        stop.set()
        done = [lane.result() for lane in lanes]
    line.send(Load(seconds=[s for lane in done for s in lane.seconds], failed=sum(lane.failed for lane in done)))


def _lane(plan: Plan, wire: Wire, begun: float, place: int, lanes: int, stop: Event) -> Load:
    """Every ``lanes``-th request of the schedule, from ``place`` on, over one connection."""
    load, number = Load(), place
    while True:
        due = begun + number / plan.rate
        if stop.wait(max(0.0, due - time.perf_counter())):
            return load
        try:
            wire.predict(plan.scene, plan.pictures[number % len(plan.pictures)])
            load.seconds.append(time.perf_counter() - due)
        except (OSError, WireError, http.client.HTTPException):
            load.failed += 1
            wire.close()  # the next request opens it anew
        number += lanes
