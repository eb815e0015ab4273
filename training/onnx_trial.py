"""Runs a foreign ONNX file once in a limited process, and says what shape comes out.

Promises that a file which crashes, swallows memory or never ends is a reason, and that who asks lives on. Knows
nothing of backbones.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from core import confined

SECONDS = 120.0
MEGABYTES = 4096


@functools.lru_cache(maxsize=64)
def output_shape(
    model: bytes, entry: str, shape: tuple[int, ...], element: str, output: str, seconds: float = SECONDS
) -> tuple[tuple[int, ...], str]:
    """The shape of ``output`` for zeros of that ``shape`` and numpy type, and a reason where there is none."""
    arguments = [entry, json.dumps(shape), element, output]
    outcome = confined.run("training.onnx_trial", arguments, model, seconds=seconds, megabytes=MEGABYTES)
    return tuple(outcome.told.get("shape", ())), outcome.reason


def work(arguments: Sequence[str], data: bytes) -> Mapping[str, Any]:
    """What is done in the limited process. Raises as ONNX Runtime does."""
    entry, shape, element, output = arguments
    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    out = session.run([output], {entry: np.zeros(json.loads(shape), element)})[0]
    return {"shape": list(out.shape)}
