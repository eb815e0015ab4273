"""Several tasks of one scene over HTTP: what an answer tells, and labels, corrections and the queue for one of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from core.config import ServeSettings, Settings
from core.home import Home, open_home
from service.api.application import application
from service.bootstrap import build
from tests import pico, rows, several
from tests.asking import MOST, refused
from tests.several import FIRST, SCENE, SECOND
from tests.waiting import until

PREDICT = f"/v1/scenes/{SCENE}/predict"
V2 = f"/v2/models/{SCENE}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return several.adapted(tmp_path_factory.mktemp("tasks"))


@pytest.fixture(scope="module")
def home(place: Path) -> Iterator[Home]:
    opened = open_home(Settings(home=place, serve=ServeSettings(max_body_bytes=MOST, poll_seconds=0.01)))
    rows.register(opened, "plain")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def client(home: Home) -> Iterator[TestClient]:
    with TestClient(application(lambda: build(home.settings, 1), MOST), raise_server_exceptions=False) as made:
        until(lambda: made.get("/readyz").status_code == 200)
        yield made


def asked(client: TestClient, number: int, scene: str = SCENE, **more: Any) -> dict[str, Any]:
    body = {"instances": [{"features": rows.row(number)}], **more}
    answer = client.post(f"/v1/scenes/{scene}/predict", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["predictions"][0])


def told(client: TestClient, **body: Any) -> Any:
    return client.post("/v1/feedback", json=body)


def test_an_answer_has_the_first_task_s_fields_and_every_task_by_its_name(client: TestClient) -> None:
    found = asked(client, 500)
    assert [key for key in found if key != "flags"] == [
        "prediction_id",
        "label",
        "confidence",
        "probabilities",
        "tasks",
    ]
    assert list(found["tasks"]) == [FIRST, SECOND]
    assert found["tasks"][FIRST] == {name: found[name] for name in ("label", "confidence", "probabilities")}
    assert abs(found["tasks"][SECOND]["value"] - rows.score(rows.row(500))) < 1
    assert list(found["tasks"][SECOND]) == ["value"]
    assert list(asked(client, 500, top_k=1)["tasks"][FIRST]["probabilities"]) == [found["label"]]


def test_an_answer_of_a_scene_with_one_task_has_the_fields_that_it_had(client: TestClient) -> None:
    found = asked(client, 500, "plain")
    assert set(found) - {"flags"} == {"prediction_id", "label", "confidence", "probabilities"}
    assert "tasks" not in client.get("/v1/scenes/plain").json()
    assert all("tasks" not in version for version in client.get("/v1/scenes/plain/versions").json()["versions"])
    refused(
        told(client, prediction_id=found["prediction_id"], label="good", task="x"), 422, "invalid_input", "one task"
    )


def test_the_scene_tells_labels_and_metrics_of_every_task(client: TestClient) -> None:
    scene = client.get(f"/v1/scenes/{SCENE}").json()
    assert list(scene["tasks"]) == [FIRST, SECOND]
    first, second = scene["tasks"].values()
    assert (first["task"], first["labels"], first["labels_served"]) == (
        "classification",
        ["bad", "good"],
        ["bad", "good"],
    )
    assert (second["task"], second["labels"], second["labels_served"]) == ("regression", [], ["value"])
    assert (
        first["metrics"] == scene["metrics"] and "balanced_accuracy" in first["metrics"] and "r2" in second["metrics"]
    )
    (version,) = client.get(f"/v1/scenes/{SCENE}/versions").json()["versions"]
    assert set(version["tasks"][SECOND]["metrics"]) == set(second["metrics"])
    assert "metrics" not in client.get("/v1/scenes").json()["scenes"][0].get("tasks", {}).get(FIRST, {})


def test_a_label_is_of_the_task_that_it_names_and_of_the_first_where_it_names_none(client: TestClient) -> None:
    made = asked(client, 510)["prediction_id"]
    for body, task in (({"label": "good"}, FIRST), ({"value": 1.5, "task": SECOND}, SECOND)):
        answer = told(client, prediction_id=made, **body)
        assert answer.status_code == 202, answer.text
        event = client.get(f"/v1/feedback/{answer.json()['event_id']}").json()
        assert (event["task"], event["status"], event["scene"]) == (task, "accepted", SCENE)
    line = json.dumps({"prediction_id": made, "value": 0.5, "task": SECOND})
    batch = client.post("/v1/feedback:batch", content=line, headers={"content-type": "application/x-ndjson"})
    assert json.loads(batch.text)["status"] == "accepted"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"label": "good", "task": "colour"}, ["has no task 'colour'", "choose one of: credit, worth"]),
        ({"value": 1.0, "task": FIRST}, ["task 'credit' of scene 'loans' is a classification", "send a text as label"]),
        ({"value": 1.0}, ["is a classification"]),
        (
            {"label": "good", "task": SECOND},
            ["task 'worth' of scene 'loans' is a regression", "send a number as value"],
        ),
        ({"value": 1e9, "task": SECOND}, ["out of range"]),
        ({"label": "good", "task": ""}, ["has no task ''"]),
        ({"label": "good", "task": 7}, ["task"]),
    ],
)
def test_a_label_that_does_not_fit_its_task_is_refused(
    client: TestClient, body: dict[str, Any], words: list[str]
) -> None:
    refused(told(client, prediction_id=asked(client, 511)["prediction_id"], **body), 422, "invalid_input", *words)


def test_a_correction_is_of_the_task_of_its_event(client: TestClient) -> None:
    made = asked(client, 512)["prediction_id"]
    event = told(client, prediction_id=made, value=1.0, task=SECOND, event_id="measured").json()["event_id"]
    refused(client.patch(f"/v1/feedback/{event}", json={"label": "good"}), 422, "invalid_input", "is a regression")
    assert client.patch(f"/v1/feedback/{event}", json={"value": 2.0}).json()["status"] == "accepted"
    assert told(client, prediction_id=made, value=1.0, task=SECOND, event_id="measured").json()["status"] == "duplicate"
    again = told(client, prediction_id=made, label="good", event_id="measured")
    refused(again, 409, "conflict", "another body")
    assert client.delete(f"/v1/feedback/{event}").json()["status"] == "withdrawn"


def test_the_queue_is_of_one_task(client: TestClient, home: Home) -> None:
    made = [asked(client, number)["prediction_id"] for number in range(520, 526)]
    until(lambda: len(home.predictions.find(made)) == len(made))
    assert told(client, prediction_id=made[0], label="bad").status_code == 202
    told(client, prediction_id=made[1], value=1.0, task=SECOND)
    first = client.get("/v1/queue", params={"scene": SCENE, "limit": 500}).json()
    second = client.get("/v1/queue", params={"scene": SCENE, "task": SECOND, "strategy": "random", "limit": 500}).json()
    ids = [{item["prediction_id"] for item in told["items"]} for told in (first, second)]
    assert (first["task"], second["task"]) == (FIRST, SECOND)
    assert made[0] not in ids[0] and made[1] in ids[0]
    assert made[0] in ids[1] and made[1] not in ids[1]
    assert all("margin" in item for item in first["items"]) and all("value" in item for item in second["items"])
    refused(client.get("/v1/queue", params={"scene": SCENE, "task": SECOND}), 422, "invalid_input", "no margin")
    refused(client.get("/v1/queue", params={"scene": SCENE, "task": "x"}), 422, "invalid_input", "choose one of")


def test_the_open_inference_protocol_lists_and_answers_further_outputs(client: TestClient) -> None:
    listed = {each["name"]: each["shape"] for each in client.get(V2).json()["outputs"]}
    assert list(listed) == ["probabilities", "label", "prediction_id", "value.worth", "features", "labels"]
    assert listed["value.worth"] == [-1]
    one = {"name": "features", "datatype": "BYTES", "shape": [2], "data": [json.dumps(rows.row(n)) for n in (500, 501)]}
    answer = client.post(f"{V2}/infer", json={"inputs": [one]}).json()
    found = {each["name"]: each["data"] for each in answer["outputs"]}
    assert set(found) == {"probabilities", "label", "prediction_id", "value.worth"}
    assert found["value.worth"] == pytest.approx([asked(client, n)["tasks"][SECOND]["value"] for n in (500, 501)])
    some = client.post(f"{V2}/infer", json={"inputs": [one], "outputs": [{"name": "value.worth"}]}).json()
    assert [each["name"] for each in some["outputs"]] == ["value.worth"]
    wrong = client.post(f"{V2}/infer", json={"inputs": [one], "outputs": [{"name": "value.credit"}]})
    assert wrong.status_code == 422
    assert "value.worth" in wrong.json()["error"]


def test_the_api_page_shows_tasks(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    answer = paths["/v1/scenes/{scene}/predict"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert "tasks" in answer["properties"]["predictions"]["items"]["properties"]
    body = paths["/v1/feedback"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert "task" in body["properties"]
    assert "task" in {parameter["name"] for parameter in paths["/v1/queue"]["get"]["parameters"]}


def test_a_new_class_of_one_task_is_served_and_the_other_task_is_not_moved(client: TestClient, home: Home) -> None:
    pico.learn(home, SCENE)
    until(lambda: client.get(f"/v1/scenes/{SCENE}").json()["serving"]["revision"] >= 1)
    before = asked(client, 530)
    for number in (531, 532):
        assert told(client, scene=SCENE, instance={"features": rows.row(number)}, label="odd").status_code == 202
    published = pico.learn(home, SCENE)
    until(lambda: client.get(f"/v1/scenes/{SCENE}").json()["serving"]["revision"] >= published.number)
    after = asked(client, 530)
    assert set(after["probabilities"]) == {"bad", "good", "odd"}
    assert after["tasks"][SECOND] == before["tasks"][SECOND]
    assert client.get(f"/v1/scenes/{SCENE}").json()["tasks"][FIRST]["labels_served"] == ["bad", "good", "odd"]


def test_a_task_of_which_nothing_stands_any_more_says_so_and_the_other_does_not(client: TestClient, home: Home) -> None:
    told_of_it = [e.event_id for e in home.ledger.events(SCENE, 0) if e.kind == "label" and e.task == SECOND]
    for event in told_of_it:
        if home.ledger.status(event).status != "withdrawn":
            home.ledger.withdraw(event)
    published = pico.learn(home, SCENE)
    until(lambda: client.get(f"/v1/scenes/{SCENE}").json()["serving"]["revision"] >= published.number)
    answer = client.post(PREDICT, json={"instances": [{"features": rows.row(540)}]}).json()
    (found,) = answer["predictions"]
    assert found["tasks"][SECOND]["fallback"] is True and "fallback" not in found["tasks"][FIRST]
    assert "fallback" not in answer and published.head.examples > 0
