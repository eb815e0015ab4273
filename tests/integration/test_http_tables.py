"""Rows of a table in, answers out: what is missing, unseen or out of range is told, and what is no row is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from core.config import ServeSettings, Settings
from core.home import Home, open_home
from service.api.application import application
from service.bootstrap import build
from service.reading import INLINE_BYTES
from tests import pico, rows
from tests.asking import MOST, refused
from tests.waiting import until

PREDICT = "/v1/scenes/loans/predict"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    service = ServeSettings(max_body_bytes=MOST, max_instances=4, poll_seconds=0.01)
    opened = open_home(Settings(home=tmp_path_factory.mktemp("home"), serve=service))
    rows.register(opened)
    rows.register(opened, "worth", task="regression")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def client(home: Home) -> Iterator[TestClient]:
    with TestClient(application(lambda: build(home.settings, 3), MOST), raise_server_exceptions=False) as made:
        until(lambda: made.get("/readyz").status_code == 200)
        yield made


def asked(client: TestClient, *features: object, path: str = PREDICT) -> Any:
    return client.post(path, json={"instances": [{"features": each} for each in features]})


def test_a_row_is_answered_and_the_order_of_its_columns_makes_no_difference(client: TestClient) -> None:
    cells = rows.row(500)
    first, turned = asked(client, cells, dict(reversed(cells.items()))).json()["predictions"]
    assert first["probabilities"] == turned["probabilities"]
    assert set(first["probabilities"]) == set(rows.LABELS)


def test_rows_of_a_larger_request_are_read_by_one_thread_and_answered_alike(client: TestClient) -> None:
    instances = [{"features": each} for each in (rows.row(500), {"income": "3"}, rows.row(7))]
    content = json.dumps({"instances": instances})
    few, many = (
        client.post(PREDICT, content=content + " " * more, headers={"content-type": "application/json"})
        for more in (0, INLINE_BYTES["tabular"])
    )
    for small, large in zip(few.json()["predictions"], many.json()["predictions"], strict=True):
        assert small.get("error") == large.get("error")
        assert small.get("probabilities") == large.get("probabilities")
    assert [("error" in each) for each in many.json()["predictions"]] == [False, True, False]


def test_what_was_out_of_the_ordinary_is_told_in_the_answer_and_counted(client: TestClient) -> None:
    cells = {"income": 1e9, "job": "astronaut", "age": None, "since": "2015-01-01"}
    (found,) = asked(client, cells).json()["predictions"]
    assert found["flags"] == {"missing": ["age", "town"], "unseen": ["job"], "out_of_range": ["income"]}
    (usual,) = asked(client, rows.row(0)).json()["predictions"]
    assert "flags" not in usual
    assert 'lepton_flagged_total{flag="unseen",scene="loans"}' in client.get("/metrics").text


def test_a_regression_of_rows_answers_a_value(client: TestClient) -> None:
    cells = rows.row(500)
    (found,) = asked(client, cells, path="/v1/scenes/worth/predict").json()["predictions"]
    assert abs(found["value"] - rows.score(cells)) < 1


@pytest.mark.parametrize(
    ("features", "words"),
    [
        ({"incom": 3}, "did you mean 'income'"),
        ({"income": "3"}, "expected a number"),
        ({"income": True}, "expected a number"),
        ({"income": {"value": 3}}, "is an object"),
        ({"since": "yesterday"}, "expected a date"),
        (["income", 3], "not an object"),
        ("income", "not an object"),
        (None, "not an object"),
        ({"job": "x" * 1001}, "1001 characters"),
        ({str(n): n for n in range(2001)}, "at most 2000"),
    ],
)
def test_a_bad_row_answers_in_its_place_with_the_reason_and_spoils_no_other(
    client: TestClient, features: object, words: str
) -> None:
    answer = asked(client, features, rows.row(1))
    bad, good = answer.json()["predictions"]
    assert words in bad["error"]["message"] + bad["error"]["remedy"]
    assert good["label"] in rows.LABELS


@pytest.mark.parametrize("body", ['{"income": NaN}', '{"income": 1e999}', '{"job": "\\ud800"}', '{"income": }'])
def test_what_is_not_json_is_a_malformed_request(client: TestClient, body: str) -> None:
    content = f'{{"instances": [{{"features": {body}}}]}}'
    answer = client.post(PREDICT, content=content, headers={"content-type": "application/json"})
    refused(answer, 400, "malformed_request")


def test_a_label_for_a_row_is_learned_and_served(client: TestClient, home: Home) -> None:
    odd = {"income": 2000.0, "age": 44.0, "job": "nurse", "town": "town 0", "since": "2016-02-15"}
    (before,) = asked(client, odd).json()["predictions"]
    other = next(label for label in rows.LABELS if label != before["label"])
    by_id = client.post("/v1/feedback", json={"prediction_id": before["prediction_id"], "label": other})
    told = {"scene": "loans", "instance": {"features": json.loads(json.dumps(odd | {"age": 45}))}, "label": other}
    assert [by_id.status_code, client.post("/v1/feedback", json=told).status_code] == [202, 202]
    published = pico.learn(home, "loans")
    until(lambda: asked(client, odd).json()["revision"] == published.number)
    (after,) = asked(client, odd).json()["predictions"]
    assert after["probabilities"][other] > before["probabilities"][other]
