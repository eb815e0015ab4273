"""Labels in: the HTTP contract of feedback."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
from fastapi.testclient import TestClient

from core.home import Home
from tests import pico
from tests.asking import MOST, PNG, instance, predicted, refused
from tests.waiting import until


def test_a_label_for_a_prediction_is_on_disk_and_is_learned(client: TestClient, home: Home) -> None:
    data = pico.picture("square", 500)
    prediction = predicted(client, 500, "square")["prediction_id"]
    answer = client.post("/v1/feedback", json={"prediction_id": prediction, "label": "triangle", "annotator": "ann"})
    assert answer.status_code == 202
    receipt = answer.json()
    assert set(receipt) == {"event_id", "status", "sequence"}
    assert receipt["status"] == "accepted"
    assert home.evidence.input(hashlib.sha256(data).hexdigest()) == data
    told = client.get(f"/v1/feedback/{receipt['event_id']}").json()
    assert told["served_since"] is None
    revision = pico.learn(home)
    told = client.get(f"/v1/feedback/{receipt['event_id']}").json()
    assert told["served_since"] == {"version": revision.version, "revision": revision.number}
    assert (told["status"], told["scene"]) == ("accepted", "shapes")
    until(lambda: _sequence(client) >= receipt["sequence"])
    until(lambda: 'lepton_label_to_served_seconds_count{scene="shapes"}' in client.get("/metrics").text)


def _sequence(client: TestClient) -> int:
    body = client.post("/v1/scenes/shapes/predict", content=pico.picture("circle", 1), headers=PNG).json()
    return int(body["sequence"])


def test_the_same_event_counts_once_and_another_body_is_a_conflict(client: TestClient) -> None:
    prediction = predicted(client, 501)["prediction_id"]
    body = {"prediction_id": prediction, "label": "circle", "event_id": "mine/501"}
    first = client.post("/v1/feedback", json=body).json()
    again = client.post("/v1/feedback", json=body)
    assert (again.status_code, again.json()) == (202, first | {"status": "duplicate"})
    refused(client.post("/v1/feedback", json=body | {"label": "square"}), 409, "conflict")
    corrected = client.patch("/v1/feedback/mine/501", json={"label": "square", "confidence": 0.5})
    assert (corrected.status_code, corrected.json()["status"]) == (200, "accepted")
    assert corrected.json()["sequence"] > first["sequence"]
    gone = client.delete("/v1/feedback/mine/501")
    assert (gone.status_code, gone.json()["status"]) == (200, "withdrawn")
    refused(client.delete("/v1/feedback/mine/501"), 409, "withdrawn")
    refused(client.post("/v1/feedback", json=body), 409, "withdrawn")
    refused(client.patch("/v1/feedback/mine/501", json={"label": "circle"}), 409, "withdrawn")
    assert client.get("/v1/feedback/mine/501").json()["status"] == "withdrawn"


def test_annotators_that_tie_answer_conflict(client: TestClient) -> None:
    prediction = predicted(client, 502)["prediction_id"]
    said = [
        client.post("/v1/feedback", json={"prediction_id": prediction, "label": label, "annotator": who}).json()
        for label, who in (("circle", "ann"), ("square", "bob"))
    ]
    assert [receipt["status"] for receipt in said] == ["accepted", "conflict"]
    assert client.get("/v1/scenes/shapes").json()["label_events"]["conflict"] == 1


def test_a_label_with_its_instance_needs_no_prediction(client: TestClient, home: Home) -> None:
    data = pico.picture("circle", 503)
    body = {"scene": "shapes", "instance": instance(data), "label": "circle", "subject": "person 1"}
    receipt = client.post("/v1/feedback", json=body).json()
    assert receipt["status"] == "accepted"
    assert home.evidence.input(hashlib.sha256(data).hexdigest()) == data
    erased = client.delete("/v1/subjects/person 1")
    assert erased.status_code == 200
    assert (erased.json()["examples"], erased.json()["events"]) == (1, 1)
    assert home.evidence.input(hashlib.sha256(data).hexdigest()) is None
    refused(client.delete("/v1/subjects/person 1"), 404, "not_found")
    (certificate,) = client.get("/v1/subjects/person 1/certificate").json()["certificates"]
    assert certificate["certificate"] == erased.json()["certificate"] and "person 1" not in str(certificate)
    assert certificate["scenes"]["shapes"]["sequence"] == erased.json()["sequences"]["shapes"]
    refused(client.get("/v1/subjects/person 2/certificate"), 404, "not_found", "ever erased")
    refused(client.get(f"/v1/feedback/{receipt['event_id']}"), 404, "not_found")


def test_a_label_that_overtakes_its_prediction_is_pending_unless_the_instance_comes_along(client: TestClient) -> None:
    unknown = "shapes:" + "0" * 32
    pending = client.post("/v1/feedback", json={"prediction_id": unknown, "label": "circle"})
    assert (pending.status_code, pending.json()["status"]) == (202, "pending")
    assert client.get(f"/v1/feedback/{pending.json()['event_id']}").json()["served_since"] is None
    body = {"prediction_id": unknown, "label": "circle", "instance": instance(pico.picture("circle", 504))}
    assert client.post("/v1/feedback", json=body).json()["status"] == "accepted"


def test_a_value_is_learned_where_the_scene_is_a_regression(client: TestClient) -> None:
    prediction = predicted(client, 505, scene="height")["prediction_id"]
    assert client.post("/v1/feedback", json={"prediction_id": prediction, "value": 1}).json()["status"] == "accepted"
    body = {"prediction_id": prediction, "value": 1e9}
    refused(client.post("/v1/feedback", json=body), 422, "invalid_input", "out of range")


def test_a_new_label_is_taken_where_the_policy_allows_it(client: TestClient) -> None:
    for scene, status in (("open", 202), ("shapes", 422)):
        body = {"scene": scene, "instance": instance(pico.picture("star", 1)), "label": "star"}
        assert client.post("/v1/feedback", json=body).status_code == status


def bad_labels() -> list[tuple[dict[str, Any], str]]:
    good = {"prediction_id": "shapes:" + "1" * 32, "label": "circle"}
    return [
        (good | {"label": "star"}, "does not know the label"),
        (good | {"label": None}, "either a label or a value"),
        (good | {"value": 1.0}, "either a label or a value"),
        ({"prediction_id": good["prediction_id"], "value": 1.0}, "classification"),
        ({"label": "circle"}, "a prediction_id, or a scene and an instance"),
        ({"label": "circle", "scene": "shapes"}, "a prediction_id, or a scene and an instance"),
        (good | {"labl": "circle"}, "no field 'labl'"),
        (good | {"source": "training"}, "reserved"),
        (good | {"annotator": "training"}, "reserved"),
        (good | {"annotator": ""}, "printable"),
        (good | {"event_id": "a\nb"}, "printable"),
        (good | {"subject": "x" * 201}, "printable"),
        (good | {"confidence": 0}, "confidence"),
        (good | {"confidence": 1.5}, "confidence"),
        (good | {"observed_at": "yesterday"}, "ISO 8601"),
        (good | {"observed_at": "2026-11-03\0" + "09:30"}, "ISO 8601"),
        (good | {"prediction_id": "shapes"}, "not one that this service gave out"),
        (good | {"scene": "open"}, "the prediction is of scene"),
        (good | {"label": "\0"}, "cannot be used"),
        (good | {"label": 7}, "label"),
        (good | {"instance": {"image": "http://127.0.0.1/"}}, "nothing is fetched"),
    ]


@pytest.mark.parametrize(("body", "words"), bad_labels())
def test_a_label_that_cannot_be_used_says_why(client: TestClient, body: dict[str, Any], words: str) -> None:
    refused(client.post("/v1/feedback", json=body), 422, "invalid_input", words)


def test_an_instance_that_was_not_the_predicted_one_is_refused(client: TestClient) -> None:
    prediction = predicted(client, 506)["prediction_id"]
    body = {"prediction_id": prediction, "label": "circle", "instance": instance(pico.picture("circle", 507))}
    refused(client.post("/v1/feedback", json=body), 422, "invalid_input", "not the one that was predicted")


def test_a_batch_answers_a_line_a_line_and_a_bad_one_spoils_no_other(client: TestClient) -> None:
    ids = [predicted(client, number)["prediction_id"] for number in (510, 511)]
    lines = [
        json.dumps({"prediction_id": ids[0], "label": "circle"}),
        "{",
        json.dumps({"prediction_id": ids[1], "label": "unheard of"}),
        "",
        json.dumps({"prediction_id": ids[1], "label": "circle"}),
        "x" * (MOST + 1),
    ]
    answer = client.post(
        "/v1/feedback:batch", content="\n".join(lines).encode(), headers={"content-type": "application/x-ndjson"}
    )
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/x-ndjson"
    told = [json.loads(line) for line in answer.text.splitlines()]
    assert [line.get("status") or line["error"]["code"] for line in told] == [
        "accepted",
        "malformed_request",
        "invalid_input",
        "accepted",
        "too_large",
    ]


def test_an_empty_batch_is_an_empty_answer(client: TestClient) -> None:
    answer = client.post("/v1/feedback:batch", content=b"", headers={"content-type": "application/x-ndjson"})
    assert (answer.status_code, answer.content) == (200, b"")
