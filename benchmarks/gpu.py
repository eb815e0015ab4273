"""The engine's session against bare ONNX Runtime on a GPU, at batches of 1, 8, 32 and 128.

``python -m benchmarks.gpu [--quick] [--json FILE]``: EfficientNet-Lite0 at 224 px, with a head that is given at each
run. Bare is ``InferenceSession.run`` with the CUDA provider as it comes, but for TF32, which is off on both sides. The
engine binds buffers and replays captured graphs; it is also measured without the graphs, with channels last and with
TF32. Every way is run in turn, in rounds, so that a warm or throttled GPU treats all alike. Then the service is
measured with it over HTTP (``benchmarks/gpu_served.py``).

Promises medians over whole runs, from arrays on the host to arrays on the host. Where there is no GPU it says so and
ends with 0.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from benchmarks import gpu_served, planted
from benchmarks.report import Claim, Row, finish, options
from core.execution import Device, Gpu, devices
from core.session import Session
from core.types import GridRows, Head
from exporters import compose
from exporters.transform import Transform

BATCHES = (1, 8, 32, 128)
ROUNDS, QUICK_ROUNDS = 40, 8  # of each way, after two that do not count
STEPS = 2  # of the grid, that features may differ by from those of the CPU

Pixels = NDArray[np.uint8]
Run = Callable[[Pixels], object]


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and give the exit code."""
    given = options(__doc__ or "", argv)
    if not devices():
        return finish("no GPU here: nothing was measured", [], [], given.json)
    rows, claims = measure(*_model(), "cuda", BATCHES, QUICK_ROUNDS if given.quick else ROUNDS)
    finish(f"EfficientNet-Lite0 at {planted.SIZE} px on {devices()[0]}", rows, claims, None)
    seconds, count = (1.0, 1) if given.quick else (2.0, 3)
    served, promised = gpu_served.measured(seconds=seconds, count=count)
    return finish(f"The service with it on {devices()[0]}", [*rows, *served], [*claims, *promised], given.json)


def measure(
    model: bytes, head: Head, device: Device, batches: Sequence[int], rounds: int
) -> tuple[list[Row], list[Claim]]:
    """Rows of milliseconds and pictures a second, and what is claimed of them."""
    ways = _ways(model, head, device, max(batches))
    shape = tuple(int(axis or 1) for axis in Session(model).inputs["image"].shape)
    random = np.random.default_rng(6)
    rows: list[Row] = []
    for batch in batches:
        pixels_BHWC = random.integers(0, 256, (batch, *shape), dtype=np.uint8)
        rows.append(_row(batch, _medians(ways, pixels_BHWC, rounds)))
    pixels_BHWC = random.integers(0, 256, (max(batches), *shape), dtype=np.uint8)
    away = _away(
        Session(model).features({"image": pixels_BHWC}), Session(model, device=device).features({"image": pixels_BHWC})
    )
    claims = [
        Claim(
            claim=f"engine against bare ONNX Runtime, pictures a second at batch {row['batch']}",
            value=float(str(row["engine / bare"])),
            bound=0.9,
            holds=float(str(row["engine / bare"])) >= 0.9,
        )
        for row in rows
    ]
    claims.append(
        Claim(claim="grid steps between GPU and CPU, at most", value=away, bound=STEPS, holds=away <= STEPS),
    )
    return rows, claims


def _ways(model: bytes, head: Head, device: Device, most: int) -> Mapping[str, Run]:
    """Name → one run of pictures."""
    given = {"head.weight": head.weight, "head.bias": head.bias}
    provider = ("CUDAExecutionProvider", {"use_tf32": "0"}) if device == "cuda" else "CPUExecutionProvider"
    options = ort.SessionOptions()
    options.log_severity_level = 3
    bare = ort.InferenceSession(model, options, providers=[provider], enable_fallback=False)
    kinds = {
        "engine": Gpu(max_batch=most),
        "no graphs": Gpu(max_batch=most, graphs=False),
        "channels last": Gpu(max_batch=most, nhwc=True),
        "tf32": Gpu(max_batch=most, tf32=True),
    }

    def engine(gpu: Gpu) -> Run:
        session = Session(model, device=device, gpu=gpu)
        return lambda pixels: session.predict({"image": pixels}, head)

    ways: dict[str, Run] = {"bare": lambda pixels: bare.run(None, {"image": pixels} | given)}
    return ways | {name: engine(gpu) for name, gpu in kinds.items()}


def _medians(ways: Mapping[str, Run], pixels: Pixels, rounds: int) -> dict[str, float]:
    """Name → median seconds of a run."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 2):
        for name, run in ways.items():
            since = time.perf_counter()
            run(pixels)
            if number >= 2:
                taken[name].append(time.perf_counter() - since)
    return {name: float(np.median(seconds)) for name, seconds in taken.items()}


def _row(batch: int, seconds: Mapping[str, float]) -> Row:
    times = {f"{name} ms": round(each * 1000, 3) for name, each in seconds.items()}
    return {
        "batch": batch,
        **times,
        "engine pictures/s": round(batch / seconds["engine"], 1),
        "engine / bare": round(seconds["bare"] / seconds["engine"], 2),
    }


def _away(one_BD: GridRows, other_BD: GridRows) -> int:
    return int(np.abs(one_BD.astype(np.int64) - other_BD).max())


def _model() -> tuple[bytes, Head]:
    """A composed model, and a head of ten classes drawn at random."""
    plant = planted.lite0()
    model = compose.compose([compose.Member(graph=plant.graph, transform=Transform(kind=plant.backbone.transform))])
    random, classes = np.random.default_rng(7), 10
    weight_DK = random.standard_normal((plant.backbone.dimension, classes)).astype(np.float32)
    head = Head(weight=weight_DK, bias=np.zeros(classes, np.float32), labels=tuple(map(str, range(classes))))
    return compose.with_head(model, head), head


if __name__ == "__main__":
    sys.exit(main())
