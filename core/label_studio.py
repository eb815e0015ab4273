"""Labels in Label Studio's JSON: tasks with annotations, and answers of a model as predictions.

Promises that what was written is read back as it was, and that text from outside is inert: ``<`` is written as
``\\u003c``, so that a file that lands in a page stays text. Knows nothing of the ledger.

A task has its input under ``data`` by the name of its modality (pictures and sounds as data URIs), ``lepton_example``
with the example's digest, and annotations of ``choices`` or ``number``. Who made an annotation is ``completed_by``: an
email, a number, or an object with one of them. The id of a result is our event id, which Label Studio keeps.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any

from core.errors import InvalidInput
from core.label_files import Said
from core.preprocess import keys, modality
from core.types import Scene

EXAMPLE, PREDICTION = "lepton_example", "lepton_prediction"
FROM = "label"
MODEL = "lepton"


def prelabelled(scene: Scene, item: Mapping[str, Any]) -> dict[str, Any]:
    """An item of the queue as a task, its answer as a prediction."""
    data = _data(scene, item.get("instance")) | {EXAMPLE: item["example"], PREDICTION: item["prediction_id"]}
    result = _result(scene, item.get("label"), item.get("value"), item["prediction_id"])
    prediction: dict[str, Any] = {"model_version": MODEL, "result": [result]}
    if "confidence" in item:
        prediction["score"] = item["confidence"]
    return {"data": data, "meta": {"why": item["why"]}, "predictions": [prediction]}


def written(scene: Scene, said: Sequence[Said], inputs: Mapping[str, Any]) -> str:
    """Labels as a file of tasks, one an example; ``inputs``: example → instance, where it was kept."""
    tasks: dict[str, dict[str, Any]] = {}
    for each in said:
        data = _data(scene, inputs.get(each.example)) | {EXAMPLE: each.example}
        task = tasks.setdefault(each.example, {"id": len(tasks) + 1, "data": data, "annotations": []})
        annotation = {
            "completed_by": {"email": each.annotator},
            "was_cancelled": False,
            "result": [_result(scene, each.label, each.value, each.event_id) | {"meta": _meta(each)}],
        }
        task["annotations"].append(annotation)
    return json.dumps(list(tasks.values()), indent=1).replace("<", "\\u003c") + "\n"


def read(scene: Scene, text: str) -> list[Said]:
    """The labels of a file of tasks; skipped and cancelled annotations say nothing.

    Raises:
        InvalidInput: it is no such file; the task is named by its place.
    """
    try:
        tasks = json.loads(text)
    except ValueError as error:
        raise InvalidInput(f"the file is no JSON: {error}", "export tasks as JSON in Label Studio") from None
    if not isinstance(tasks, list):
        raise InvalidInput("the file is no list of tasks", "export tasks as JSON in Label Studio, not as JSON-MIN")
    return [said for place, task in enumerate(tasks, 1) for said in _labels(scene, task, place)]


def _labels(scene: Scene, task: Any, place: int) -> list[Said]:
    if not isinstance(task, dict) or not isinstance(task.get("data"), dict):
        raise InvalidInput(f"task {place} has no data", "export tasks as JSON in Label Studio")
    data, found = task["data"], []
    for number, annotation in enumerate(task.get("annotations") or [], 1):
        if not isinstance(annotation, dict) or annotation.get("was_cancelled"):
            continue
        for result in annotation.get("result") or []:
            label, value = _told(scene, result, place)
            if label is None and value is None:
                continue
            meta = result.get("meta") if isinstance(result.get("meta"), dict) else {}
            annotator = _annotator(annotation.get("completed_by"))
            named = str(result.get("id") or f"{task.get('id', place)}-{annotation.get('id', number)}")
            found.append(
                Said(
                    event_id=named if meta else f"label-studio:{scene.name}:{named}",
                    example=str(data.get(EXAMPLE) or ""),
                    prediction_id=data.get(PREDICTION),
                    instance=None if data.get(EXAMPLE) else _instance(scene, data, place),
                    label=label,
                    value=value,
                    annotator=annotator,
                    source=str(meta.get("source", "feedback")),
                    confidence=float(meta.get("confidence", 1.0)),
                )
            )
    return found


def _told(scene: Scene, result: Any, place: int) -> tuple[str | None, float | None]:
    """Label and value of a result; nothing of one that is neither choices nor a number."""
    value = result.get("value") if isinstance(result, dict) else None
    if not isinstance(value, dict):
        return None, None
    if "choices" in value and scene.task == "classification":
        chosen = value["choices"]
        if not isinstance(chosen, list) or len(chosen) != 1 or not isinstance(chosen[0], str):
            raise InvalidInput(f"task {place} has {chosen!r} as choices", "label every task with one choice")
        return chosen[0], None
    if "number" in value and scene.task == "regression":
        number = value["number"]
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise InvalidInput(f"task {place} has {number!r} as its number", "give a number")
        return None, float(number)
    return None, None


def _result(scene: Scene, label: str | None, value: float | None, name: str) -> dict[str, Any]:
    told = {"number": value} if label is None else {"choices": [label]}
    kind = "number" if label is None else "choices"
    return {"id": name, "from_name": FROM, "to_name": keys(scene.modality)[0], "type": kind, "value": told}


def _meta(said: Said) -> dict[str, Any]:
    return {"source": said.source, "confidence": said.confidence}


def _data(scene: Scene, instance: Any) -> dict[str, Any]:
    """An instance as Label Studio shows it."""
    told = instance if isinstance(instance, dict) else {}
    return {key: _shown(key, told[key]) for key in keys(scene.modality) if key in told}


def _shown(key: str, part: Any) -> Any:
    if isinstance(part, dict) and "b64" in part:
        media = modality(key).sniff(base64.b64decode(part["b64"]))  # files are keyed by the name of their modality
        return f"data:{media};base64,{part['b64']}"
    return part


def _instance(scene: Scene, data: Mapping[str, Any], place: int) -> dict[str, Any]:
    """The input of a task that does not name its example."""
    told: dict[str, Any] = {}
    for key in keys(scene.modality):
        part = data.get(key)
        if key in ("image", "audio") and isinstance(part, str):
            told[key] = {"b64": _base64(part, place)}
        elif part is not None:
            told[key] = part
    if not told:
        wanted = " or ".join(keys(scene.modality))
        raise InvalidInput(
            f"task {place} has neither {EXAMPLE} nor {wanted}", "keep what was exported, or send the input along"
        )
    return told


def _base64(uri: str, place: int) -> str:
    head, comma, text = uri.partition(",")
    try:
        if not comma or not head.startswith("data:") or not head.endswith(";base64"):
            raise ValueError
        base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise InvalidInput(
            f"task {place} refers to {uri[:60]!r}", "send inputs as data URIs (data:…;base64,…): nothing is fetched"
        ) from None
    return text


def _annotator(told: Any) -> str:
    if isinstance(told, dict):
        told = next((told[key] for key in ("email", "username", "id") if told.get(key)), "")
    return "" if told is None else str(told)
