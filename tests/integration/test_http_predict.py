"""Pictures in, answers out: the HTTP contract of predict."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from core.home import Home
from tests import pico
from tests.asking import MOST, PNG, bomb, instance, predicted, refused


def test_a_raw_picture_is_answered_with_probabilities_and_where_they_come_from(client: TestClient, home: Home) -> None:
    answer = client.post("/v1/scenes/shapes/predict", content=pico.picture("square", 77), headers=PNG)
    body = answer.json()
    assert answer.headers["Lepton-Worker"] == "3"
    champion = home.registry.champion("shapes")
    assert champion is not None
    assert body["version"] == champion.version
    assert set(body) == {"scene", "version", "revision", "sequence", "predictions"}
    (first,) = body["predictions"]
    assert first["label"] == "square"
    assert set(first["probabilities"]) == set(pico.LABELS)
    assert math.isclose(sum(first["probabilities"].values()), 1, abs_tol=1e-5)
    assert first["confidence"] == max(first["probabilities"].values())
    assert first["prediction_id"].startswith("shapes:")


def test_the_bytes_decide_what_a_raw_picture_is_not_its_content_type(client: TestClient) -> None:
    for kind in ("image/jpeg", "image/webp", "application/octet-stream"):
        answer = client.post(
            "/v1/scenes/shapes/predict", content=pico.picture("circle", 1), headers={"content-type": kind}
        )
        assert answer.status_code == 200


def test_top_k_shortens_the_probabilities_to_the_best(client: TestClient) -> None:
    body = {"instances": [instance(pico.picture("triangle", 9))], "top_k": 2}
    (first,) = client.post("/v1/scenes/shapes/predict", json=body).json()["predictions"]
    assert next(iter(first["probabilities"])) == "triangle"
    assert len(first["probabilities"]) == 2


def test_one_bad_instance_answers_in_its_place_and_spoils_no_other(client: TestClient) -> None:
    told = [instance(pico.picture("circle", 1)), instance(b"no picture"), instance(pico.picture("square", 1))]
    answer = client.post("/v1/scenes/shapes/predict", json={"instances": told})
    first, bad, last = answer.json()["predictions"]
    assert (answer.status_code, first["label"], last["label"]) == (200, "circle", "square")
    assert set(bad) == {"error"}
    assert bad["error"]["code"] == "unsupported_media"


def test_a_regression_answers_a_value(client: TestClient) -> None:
    first = predicted(client, 60, "triangle", "height")
    assert set(first) == {"prediction_id", "value"}
    assert 0.3 < first["value"] < 1.7


BAD_INSTANCES: list[tuple[Any, str]] = [
    ({"text": "hello"}, "takes image"),
    ({"image": "http://127.0.0.1:9/a.png"}, "nothing is fetched"),
    ({"image": {"url": "http://127.0.0.1:9/a.png"}}, "nothing is fetched"),
    ({"image": {"b64": "http://127.0.0.1:9/a.png"}}, "not base64"),
    ({"image": {"b64": "äöü"}}, "not base64"),
    ({"image": {"b64": 7}}, "expected b64"),
    ("picture", "an instance is an object"),
    (None, "an instance is an object"),
    ({}, "has nothing"),
    ({"image": {"b64": ""}}, "empty"),
]


@pytest.mark.parametrize(("told", "words"), BAD_INSTANCES)
def test_an_instance_that_cannot_be_used_says_why(client: TestClient, told: Any, words: str) -> None:
    answer = client.post("/v1/scenes/shapes/predict", json={"instances": [told]})
    refused(answer, 422, "invalid_input", words)


BAD_BODIES: list[tuple[bytes, str, int, str, str]] = [
    (b"{", "application/json", 400, "malformed_request", "not valid JSON"),
    (b"[1]", "application/json", 400, "malformed_request", "JSON object"),
    (b'{"instances": []}', "application/json", 422, "invalid_input", "instances"),
    (b'{"instances": [1], "top": 1}', "application/json", 422, "invalid_input", "no field 'top'"),
    (b'{"instances": [1], "top_k": 0}', "application/json", 422, "invalid_input", "top_k"),
    (b'{"instances": [1, 1, 1, 1, 1]}', "application/json", 413, "too_large", "of 4 at most"),
    (b'{"instances": [NaN]}', "application/json", 400, "malformed_request", "JSON"),
    (b"[" * 5000, "application/json", 400, "malformed_request", "JSON"),
    (b"this is a text", "image/jpeg", 415, "unsupported_media", "not a picture"),
    (b"\x89PNG\r\n\x1a\nbroken", "image/png", 422, "invalid_input", "cannot be decoded"),
    (b"", "image/png", 422, "invalid_input", "empty"),
    (bomb(), "image/png", 413, "too_large", "at most 50000000"),
    (b"hello", "text/plain", 415, "unsupported_media", "content type"),
    (b"hello", "", 415, "unsupported_media", "content type"),
    (b"x" * (MOST + 1), "image/png", 413, "too_large", "more than"),
]


@pytest.mark.parametrize(("body", "kind", "status", "code", "words"), BAD_BODIES)
def test_a_body_that_cannot_be_used_says_why(
    client: TestClient, body: bytes, kind: str, status: int, code: str, words: str
) -> None:
    answer = client.post("/v1/scenes/shapes/predict", content=body, headers={"content-type": kind})
    refused(answer, status, code, words)


def test_a_streamed_body_is_capped_too(client: TestClient) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(20):
            yield b"x" * (MOST // 10)

    answer = client.post("/v1/scenes/shapes/predict", content=pieces(), headers=PNG)
    refused(answer, 413, "too_large")
