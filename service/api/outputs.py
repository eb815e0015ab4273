"""What a model answers in the Open Inference Protocol: its outputs, what they mean, and how an answer is written.

Promises that an answer has exactly the outputs that were asked for, all by one snapshot. Pure functions; knows nothing
of requests.

Legend: B batch, K classes, D features.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from core.statistics import GRID
from core.types import Scene, Task
from service.answering import Answered
from service.api.tensors import DATATYPES, Tensor, write
from service.engine.snapshot import Snapshot

BASE64 = "base64 in JSON, the bytes themselves in binary data"
# Modality → the input that takes whole examples, one an element of BYTES, and what an element is.
ENCODED: Mapping[str, tuple[str, str]] = {
    "image": ("encoded_image", "one JPEG, PNG or WebP file an element, of any size; " + BASE64),
    "audio": ("encoded_audio", "one WAV or FLAC file an element; " + BASE64),
    "text": ("text", "one text an element, in UTF-8"),
    "tabular": ("features", "one row an element: a JSON object of columns, in UTF-8"),
}
MIXED = ("instance", "one instance an element: a JSON object, as in /v1")
KEPT_OUT = "a tensor of the model itself; none is kept, so labels of it teach heads on this backbone only"
SAID: dict[Task, tuple[str, ...]] = {"classification": ("probabilities", "label"), "regression": ("value",)}
MEANING = {
    "probabilities": "one column a class, in the order of labels",
    "value": "what the regression answers",
    "label": "the most probable class",
    "labels": "the classes of this very answer, in the order of the columns; answered where it is asked for",
    "features": "what the head sees; answered where it is asked for",
    "prediction_id": "send it to /v1/feedback with a label",
}


def default(scene: Scene) -> tuple[str, ...]:
    """The outputs that are answered where none is named; those of a task beside the first end in a dot and its name."""
    further = (f"{name}.{task.task_name}" for task in scene.further for name in SAID[task.task])
    return (*SAID[scene.task], "prediction_id", *further)


def on_demand(scene: Scene) -> tuple[str, ...]:
    """The outputs that are answered where they are asked for."""
    further = (f"labels.{task.task_name}" for task in scene.further if task.task == "classification")
    return ("features", *(("labels",) if scene.task == "classification" else ()), *further)


def metadata(snapshot: Snapshot) -> dict[str, Any]:
    """What a model takes and gives; -1 stands for the batch, and for classes, which come and go with the labels."""
    kinds = {
        "probabilities": ("FP32", [-1, -1]),
        "value": ("FP32", [-1]),
        "label": ("BYTES", [-1]),
        "labels": ("BYTES", [-1]),
        "features": ("FP32", [-1, snapshot.session.width]),
        "prediction_id": ("BYTES", [-1]),
    }
    outputs = [(key, *key.partition(".")[::2]) for key in default(snapshot.scene) + on_demand(snapshot.scene)]
    name, meaning = encoded(snapshot.scene)
    tensors = tensor_inputs(snapshot)
    others = " and ".join(tensors)
    return {
        "name": snapshot.scene.name,
        "versions": [snapshot.version],
        "platform": "onnxruntime_onnx",
        "inputs": [
            *(_declared(key, *kind, f"{KEPT_OUT}; instead of {name}") for key, kind in tensors.items()),
            _declared(name, "BYTES", [-1], f"{meaning}; instead of {others}"),
        ],
        "outputs": [
            _declared(key, *kinds[word], f"{MEANING[word]}; task {task}" if task else MEANING[word])
            for key, word, task in outputs
        ],
    }


def encoded(scene: Scene) -> tuple[str, str]:
    """The input of a scene that takes whole examples, and what an element of it is."""
    return ENCODED.get(scene.modality, MIXED)


def tensor_inputs(snapshot: Snapshot) -> dict[str, tuple[str, list[int]]]:
    """The model's own inputs: name to datatype and shape; -1 stands for the batch and for lengths that may vary."""
    return {
        name: (DATATYPES[given.dtype.name], [-1, *(-1 if length is None else length for length in given.shape)])
        for name, given in snapshot.session.inputs.items()
    }


def answer(
    snapshot: Snapshot, name: str | None, outputs: Mapping[str, bool], answered: Sequence[Answered]
) -> tuple[bytes, int | None]:
    """The body of an answer, and the length of its JSON part where bytes follow it.

    Args:
        name: the request's own, echoed.
        outputs: names, and whether each is to be bytes.
    """
    told: dict[str, Any] = {"model_name": snapshot.scene.name, "model_version": snapshot.version}
    if name is not None:
        told["id"] = name
    told["parameters"] = {
        "version": snapshot.version,
        "revision": snapshot.revision,
        "sequence": snapshot.sequence,
        "fallback": snapshot.fallback,
    }
    written = [write(_tensor(key, snapshot, answered), binary) for key, binary in outputs.items()]
    told["outputs"] = [head for head, _ in written]
    text = json.dumps(told, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode()
    if not any(outputs.values()):
        return text, None
    return text + b"".join(data for _, data in written), len(text)


def _declared(name: str, datatype: str, shape: list[int], meaning: str) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "parameters": {"description": meaning}}


def _tensor(name: str, snapshot: Snapshot, answered: Sequence[Answered]) -> Tensor:
    batch = len(answered)
    if name == "prediction_id":
        return Tensor(name, "BYTES", (batch,), [each.prediction_id for each in answered])
    if name == "features":
        features_BD = np.stack([each.given.features for each in answered]).astype(np.float32) / np.float32(GRID)
        return Tensor(name, "FP32", features_BD.shape, features_BD)
    word, _, task = name.partition(".")
    if word == "label":
        said = [each.verdict.further[task] if task else each.verdict for each in answered]
        return Tensor(name, "BYTES", (batch,), [str(each.label) for each in said])
    if word == "labels":
        labels = snapshot.further[task] if task else snapshot.labels
        return Tensor(name, "BYTES", (len(labels),), labels)
    rows = [each.given.further[task] if task else each.given.outputs for each in answered]
    outputs_BK = np.stack(rows).astype(np.float32)
    if word == "value":
        return Tensor(name, "FP32", (batch,), outputs_BK[:, 0])
    return Tensor(name, "FP32", outputs_BK.shape, outputs_BK)
