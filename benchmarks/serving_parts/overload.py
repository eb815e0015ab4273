"""Twice what the service can do: what is refused is refused by 503 or 429, and what is taken is answered in time.

EfficientNet-Lite0 on JPEG files, one worker, in one open loop without a pause: half of capacity, twice capacity, half
of capacity again. Every request carries a deadline; goodput counts the answers that were there by then, from the moment
at which the request was due. The service is back to normal from the first second on after which every second is like
those before the overload: all answered by 200, the median at most twice theirs.
"""

from __future__ import annotations

import numpy as np

from benchmarks import photographs, planted
from benchmarks.generator.driver import Generator
from benchmarks.generator.http1 import request
from benchmarks.generator.plans import Closed, Open
from benchmarks.generator.record import OK, Record
from benchmarks.servers import lepton
from benchmarks.serving_parts.part import Part, line

SCENE = "image"
DEADLINE = 2.0  # seconds, of every request
TIMES, HALF = 2.0, 0.5  # of capacity
ALLOWED = (OK, 429, 503)
GOOD, BACK = 0.8, 5.0  # the bounds: of peak; seconds
LIKE = 2.0  # times the quiet median that a normal second may have
STEP = 1.0  # second


def run(generator: Generator, *, quick: bool) -> Part:
    """Peak, then the three phases."""
    calm, flood = (6.0, 10.0) if quick else (12.0, 60.0)
    part, pictures = Part(), photographs.photographs()
    home = planted.home("overload", [(SCENE, planted.lite0())])
    path, deadline = f"/v1/scenes/{SCENE}/predict", {"lepton-deadline": f"{DEADLINE:g}"}
    plain = [request(path, data, "image/jpeg") for data in pictures]
    dated = [request(path, data, "image/jpeg", deadline) for data in pictures]
    with lepton(home, plain) as server:
        for seconds in (calm / 2, calm):  # the first warms up
            peak = generator.run(Closed(port=server.port, requests=plain, connections=16, seconds=seconds))
        rate = peak.throughput()
        phases = ((HALF * rate, calm), (TIMES * rate, flood), (HALF * rate, calm))
        plan = Open(port=server.port, requests=dated, phases=phases, seed=3, timeout=10.0)
        whole = generator.run(plan)
    before, during, after = (
        whole.between(0.0, calm),
        whole.between(calm, calm + flood),
        whole.between(calm + flood, 2 * calm + flood),
    )
    part.rows.append(line("overload", "peak, 16 connections in a closed loop", [peak]))
    part.rows.append(line("overload", f"{HALF:g} times peak before", [before]))
    part.rows.append(line("overload", f"{TIMES:g} times peak for {flood:g} s", [during]))
    part.rows.append(line("overload", f"{HALF:g} times peak after", [after]))
    part.notes.append(f"overload: statuses {during.statuses()}, at most {whole.connections} connections")
    odd = len(whole.status_N) - whole.count(*ALLOWED)
    part.at_most(f"overload: answers other than 200, 429, 503 at {TIMES:g} times peak", odd, 0)
    good = during.goodput(DEADLINE) / rate
    part.at_least(f"overload: answers within {DEADLINE:g} s at {TIMES:g} times peak, of peak", good, GOOD)
    part.at_most("overload: seconds until all is as before", recovery(after, before.milliseconds(50)), BACK)
    return part


def recovery(after: Record, quiet_ms: float) -> float:
    """Seconds until from then on every second is normal; infinite where the last one is not."""
    steps = int(np.ceil(after.seconds / STEP))
    normal = [_normal(after.between(n * STEP, (n + 1) * STEP), quiet_ms) for n in range(steps)]
    bad = [n for n, good in enumerate(normal) if not good]
    if not bad:
        return 0.0
    return float("inf") if bad[-1] == steps - 1 else (bad[-1] + 1) * STEP


def _normal(second: Record, quiet_ms: float) -> bool:
    if not len(second.status_N):
        return True
    return second.count(OK) == len(second.status_N) and second.milliseconds(50) <= LIKE * quiet_ms
