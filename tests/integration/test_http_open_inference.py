"""The Open Inference Protocol over HTTP, byte by byte: what it answers, and how it refuses."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from core.home import Home
from core.modality import image
from tests import pico
from tests.asking import MOST, bomb
from tests.waiting import until

SHAPES = "/v2/models/shapes"
INFER = f"{SHAPES}/infer"
LENGTH = "Inference-Header-Content-Length"
SIDE = pico.SIDE


def pixels(home: Home, label: str, number: int) -> np.ndarray:
    return image.decode(pico.picture(label, number), (SIDE, SIDE), home.limits)


def raw(pictures: list[np.ndarray]) -> dict[str, Any]:
    """Pictures as an input in JSON."""
    batch = np.stack(pictures)
    return {"name": "image", "datatype": "UINT8", "shape": list(batch.shape), "data": batch.ravel().tolist()}


def encoded(files: list[bytes]) -> dict[str, Any]:
    """Files as an input in JSON."""
    data = [base64.b64encode(file).decode() for file in files]
    return {"name": "encoded_image", "datatype": "BYTES", "shape": [len(files)], "data": data}


def ask(client: TestClient, one: dict[str, Any], path: str = INFER, **more: Any) -> dict[str, Any]:
    answer = client.post(path, json={"inputs": [one], **more})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def data_of(body: dict[str, Any]) -> dict[str, Any]:
    return {output["name"]: output["data"] for output in body["outputs"]}


def declared(body: dict[str, Any], side: str) -> dict[str, tuple[str, list[int]]]:
    return {tensor["name"]: (tensor["datatype"], tensor["shape"]) for tensor in body[side]}


def refused(answer: Any, status: int, *words: str) -> None:
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    for word in words:
        assert word in answer.json()["error"], answer.text


def test_the_server_and_its_health_are_told_in_the_words_of_the_protocol(client: TestClient) -> None:
    assert client.get("/v2").json() == {"name": "lepton", "version": "1", "extensions": ["binary_tensor_data"]}
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get(f"{SHAPES}/ready").json() == {"name": "shapes", "ready": True}


def test_a_model_tells_what_it_takes_and_gives(client: TestClient, home: Home) -> None:
    body = client.get(SHAPES).json()
    champion = home.registry.champion("shapes")
    assert champion is not None
    assert (body["name"], body["versions"], body["platform"]) == ("shapes", [champion.version], "onnxruntime_onnx")
    assert declared(body, "inputs") == {"image": ("UINT8", [-1, SIDE, SIDE, 3]), "encoded_image": ("BYTES", [-1])}
    assert declared(body, "outputs") == {
        "probabilities": ("FP32", [-1, -1]),
        "label": ("BYTES", [-1]),
        "prediction_id": ("BYTES", [-1]),
        "features": ("FP32", [-1, pico.WIDTH]),
        "labels": ("BYTES", [-1]),
    }


def test_pixels_files_and_v1_give_the_same_numbers(client: TestClient, home: Home) -> None:
    labels = ["circle", "square", "triangle"]
    files = [pico.picture(label, 50) for label in labels]
    from_pixels = data_of(ask(client, raw([pixels(home, label, 50) for label in labels])))
    told = ask(client, encoded(files), id="mine")
    from_files = data_of(told)
    assert from_pixels["label"] == from_files["label"] == labels
    assert from_pixels["probabilities"] == pytest.approx(from_files["probabilities"], abs=1e-5)
    plain = client.post("/v1/scenes/shapes/predict", content=files[1], headers={"content-type": "image/png"}).json()
    row = np.reshape(from_files["probabilities"], (3, 3))[1]
    assert dict(zip(pico.LABELS, row, strict=True)) == pytest.approx(plain["predictions"][0]["probabilities"], abs=1e-5)
    assert (told["model_name"], told["model_version"], told["id"]) == ("shapes", plain["version"], "mine")
    assert {key: told["parameters"][key] for key in ("version", "revision", "sequence")} == {
        key: plain[key] for key in ("version", "revision", "sequence")
    }


def test_outputs_come_as_asked_for_and_in_that_order(client: TestClient, home: Home) -> None:
    wanted = ["features", "labels", "label"]
    body = ask(client, raw([pixels(home, "square", 3)]), outputs=[{"name": name} for name in wanted])
    assert [output["name"] for output in body["outputs"]] == wanted
    features, labels, label = body["outputs"]
    assert (features["shape"], labels["data"], label["data"]) == ([1, pico.WIDTH], list(pico.LABELS), ["square"])
    assert np.isclose(np.linalg.norm(features["data"]), 1, atol=1e-3)


def test_a_regression_answers_values(client: TestClient, home: Home) -> None:
    body = ask(client, raw([pixels(home, "triangle", 60)] * 2), "/v2/models/height/infer")
    value, _ = body["outputs"]
    assert (value["name"], value["shape"], value["datatype"]) == ("value", [2], "FP32")
    assert 0.3 < value["data"][0] == value["data"][1] < 1.7


def test_a_label_for_pixels_is_accepted_and_learned(client: TestClient, home: Home) -> None:
    seen = pixels(home, "circle", 4711)
    body = data_of(ask(client, raw([seen]), "/v2/models/open/infer", id="a"))
    again = data_of(ask(client, raw([seen]), "/v2/models/open/infer"))
    first, second = body["prediction_id"][0], again["prediction_id"][0]
    until(lambda: len(home.predictions.find([first, second])) == 2)
    kept = home.predictions.find([first, second])
    assert kept[first].example == kept[second].example, "the same pixels are the same example"
    assert kept[first].instance is None
    answer = client.post("/v1/feedback", json={"prediction_id": first, "label": "circle"})
    assert (answer.status_code, answer.json()["status"]) == (202, "accepted")
    assert pico.learn(home, "open").head.sequence == answer.json()["sequence"]


def test_a_label_for_a_file_keeps_the_file(client: TestClient, home: Home) -> None:
    data = pico.picture("square", 4712)
    prediction = data_of(ask(client, encoded([data])))["prediction_id"][0]
    until(lambda: home.predictions.find([prediction]))
    assert home.predictions.find([prediction])[prediction].instance == data


def test_a_version_that_does_not_serve_is_not_there(client: TestClient, home: Home) -> None:
    (version,) = client.get(SHAPES).json()["versions"]
    one = raw([pixels(home, "circle", 1)])
    assert ask(client, one, f"{SHAPES}/versions/{version}/infer")["model_version"] == version
    for path in ("", "/ready"):
        assert client.get(f"{SHAPES}/versions/{version}{path}").status_code == 200
        refused(client.get(f"{SHAPES}/versions/1{path}"), 404, "'1' does not serve", version)
    refused(client.post(f"{SHAPES}/versions/1/infer", json={"inputs": [one]}), 404, "does not serve")


def test_unknown_models_routes_and_methods_are_refused_in_the_form_of_the_protocol(client: TestClient) -> None:
    refused(client.get("/v2/models/nothing"), 404, "no scene 'nothing'")
    refused(client.get("/v2/models/nothing/ready"), 404)
    refused(client.post("/v2/models/nothing/infer", json={}), 404)
    refused(client.get("/v2/repository/index"), 404, "nothing at")
    refused(client.get(INFER), 405)
    assert "code" in client.get("/v20").json()["error"], "only below /v2"


def test_one_bad_file_refuses_all_and_nothing_is_logged(client: TestClient, home: Home) -> None:
    before = metric(client, "answered"), metric(client, "refused")
    one = encoded([pico.picture("circle", 1), b"no picture", pico.picture("circle", 2)])
    refused(client.post(INFER, json={"inputs": [one]}), 415, "instance 1", "not a picture")
    assert (metric(client, "answered"), metric(client, "refused")) == (before[0], before[1] + 3)


def metric(client: TestClient, outcome: str) -> float:
    head = f'lepton_predictions_total{{outcome="{outcome}",scene="shapes"}}'
    lines = client.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(head))


def test_requests_are_measured_by_the_template_of_their_route(client: TestClient) -> None:
    client.get("/v2/models/shapes/versions/xyz")
    text = client.get("/metrics").text
    assert 'route="/v2/models/{scene}/versions/{version}"' in text
    assert "xyz" not in text


GOOD = {"name": "image", "datatype": "UINT8", "shape": [1, SIDE, SIDE, 3], "data": [0] * SIDE * SIDE * 3}
FILE = encoded([pico.picture("circle", 1)])
BAD: list[tuple[Any, int, str]] = [
    ({}, 422, "inputs is missing"),
    ([], 400, "JSON list"),
    ({"inputs": []}, 422, "inputs"),
    ({"inputs": [GOOD, FILE]}, 422, "2 inputs"),
    ({"inputs": [GOOD | {"name": "picture"}]}, 422, "no input 'picture'"),
    ({"inputs": [GOOD | {"datatype": "FP32"}]}, 422, "expected UINT8"),
    ({"inputs": [GOOD | {"shape": [1, SIDE, SIDE + 1, 3]}]}, 422, "expected UINT8"),
    ({"inputs": [GOOD | {"shape": [0, SIDE, SIDE, 3], "data": []}]}, 422, "expected UINT8"),
    ({"inputs": [GOOD | {"shape": [-1, SIDE, SIDE, 3]}]}, 422, "shape"),
    ({"inputs": [GOOD | {"shape": [True, SIDE, SIDE, 3]}]}, 422, "shape"),
    ({"inputs": [GOOD | {"shape": [10**400, SIDE, SIDE, 3]}]}, 422, "shape"),
    ({"inputs": [GOOD | {"shape": [5, SIDE, SIDE, 3]}]}, 413, "5 instances, of 4"),
    ({"inputs": [GOOD | {"shape": [2, SIDE, SIDE, 3]}]}, 422, "expected 1536"),
    ({"inputs": [GOOD | {"data": [256] * 768}]}, 422, "outside 0 to 255"),
    ({"inputs": [GOOD | {"data": [-1] * 768}]}, 422, "outside 0 to 255"),
    ({"inputs": [GOOD | {"data": [10**300] * 768}]}, 422, "outside 0 to 255"),
    ({"inputs": [GOOD | {"data": [0.5] * 768}]}, 422, "no whole numbers"),
    ({"inputs": [GOOD | {"data": [True] * 768}]}, 422, "no whole numbers"),
    ({"inputs": [GOOD | {"data": [[0] * 768, [0]]}]}, 422, "not nested"),
    ({"inputs": [GOOD | {"data": "x"}]}, 422, "data"),
    ({"inputs": [{key: GOOD[key] for key in ("name", "datatype", "shape")}]}, 400, "neither data"),
    ({"inputs": [GOOD | {"parameters": {"binary_data_size": 768}}]}, 400, "both data"),
    ({"inputs": [FILE | {"data": ["@@@"]}]}, 422, "not base64"),
    ({"inputs": [FILE | {"data": [7]}]}, 422, "no text"),
    ({"inputs": [FILE | {"data": [""]}]}, 422, "empty"),
    ({"inputs": [FILE | {"shape": [1, 1]}]}, 422, "expected BYTES [B]"),
    ({"inputs": [encoded([bomb()])]}, 413, "pixels"),
    ({"inputs": [FILE], "outputs": [{"name": "logits"}]}, 422, "no output 'logits'"),
    ({"inputs": [FILE], "outputs": [{"name": "label"}] * 2}, 422, "twice"),
    ({"inputs": [FILE], "outputs": [{"name": "label", "parameters": {"classification": 2}}]}, 422, "classification"),
    ({"inputs": [FILE], "outputs": [{"name": "label", "parameters": {"binary_data": 1}}]}, 422, "binary_data"),
    ({"inputs": [FILE], "id": 7}, 422, "id"),
]


@pytest.mark.parametrize(("body", "status", "words"), BAD)
def test_a_request_that_cannot_be_answered_says_why(client: TestClient, body: Any, status: int, words: str) -> None:
    answer = client.post(INFER, content=json.dumps(body).encode())
    refused(answer, status, words)


def binary(one: dict[str, Any], data: bytes, size: Any = None, **more: Any) -> tuple[bytes, dict[str, str]]:
    """A request whose one input follows its JSON, and its headers."""
    head = {key: value for key, value in one.items() if key != "data"}
    head["parameters"] = {"binary_data_size": len(data) if size is None else size}
    text = json.dumps({"inputs": [head], **more}).encode()
    return text + data, {LENGTH: str(len(text))}


def test_bytes_come_and_go_behind_the_json(client: TestClient, home: Home) -> None:
    seen = pixels(home, "square", 8)
    outputs = [{"name": "probabilities", "parameters": {"binary_data": True}}, {"name": "label"}]
    body, headers = binary(GOOD, seen.tobytes(), outputs=outputs)
    answer = client.post(INFER, content=body, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/octet-stream")
    length = int(answer.headers[LENGTH])
    told = json.loads(answer.content[:length])
    probabilities, label = told["outputs"]
    assert (probabilities["parameters"], label["data"]) == ({"binary_data_size": 12}, ["square"])
    expected = data_of(ask(client, raw([seen])))["probabilities"]
    assert np.frombuffer(answer.content[length:], "<f4").tolist() == pytest.approx(expected, abs=1e-5)


LYING: list[tuple[tuple[bytes, dict[str, str]], int, str]] = [
    (binary(GOOD, b"\0" * 767), 422, "has 767 bytes"),
    (binary(GOOD, b"\0" * 768, 769), 400, "769 bytes of binary data, and 768"),
    (binary(GOOD, b"\0" * 768, 767), 400, "767 bytes of binary data, and 768"),
    (binary(GOOD, b"\0" * 768, -768), 400, "no number of bytes"),
    (binary(GOOD, b"\0" * 768, True), 400, "no number of bytes"),
    (binary(GOOD, b"\0" * 768, "768"), 400, "no number of bytes"),
    (binary(FILE, b"\xff\xff\xff\xff"), 422, "reaches beyond"),
    (binary(FILE, b"\0\0\0"), 422, "reaches beyond"),
    (binary(FILE, b"\0\0\0\0"), 422, "empty"),
    ((binary(GOOD, b"\0" * 768)[0], {}), 400, "not valid JSON"),
    ((b"x" * 9, {LENGTH: "10"}), 400, "the body has 9 bytes"),
    ((b"x" * 9, {LENGTH: "0"}), 400, "never empty"),
    ((b"x" * 9, {LENGTH: "nine"}), 400, "'nine'"),
    ((b"{}", {"content-encoding": "gzip"}), 415, "gzip"),
    ((b"x" * (MOST + 1), {}), 413, "more than"),
    ((b"[" * 5000, {}), 400, "not valid JSON"),
    ((b'{"inputs": [NaN]}', {}), 400, "not valid JSON"),
    ((b"", {}), 400, "not valid JSON"),
]


@pytest.mark.parametrize(("sent", "status", "words"), LYING)
def test_lengths_and_bodies_that_lie_are_refused(
    client: TestClient, sent: tuple[bytes, dict[str, str]], status: int, words: str
) -> None:
    refused(client.post(INFER, content=sent[0], headers=sent[1]), status, words)


@settings(max_examples=150)
@given(body=st.binary(max_size=200), tail=st.binary(max_size=40), length=st.integers(-5, 300), data=st.data())
def test_no_body_makes_the_service_fail(
    client: TestClient, body: bytes, tail: bytes, length: int, data: st.DataObject
) -> None:
    whole, _ = binary(GOOD, tail)
    place = data.draw(st.integers(0, len(whole) - 1))
    for sent in (body, whole[:place] + body[:1] + whole[place + 1 :]):
        answer = client.post(INFER, content=sent, headers={LENGTH: str(length)})
        assert 400 <= answer.status_code < 500, answer.text
        assert isinstance(answer.json()["error"], str)
