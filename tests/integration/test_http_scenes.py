"""Scenes, versions, queue, metrics, pages, and what is not there: the rest of the HTTP contract."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from fastapi.testclient import TestClient

from core.config import Settings
from core.errors import Unavailable
from core.events import Feedback
from core.home import Home, open_home
from service.api.application import application
from service.api.errors import response
from service.bootstrap import build
from tests import pico
from tests.asking import MOST, PNG, instance, predicted, refused
from tests.waiting import until


def test_unknown_things_are_named(client: TestClient) -> None:
    refused(client.post("/v1/scenes/none/predict", content=b"", headers=PNG), 404, "not_found", "shapes")
    refused(client.get("/v1/scenes/none"), 404, "not_found", "shapes")
    refused(client.get("/v1/scenes/none/versions"), 404, "not_found")
    refused(client.get("/v1/queue?scene=none"), 404, "not_found")
    refused(client.get("/v1/feedback/none"), 404, "not_found")
    refused(client.delete("/v1/feedback/none"), 404, "not_found")
    refused(client.patch("/v1/feedback/none", json={"label": "circle"}), 404, "not_found")
    refused(client.delete("/v1/subjects/none"), 404, "not_found")
    refused(client.get("/nowhere"), 404, "not_found", "/nowhere")
    refused(client.get("/docs/../app.py"), 404, "not_found")
    refused(client.get("/v1/feedback"), 405, "method_not_allowed")
    assert client.get("/v1/scenes/shapes/predict").headers["allow"] == "POST"


def test_scenes_tell_what_they_know_and_what_serves(client: TestClient, home: Home) -> None:
    listed = client.get("/v1/scenes").json()["scenes"]
    assert [scene["scene"] for scene in listed] == ["height", "open", "shapes"]
    one = client.get("/v1/scenes/open").json()
    assert one["labels"] == one["labels_served"] == list(pico.LABELS)
    assert (one["task"], one["modality"], one["new_labels"]) == ("classification", "image", "accept")
    champion = home.registry.champion("open")
    assert champion is not None
    assert (one["champion"]["version"], one["champion"]["generation"]) == (champion.version, 1)
    assert one["label_events"]["training"] == 18
    assert {"metrics", "lineage"} <= set(one)


def test_a_version_is_promoted_by_compare_and_swap(client: TestClient, home: Home) -> None:
    newer = pico.another(home, home.registry.scene("open"), seed=5)
    put: Callable[..., Any] = lambda **body: client.put("/v1/scenes/open/champion", json=body)  # noqa: E731
    refused(put(version=newer.version, expected_generation=7), 409, "conflict", "generation 1, not 7")
    refused(put(version="0" * 64, expected_generation=1), 404, "not_found")
    refused(put(version=newer.version), 422, "invalid_input", "expected_generation is missing")
    before = predicted(client, 600, scene="open")["prediction_id"]
    done = put(version=newer.version, expected_generation=1)
    assert (done.status_code, done.json()) == (200, {"version": newer.version, "generation": 2})
    until(lambda: client.get("/v1/scenes/open").json()["serving"]["version"] == newer.version)
    told = client.get("/v1/scenes/open/versions").json()
    assert [(version["number"], version["champion"]) for version in told["versions"]] == [(1, False), (2, True)]
    assert told["history"][0]["action"] == "promote"
    # a label for a prediction of the version before counts for the new one as well
    answer = client.post("/v1/feedback", json={"prediction_id": before, "label": "circle"})
    assert answer.json()["status"] == "accepted"
    follower = home.follower(home.registry.scene("open"), newer)
    follower.catch_up()
    assert not follower.missing


def test_the_queue_offers_the_least_certain_without_a_label(client: TestClient, home: Home) -> None:
    rng = np.random.default_rng(3)
    for _ in range(4):
        vague = pico.png(rng.integers(0, 256, (16, 16, 3), np.uint8))
        client.post("/v1/scenes/shapes/predict", content=vague, headers=PNG)
    clear = predicted(client, 700)
    until(lambda: home.predictions.find([clear["prediction_id"]]))
    items = client.get("/v1/queue", params={"scene": "shapes", "limit": 100}).json()["items"]
    margins = [item["margin"] for item in items]
    assert margins == sorted(margins)
    assert set(items[0]) == {"prediction_id", "example", "label", "confidence", "margin", "instance", "why"}
    (shown,) = (item for item in items if item["prediction_id"] == clear["prediction_id"])
    assert shown["instance"] == instance(pico.picture("circle", 700)), "whoever labels can see what it is"
    assert any(item["prediction_id"] == clear["prediction_id"] for item in items)
    client.post("/v1/feedback", json={"prediction_id": clear["prediction_id"], "label": "circle"})
    drawn = client.get("/v1/queue", params={"scene": "shapes", "strategy": "random", "limit": 500}).json()["items"]
    assert len(drawn) == len(items) - 1
    assert all(item["prediction_id"] != clear["prediction_id"] for item in drawn)


def test_a_queue_that_cannot_be_made_says_why(client: TestClient) -> None:
    refused(client.get("/v1/queue?scene=shapes&strategy=best"), 422, "invalid_input", "margin, random, diverse")
    refused(client.get("/v1/queue?scene=shapes&strategy=disagreement"), 422, "invalid_input", "neither a challenger")
    refused(client.get("/v1/queue?scene=shapes&format=xml"), 422, "invalid_input", "json, label-studio")
    refused(client.get("/v1/queue?scene=height"), 422, "invalid_input", "random")
    refused(client.get("/v1/queue?scene=shapes&limit=0"), 422, "invalid_input", "limit")
    refused(client.get("/v1/queue"), 422, "invalid_input", "scene is missing")


def test_metrics_name_scenes_and_templates_and_nothing_that_a_client_made_up(client: TestClient) -> None:
    predicted(client, 1)
    client.post("/v1/scenes/made-up/predict", content=b"", headers=PNG)
    client.get("/a/scan/of/paths")
    text = client.get("/metrics").text
    for line in (
        'lepton_predictions_total{outcome="answered",scene="shapes"}',
        'lepton_labels_total{scene="shapes",status="accepted"}',
        'lepton_request_seconds_count{route="/v1/scenes/{scene}/predict"}',
        'lepton_request_seconds_count{route="other"}',
        "lepton_queue_seconds_count",
        'lepton_inference_seconds_count{scene="shapes"}',
        'lepton_batch_size_count{scene="shapes"}',
        'lepton_head_revision{scene="shapes"}',
        'lepton_model_info{scene="shapes",version=',
    ):
        assert line in text
    assert "made-up" not in text
    assert "scan" not in text


def test_the_page_of_the_api_loads_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/docs")
    assert page.status_code == 200
    assert "http" not in page.text.replace("http-equiv", "")
    assert b"SwaggerUIBundle" in client.get("/docs/swagger-ui-bundle.js").content
    assert client.get("/docs/swagger-ui.css").status_code == 200
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/v1/scenes/{scene}/predict", "/v1/feedback", "/v1/feedback:batch", "/v1/queue"} <= set(paths)


def test_an_error_of_ours_is_answered_in_the_one_form_without_its_text(home: Home, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, serve=home.settings.serve)
    with TestClient(application(lambda: build(settings), MOST), raise_server_exceptions=False) as broken:
        until(lambda: broken.get("/readyz").status_code == 200)
        secret = open_home(settings)
        with secret.ledger.database.write() as connection:
            connection.exec_driver_sql("DROP TABLE scenes")
        answer = broken.get("/v1/scenes")
        refused(answer, 500, "failed")
        assert "scenes" not in answer.json()["error"]["message"]
        secret.close()


def test_a_home_without_scenes_is_ready_and_says_so(tmp_path: Path) -> None:
    with TestClient(application(lambda: build(Settings(home=tmp_path)), MOST)) as empty:
        until(lambda: empty.get("/readyz").status_code == 200)
        assert empty.get("/v1/scenes").json() == {"scenes": []}
        refused(empty.post("/v1/scenes/a/predict", content=b"", headers=PNG), 404, "not_found", "none yet")


def test_whoever_comes_too_early_is_told_when_to_come_again() -> None:
    answer = response(Unavailable("the room is full", "come again"))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


def test_what_was_said_before_a_restart_is_still_known_after_it(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    opened = open_home(settings)
    pico.register(opened)
    with TestClient(application(lambda: build(settings), MOST)) as one:
        until(lambda: one.get("/readyz").status_code == 200)
        prediction = predicted(one, 1)["prediction_id"]
    assert opened.predictions.find([prediction])
    with TestClient(application(lambda: build(settings), MOST)) as two:
        until(lambda: two.get("/readyz").status_code == 200)
        assert two.post("/v1/feedback", json={"prediction_id": prediction, "label": "circle"}).status_code == 202
    (event,) = [event for event in opened.ledger.events("shapes", 0) if event.source == Feedback(scene="s").source]
    assert event.label == "circle"
    opened.close()
