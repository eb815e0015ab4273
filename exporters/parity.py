"""The original model against the composed graph in ONNX Runtime, on real rows at several batch sizes.

Promises that a graph with a frozen batch axis, another normalisation or layout, or other weights does not pass; and
that one passes which only adds up in another order, also where a transform makes much of it: a square root turns a raw
feature of a millionth, which was none before, into a thousandth. Knows nothing of bundles: who exports calls ``check``
before anything is registered.

Legend: N rows, B batch, D features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray

from core.errors import InvalidInput, ParityFailed
from core.session import Session
from core.statistics import GRID
from core.types import Doubles, Floats
from exporters.backbone import Backbone, MemberGraph, OnnxSource
from exporters.transform import Transform, apply, combine

BATCHES = (1, 3, 16)
ROWS = 64  # fewest rows that count as a check
ROUNDING = 1e-5  # of a row's largest raw feature: so far two float32 ways to the same one lie apart
_CLASSES = 16  # of the random head that turns feature differences into decisions
_ELEMENTS = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
_REMEDY = "do not ship this graph: choose another backbone, or give an ONNX file of it (onnx_file:PATH)"

Arrays = Mapping[str, NDArray[Any]]  # input name → (N, …) rows


@dataclass(frozen=True, kw_only=True)
class Parity:
    """What was compared, for the manifest.

    Attributes:
        max_abs: largest difference of any feature beyond what ``ROUNDING`` of raw features becomes by the transform,
            half a grid step included.
        tolerance: what was allowed.
        argmax_agreement: share of rows on which a seeded random head of 16 classes decides the same.
    """

    max_abs: float
    tolerance: float
    argmax_agreement: float
    rows: int
    batches: tuple[int, ...]


SHOWN = Parity(max_abs=0.0, tolerance=0.0, argmax_agreement=1.0, rows=0, batches=())
"""Of a graph that was compared before, and is not compared again."""


def check(parts: Sequence[tuple[Backbone, Transform]], model: bytes, rows: Arrays) -> Parity:
    """Compare the backbones themselves with ``model``, composed of them in this order.

    Args:
        rows: at least 64 real rows, as the model's preprocessor gives them.

    Raises:
        ParityFailed: the graph does not run at some batch size, or differs by more than the backbones' tolerance.
        InvalidInput: too few rows.
    """
    count = _count(rows)
    if count < ROWS:
        raise InvalidInput(f"parity was asked for on {count} rows; expected at least {ROWS}", "give more real rows")
    names = " + ".join(backbone.name for backbone, _ in parts)
    original = [(transform, raw(backbone, rows).astype(np.float64)) for backbone, transform in parts]
    expected_ND = _moved(original, 0.0)
    slack_ND = np.maximum(*(np.abs(_moved(original, by) - expected_ND) for by in (-ROUNDING, ROUNDING)))
    tolerance = max(backbone.tolerance for backbone, _ in parts) + 0.5 / GRID
    session = Session(model)
    worst, agreement = 0.0, 1.0
    for batch in BATCHES:
        features_ND = _served(session, rows, batch, names)
        gaps_ND = (np.abs(features_ND - expected_ND) - slack_ND).clip(min=0.0)
        row = int(gaps_ND.max(axis=1).argmax())
        gap = float(gaps_ND[row].max())
        if not gap <= tolerance:
            raise ParityFailed(
                f"{names} at batch {batch}: features differ by {gap:.2g} in row {row}; allowed are {tolerance:.2g}",
                _REMEDY,
            )
        worst, agreement = max(worst, gap), min(agreement, _agreement(features_ND, expected_ND))
    return Parity(max_abs=worst, tolerance=tolerance, argmax_agreement=agreement, rows=count, batches=BATCHES)


def raw(backbone: Backbone, rows: Arrays) -> Floats:
    """(N, D) float32 of the original model, outside our graph: torch, or the ONNX file as it came.

    A member graph is its own original: it is run by itself, a row at a time, so that the composition is what is tested.
    """
    mine = {name: rows[name] for name in backbone.inputs}
    if isinstance(backbone.body, OnnxSource):
        return _original(backbone.body, mine["image"])
    if isinstance(backbone.body, MemberGraph):
        session = ort.InferenceSession(backbone.body.model, _silent(), providers=["CPUExecutionProvider"])
        return np.concatenate([session.run(["raw"], part)[0] for part in _batches(mine, 1)])
    module = backbone.body.eval()
    with torch.inference_mode():
        parts = [
            module(**{name: torch.from_numpy(array) for name, array in part.items()}).numpy()
            for part in _batches(mine, 16)
        ]
    return np.concatenate(parts).astype(np.float32)


def _moved(original: Sequence[tuple[Transform, Doubles]], by: float) -> Doubles:
    """(N, D) features of raw ones that are all moved by a share of their row's largest."""
    return combine(
        [apply(transform, raw_ND + by * np.abs(raw_ND).max(axis=1, keepdims=True)) for transform, raw_ND in original]
    )


def _count(rows: Arrays) -> int:
    return len(next(iter(rows.values())))


def _batches(rows: Arrays, size: int) -> list[dict[str, NDArray[Any]]]:
    return [{name: array[i : i + size] for name, array in rows.items()} for i in range(0, _count(rows), size)]


def _served(session: Session, rows: Arrays, batch: int, names: str) -> Doubles:
    found: list[NDArray[np.int16]] = []
    for part in _batches(rows, batch):
        size = _count(part)
        try:
            found.append(session.features(part))
        except Exception as error:  # ONNX Runtime's errors share no public base
            shapes = ", ".join(f"{name} {array.shape}" for name, array in part.items())
            raise ParityFailed(
                f"{names} does not run at batch {size}, {shapes}: {str(error)[:300]}", _REMEDY
            ) from error
        if len(found[-1]) != size:
            raise ParityFailed(f"{names} at batch {size} gives {len(found[-1])} rows", _REMEDY)
    return np.concatenate(found).astype(np.float64) / GRID


def _agreement(a_ND: Doubles, b_ND: Doubles) -> float:
    head_DK = np.random.default_rng(0).standard_normal((a_ND.shape[1], _CLASSES))
    same = (a_ND @ head_DK).argmax(axis=1) == (b_ND @ head_DK).argmax(axis=1)
    return float(same.mean())


def _original(source: OnnxSource, images_NHWC: NDArray[Any]) -> Floats:
    session = ort.InferenceSession(source.model, _silent(), providers=["CPUExecutionProvider"])
    entry = next(argument for argument in session.get_inputs() if argument.name == source.input)
    pixels: NDArray[Any] = images_NHWC
    if source.mean is not None and source.deviation is not None:
        mean_C, deviation_C = np.array(source.mean, np.float32), np.array(source.deviation, np.float32)
        pixels = (images_NHWC.astype(np.float32) - mean_C) / deviation_C
    if source.layout == "NCHW":
        pixels = pixels.transpose(0, 3, 1, 2)
    pixels = np.ascontiguousarray(pixels, dtype=_ELEMENTS[entry.type])
    step = entry.shape[0] if isinstance(entry.shape[0], int) else 16
    parts = [session.run([source.output], {source.input: pixels[i : i + step]})[0] for i in range(0, len(pixels), step)]
    out = np.concatenate(parts).astype(np.float32)
    pooled: Floats = out.mean(axis=source.pooled) if source.pooled else out
    return pooled


def _silent() -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    return options
