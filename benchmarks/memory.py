"""Memory of a worker that serves EfficientNet-Lite0 at 224 px, after mixed requests of one to eight pictures.

``python -m benchmarks.memory [--quick] [--json FILE]``: one service, over real HTTP, everything on. The head was
adapted on MNIST digits; what is sent are digits drawn large, as PNG files of 640 x 480.

Promises the highest resident set that Linux has seen of the process since it began (``VmHWM``), loading included,
beside the one at the end: what is shared with other processes counts in full. Knows nothing of the service's inside.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from benchmarks import standing
from benchmarks.report import Claim, Row, finish, options
from benchmarks.stack import HOST, running
from benchmarks.standing import SCENE
from benchmarks.wire import Wire, one_to_each

SIZE = 224
WORKERS = 2
LARGEST_BATCH = 8
BOUND = 400.0  # MB of 10**6 bytes
PICTURE = (640, 480)


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and give the exit code."""
    given = options(__doc__ or "", argv)
    requests = 200 if given.quick else 1_000
    pictures = [_large(picture.data) for picture in standing.pictures(seed=2)[:64]]
    with running(standing.prepare(SIZE), workers=WORKERS) as stack:
        wires = one_to_each(HOST, stack.port, WORKERS, SCENE, pictures[0])
        before = {worker.pid: _resident(worker) for worker in stack.workers()}
        _send(list(wires.values()), pictures, requests)
        rows = [_row(number, worker, before, requests) for number, worker in enumerate(stack.workers(), 1)]
        highest = max(_highest(worker) for worker in stack.workers())
        for wire in wires.values():
            wire.close()
    claim = Claim(
        claim=f"highest resident MB of a worker, {requests} requests of 1 to {LARGEST_BATCH}",
        value=highest,
        bound=BOUND,
        holds=highest < BOUND,
    )
    return finish(f"Memory of {WORKERS} workers serving EfficientNet-Lite0 at {SIZE} px", rows, [claim], given.json)


def _send(wires: Sequence[Wire], pictures: Sequence[bytes], requests: int) -> None:
    """``requests`` requests to every worker in turn, each of one to eight pictures drawn at random."""
    random = np.random.default_rng(4)
    for _ in range(requests):
        for wire in wires:
            chosen = random.integers(0, len(pictures), random.integers(1, LARGEST_BATCH + 1))
            told = wire.predict_many(SCENE, [pictures[n] for n in chosen])
            assert all("label" in prediction for prediction in told.predictions), "every picture is answered"


def _row(number: int, worker: psutil.Process, before: dict[int, float], requests: int) -> Row:
    return {
        "worker": number,
        "requests": requests,
        "MB before": round(before[worker.pid], 1),
        "MB at the end": round(_resident(worker), 1),
        "MB at most": round(_highest(worker), 1),
        "threads": worker.num_threads(),
    }


def _resident(worker: psutil.Process) -> float:
    return float(worker.memory_info().rss) / 1e6


def _highest(worker: psutil.Process) -> float:
    lines = Path(f"/proc/{worker.pid}/status").read_text().splitlines()
    told = next(line for line in lines if line.startswith("VmHWM:"))
    return int(told.split()[1]) * 1024 / 1e6


def _large(data: bytes) -> bytes:
    out = io.BytesIO()
    Image.open(io.BytesIO(data)).convert("RGB").resize(PICTURE).save(out, "PNG")
    return out.getvalue()


if __name__ == "__main__":
    sys.exit(main())
