"""Texts, sounds and rows of tables: every way in which they can be sent gives the same answer."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from core.config import ServeSettings, Settings
from core.home import Home, open_home
from core.schema import canonical
from service.api.application import application
from service.bootstrap import build
from tests import readings, rows, sounds
from tests.asking import MOST, refused
from tests.waiting import until

TEXT = "bright lamp, please"
SOUND = sounds.encoded(sounds.tone(50, 1))
ROW = rows.row(7)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    opened = open_home(Settings(home=tmp_path_factory.mktemp("home"), serve=ServeSettings(poll_seconds=0.01)))
    readings.register_texts(opened)
    readings.register_sounds(opened)
    rows.register(opened)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def client(home: Home) -> Iterator[TestClient]:
    with TestClient(application(lambda: build(home.settings), MOST), raise_server_exceptions=False) as made:
        until(lambda: made.get("/readyz").status_code == 200)
        yield made


def predict(client: TestClient, scene: str, **how: Any) -> dict[str, Any]:
    answer = client.post(f"/v1/scenes/{scene}/predict", **how)
    assert answer.status_code == 200, answer.text
    (first,) = answer.json()["predictions"]
    return dict(first)


def infer(client: TestClient, scene: str, *inputs: dict[str, Any]) -> dict[str, Any]:
    answer = client.post(f"/v2/models/{scene}/infer", json={"inputs": list(inputs)})
    assert answer.status_code == 200, answer.text
    return {output["name"]: output["data"] for output in answer.json()["outputs"]}


def one(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "datatype": "BYTES", "shape": [1], "data": [value]}


SCENES: list[tuple[str, dict[str, Any], list[dict[str, Any]], dict[str, Any]]] = [
    (
        "wishes",
        {"text": TEXT},
        [
            {"content": TEXT.encode(), "headers": {"content-type": "text/plain; charset=UTF-8"}},
            {"files": [("instances", TEXT.encode())]},
        ],
        one("text", TEXT),
    ),
    (
        "tones",
        {"audio": {"b64": base64.b64encode(SOUND).decode()}},
        [
            {"content": SOUND, "headers": {"content-type": "audio/wav"}},
            {"content": SOUND, "headers": {"content-type": "application/octet-stream"}},
            {"files": [("instances", SOUND)]},
        ],
        one("encoded_audio", base64.b64encode(SOUND).decode()),
    ),
    (
        "loans",
        {"features": ROW},
        [{"files": [("instances", json.dumps(ROW).encode())]}],
        one("features", json.dumps(ROW)),
    ),
]


@pytest.mark.parametrize(("scene", "told", "ways", "tensor"), SCENES, ids=[each[0] for each in SCENES])
def test_json_raw_bodies_forms_and_tensors_of_bytes_give_the_same_answer_about_the_same_example(
    client: TestClient, home: Home, scene: str, told: dict[str, Any], ways: list[dict[str, Any]], tensor: dict[str, Any]
) -> None:
    answers = [predict(client, scene, json={"instances": [told]}), *(predict(client, scene, **way) for way in ways)]
    first = answers[0]["probabilities"]
    assert all(each["probabilities"] == pytest.approx(first, abs=1e-5) for each in answers)
    by_tensor = infer(client, scene, tensor)
    assert by_tensor["label"] == [answers[0]["label"]]
    names = [*(each["prediction_id"] for each in answers), *by_tensor["prediction_id"]]
    until(lambda: len(home.predictions.find(names)) == len(names))
    kept = home.predictions.find(names).values()
    assert len({prediction.example for prediction in kept}) == 1
    (instance,) = {prediction.instance for prediction in kept}
    assert instance is not None
    items = client.get("/v1/queue", params={"scene": scene}).json()["items"]
    if scene != "loans":
        assert [item["instance"] for item in items] == [told]


def test_a_text_is_answered_right(client: TestClient) -> None:
    for label, told in readings.TEXTS.items():
        assert predict(client, "wishes", json={"instances": [{"text": told[0]}]})["label"] == label


def test_the_models_own_tensors_are_taken_together(client: TestClient) -> None:
    body = client.get("/v2/models/wishes").json()
    declared = {given["name"]: (given["datatype"], given["shape"]) for given in body["inputs"]}
    assert declared == {
        "input_ids": ("INT64", [-1, -1, -1]),
        "attention_mask": ("INT64", [-1, -1, -1]),
        "text": ("BYTES", [-1]),
    }
    ids = [[[2, 3]], [[5, 7]]]
    tensors = [
        {"name": name, "datatype": "INT64", "shape": [2, 1, 2], "data": data}
        for name, data in (("input_ids", ids), ("attention_mask", [[[1, 1]], [[1, 1]]]))
    ]
    assert infer(client, "wishes", *tensors)["label"] == ["light", "door"]
    lone = client.post("/v2/models/wishes/infer", json={"inputs": tensors[:1]})
    assert (lone.status_code, "input_ids and attention_mask" in lone.json()["error"]) == (422, True)
    short = client.post("/v2/models/wishes/infer", json={"inputs": [tensors[0], {**tensors[1], "shape": [1, 2, 2]}]})
    assert (short.status_code, "of one B" in short.json()["error"]) == (422, True)


def test_numbers_and_categories_of_a_row_are_taken_as_tensors_and_as_bytes(client: TestClient, home: Home) -> None:
    alias = home.registry.champion("loans")
    assert alias is not None
    bundle = home.bundle(alias.version)
    from core.session import Session

    reader = home.preprocessor(bundle, Session(bundle.model))
    arrays = reader.read(canonical(rows.row(8))).arrays
    types = {"float32": "FP32", "int64": "INT64"}
    heads = [
        {
            "name": name,
            "datatype": types[array.dtype.name],
            "shape": [1, *array.shape],
            "parameters": {"binary_data_size": array.nbytes},
        }
        for name, array in arrays.items()
    ]
    text = json.dumps({"inputs": heads}).encode()
    data = text + b"".join(array.tobytes() for array in arrays.values())
    answer = client.post(
        "/v2/models/loans/infer", content=data, headers={"Inference-Header-Content-Length": str(len(text))}
    )
    assert answer.status_code == 200, answer.text
    (probabilities,) = (out["data"] for out in answer.json()["outputs"] if out["name"] == "probabilities")
    told = predict(client, "loans", json={"instances": [{"features": rows.row(8)}]})
    assert sorted(probabilities) == pytest.approx(sorted(told["probabilities"].values()), abs=1e-5)
    infinite = {"name": "numeric", "datatype": "FP32", "shape": [1, *arrays["numeric"].shape]}
    infinite["data"] = [1e300] * arrays["numeric"].size
    rest = {"name": "categorical", "datatype": "INT64", "shape": [1, *arrays["categorical"].shape]}
    rest["data"] = np.zeros_like(arrays["categorical"]).tolist()
    bad = client.post("/v2/models/loans/infer", json={"inputs": [infinite, rest]})
    assert (bad.status_code, "not finite" in bad.json()["error"]) == (422, True)


def test_what_was_out_of_the_ordinary_is_told_and_counted(client: TestClient) -> None:
    strange = rows.row(1) | {"town": "Atlantis", "income": None}
    usual = {name: value for name, value in rows.row(2).items() if value is not None}
    body = {"instances": [{"features": strange}, {"features": usual}]}
    first, second = client.post("/v1/scenes/loans/predict", json=body).json()["predictions"]
    assert first["flags"] == {"unseen": ["town"], "missing": ["income"]}
    assert "flags" not in second
    metrics = client.get("/metrics").text
    assert 'lepton_flagged_total{flag="unseen",scene="loans"}' in metrics
    assert "Atlantis" not in metrics and "town" not in metrics


REFUSED: list[tuple[str, bytes, str, int, str, str]] = [
    ("wishes", b"hello", "image/png", 415, "unsupported_media", "text/plain"),
    ("wishes", b"hello", "text/plain; charset=latin-1", 415, "unsupported_media", "latin-1"),
    ("wishes", b"\xff\xfe", "text/plain", 422, "invalid_input", "UTF-8"),
    ("wishes", b'{"instances": [{"image": {}}]}', "application/json", 422, "invalid_input", "takes text"),
    ("tones", b"hello", "audio/wav", 415, "unsupported_media", "audio/flac"),
    ("tones", b"hello", "text/plain", 415, "unsupported_media", "audio/flac"),
    ("loans", b'{"age": 1}', "text/plain", 415, "unsupported_media", "application/json"),
    ("loans", b'{"instances": [{"features": {"age": "old"}}]}', "application/json", 422, "invalid_input", "age"),
    ("loans", b'{"instances": [{"features": {"ages": 1}}]}', "application/json", 422, "invalid_input", "ages"),
]


@pytest.mark.parametrize(("scene", "body", "kind", "status", "code", "words"), REFUSED)
def test_what_a_scene_does_not_take_is_refused_with_what_it_takes(
    client: TestClient, scene: str, body: bytes, kind: str, status: int, code: str, words: str
) -> None:
    answer = client.post(f"/v1/scenes/{scene}/predict", content=body, headers={"content-type": kind})
    refused(answer, status, code, words)


def test_a_label_for_a_text_that_is_sent_along_is_accepted(client: TestClient) -> None:
    told = {"scene": "wishes", "instance": {"text": "the lamp"}, "label": "light"}
    answer = client.post("/v1/feedback", json=told)
    assert (answer.status_code, answer.json()["status"]) == (202, "accepted")
