"""A challenger over HTTP: who answers whom, what labels amount to, and what both versions are measured by."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from core.config import ServeSettings, Settings
from core.database import predictions
from core.home import Home, open_home
from core.lease import acquire
from core.promotion import prepare, watch_over
from core.types import Version
from service.api.application import application
from service.bootstrap import build
from service.engine.faults import FAILURES
from tests import pico
from tests.asking import MOST, PNG, instance, refused
from tests.waiting import until

PATH = "/v1/scenes/shapes/challenger"
KEYS = [f"patient {number}" for number in range(40)]


class Place:
    """A home with two versions, and its service in this process."""

    def __init__(self, home: Home, client: TestClient, champion: Version, challenger: Version) -> None:
        self.home, self.client, self.champion, self.challenger = home, client, champion, challenger

    def begin(self, mode: str, share: float) -> Any:
        generation = self.home.challenges.generation("shapes")
        body = {"version": self.challenger.version, "mode": mode, "share": share, "expected_generation": generation}
        return self.client.put(PATH, json=body)

    def ask(self, number: int, label: str = "circle", key: str | None = None) -> dict[str, Any]:
        headers = PNG | ({"Lepton-Key": key} if key else {})
        answer = self.client.post("/v1/scenes/shapes/predict", content=pico.picture(label, number), headers=headers)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def versions(self, keys: list[str]) -> dict[str, str]:
        return {key: self.ask(9000, key=key)["version"] for key in keys}

    def logged(self, role: str) -> list[Any]:
        with self.home.predictions.database.read() as connection:
            return list(connection.execute(sa.select(predictions).where(predictions.c.role == role)))

    def both_serve(self) -> bool:
        return set(self.versions(KEYS).values()) == {self.champion.version, self.challenger.version}


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    settings = Settings(home=tmp_path, serve=ServeSettings(max_body_bytes=MOST, poll_seconds=0.01))
    home = open_home(settings)
    made = pico.register(home)
    newer = pico.another(home, made.scene, seed=1)
    with TestClient(application(lambda: build(settings, 3), MOST), raise_server_exceptions=False) as client:
        until(lambda: client.get("/readyz").status_code == 200)
        yield Place(home, client, made.version, newer)
    home.close()


def test_a_challenge_that_cannot_be_is_refused_with_the_reason(place: Place) -> None:
    refused(place.client.get(PATH), 404, "not_found", "has no challenger", "expected_generation 0")
    refused(place.client.delete(PATH), 404, "not_found", "has no challenger")
    refused(place.client.get("/v1/scenes/none/challenger"), 404, "not_found", "shapes")
    refused(place.client.delete("/v1/scenes/none/challenger"), 404, "not_found", "shapes")
    good = {"version": place.challenger.version, "mode": "split", "share": 0.5, "expected_generation": 0}
    for change, status, word in (
        ({"version": place.champion.version}, 422, "is the champion"),
        ({"version": "0" * 64}, 404, "no version"),
        ({"mode": "duel"}, 422, "mode"),
        ({"share": 1.5}, 422, "share"),
        ({"share": "half"}, 422, "share"),
        ({"expected_generation": 3}, 409, "generation 0, not 3"),
        ({"more": 1}, 422, "more"),
    ):
        answer = place.client.put(PATH, json=good | change)
        assert answer.status_code == status and word in answer.text, answer.text
    refused(
        place.client.put(PATH, content=b"{", headers={"content-type": "application/json"}), 400, "malformed_request"
    )
    assert place.client.get("/v1/scenes/shapes").json()["challenger"] is None


def test_a_split_shares_keys_and_every_answer_names_its_version(place: Place) -> None:
    assert place.begin("split", 0.5).status_code == 200
    until(place.both_serve)
    told = place.versions(KEYS)
    assert 8 <= Counter(told.values())[place.challenger.version] <= 32
    assert place.versions(KEYS) == told, "a key stays with its version"
    shown = place.client.get("/v1/scenes/shapes").json()
    assert (shown["challenger"]["version"], shown["challenger"]["share"]) == (place.challenger.version, 0.5)
    assert shown["champion"]["version"] == shown["serving"]["version"] == place.champion.version
    assert shown["serving"]["beside"] == [place.challenger.version]
    # a key in the JSON is the same key, and without one the picture decides, however it is sent
    one = {"instances": [instance(pico.picture("circle", 9000))], "key": KEYS[0]}
    answer = place.client.post("/v1/scenes/shapes/predict", json=one)
    assert answer.json()["version"] == told[KEYS[0]]
    raw = {n: place.ask(n)["version"] for n in range(9100, 9130)}
    assert len(set(raw.values())) == 2
    for number, version in raw.items():
        body = {"instances": [instance(pico.picture("circle", number))]}
        assert place.client.post("/v1/scenes/shapes/predict", json=body).json()["version"] == version
    refused(
        place.client.post("/v1/scenes/shapes/predict", content=b"x", headers=PNG | {"Lepton-Key": "x" * 201}),
        422,
        "invalid_input",
    )
    ended = place.client.delete(PATH)
    assert (ended.status_code, ended.json()["generation"]) == (200, 2)
    until(lambda: set(place.versions(KEYS).values()) == {place.champion.version})


def test_the_open_inference_protocol_takes_the_same_key(place: Place) -> None:
    place.begin("split", 0.5)
    until(place.both_serve)
    data = [base64.b64encode(pico.picture("circle", 9000)).decode()]
    body = {"inputs": [{"name": "encoded_image", "shape": [1], "datatype": "BYTES", "data": data}]}
    for key, version in place.versions(KEYS[:12]).items():
        answer = place.client.post("/v2/models/shapes/infer", json=body, headers={"Lepton-Key": key})
        assert answer.status_code == 200, answer.text
        assert answer.json()["model_version"] == version
    named = f"/v2/models/shapes/versions/{place.champion.version}/infer"
    for key in KEYS[:12]:
        answer = place.client.post(named, json=body, headers={"Lepton-Key": key})
        assert answer.json()["model_version"] == place.champion.version


def test_a_shadow_is_logged_with_its_answer_and_one_label_measures_both(place: Place) -> None:
    place.begin("shadow", 1.0)
    until(lambda: place.ask(9000) and place.logged("shadow"))
    answers = [place.ask(number, label) for number in range(300, 304) for label in ("circle", "square")]
    assert {answer["version"] for answer in answers} == {place.champion.version}, "a shadow answers nobody"
    given = [answer["predictions"][0]["prediction_id"] for answer in answers]
    until(lambda: set(given) <= {row.parent for row in place.logged("shadow")})
    shadows = {row.parent: row for row in place.logged("shadow")}
    for row in (row for row in place.logged("champion") if row.prediction_id in given):
        shadow = shadows[row.prediction_id]
        assert (shadow.example, shadow.version) == (row.example, place.challenger.version)
        assert shadow.extractor != row.extractor
    for number, prediction in enumerate(given):
        body = {"prediction_id": prediction, "label": ("circle", "square")[number % 2]}
        assert place.client.post("/v1/feedback", json=body).json()["status"] == "accepted"
    whole = place.client.get(PATH).json()
    told = whole["comparison"]
    assert whole["bounds"] == [], "there is no version before the champion"
    assert (told["metric"], told["paired"]) == ("accuracy", 8)
    assert told["champion"]["count"] == told["challenger"]["count"] == 8
    assert 0 <= told["challenger"]["low"] <= told["challenger"]["value"] <= told["challenger"]["high"] <= 1
    assert 0 <= told["agreement"] <= 1
    queued = place.client.get("/v1/queue", params={"scene": "shapes", "limit": 500}).json()["items"]
    assert {item["prediction_id"] for item in queued} <= {row.prediction_id for row in place.logged("champion")}


def test_where_the_challenger_fails_the_champion_answers_and_the_challenge_ends(place: Place) -> None:
    place.begin("split", 1.0)
    until(lambda: place.ask(9000)["version"] == place.challenger.version)
    newest = place.home.registry.latest_revision("shapes", place.challenger.version)
    lease = acquire(place.home.ledger.database, "learner", "test", 60)
    assert newest is not None and lease is not None
    (row, *_) = until(lambda: place.logged("challenger"))
    signs_D = np.sign(np.frombuffer(row.features, np.int16)).astype(np.float32)
    huge = np.outer(signs_D, np.full(3, np.finfo(np.float32).max, np.float32))  # finite; for this picture no answer is
    place.home.registry.publish(
        "shapes", place.challenger.version, replace(newest.head, weight=huge), lease=lease, keep=9
    )
    until(lambda: place.ask(9000)["version"] == place.champion.version)
    for _ in range(FAILURES):  # a client's bad input between them says nothing for the challenger
        assert place.client.post("/v1/scenes/shapes/predict", content=b"no picture", headers=PNG).status_code == 415
        assert place.ask(9000)["version"] == place.champion.version
    until(lambda: place.client.get("/v1/scenes/shapes").json()["challenger"] is None)
    listed = place.client.get("/v1/scenes/shapes/versions").json()["versions"]
    assert listed[1]["state"] == "quarantined" and "failed on live traffic" in listed[1]["reason"]
    assert listed[0]["champion"]


def test_where_a_champion_on_probation_fails_the_one_before_answers_and_comes_back(place: Place) -> None:
    put = place.client.put(
        "/v1/scenes/shapes/champion", json={"version": place.challenger.version, "expected_generation": 1}
    )
    assert put.status_code == 200, put.text
    assert watch_over(place.home, "shapes", place.champion.version) == ""
    until(lambda: place.ask(9000)["version"] == place.challenger.version)
    newest = place.home.registry.latest_revision("shapes", place.challenger.version)
    lease = acquire(place.home.ledger.database, "learner", "test", 60)
    assert newest is not None and lease is not None
    rows = until(lambda: [row for row in place.logged("champion") if row.version == place.challenger.version])
    signs_D = np.sign(np.frombuffer(rows[0].features, np.int16)).astype(np.float32)
    huge = np.outer(signs_D, np.full(3, np.finfo(np.float32).max, np.float32))
    until(lambda: place.ask(9000) and place.logged("shadow"))  # the one before is ready
    place.home.registry.publish(
        "shapes", place.challenger.version, replace(newest.head, weight=huge), lease=lease, keep=9
    )
    until(lambda: place.ask(9000)["version"] == place.champion.version)
    for _ in range(FAILURES):
        assert place.ask(9000)["version"] == place.champion.version
    until(lambda: place.client.get("/v1/scenes/shapes").json()["champion"]["version"] == place.champion.version)
    told = place.client.get("/v1/scenes/shapes/versions").json()
    assert told["versions"][1]["state"] == "quarantined" and "failed on live traffic" in told["versions"][1]["reason"]
    assert told["history"][0]["action"] in {"rollback", "end challenge"}


def test_one_call_brings_the_champion_before_back(place: Place) -> None:
    refused(place.client.post("/v1/scenes/none/rollback"), 404, "not_found", "shapes")
    refused(place.client.post("/v1/scenes/shapes/rollback"), 404, "not_found", "one champion only")
    body = {"version": place.challenger.version, "expected_generation": 1}
    assert place.client.put("/v1/scenes/shapes/champion", json=body).status_code == 200
    done = place.client.post("/v1/scenes/shapes/rollback")
    assert (done.status_code, done.json()) == (200, {"version": place.champion.version, "generation": 3})
    until(lambda: place.ask(9000)["version"] == place.champion.version)
    told = place.client.get("/v1/scenes/shapes/versions").json()
    assert told["history"][0]["action"] == "rollback" and told["versions"][0]["decision"] is None
    assert told["refused"] == []


def test_labels_of_what_the_challenger_answered_teach_the_champion(place: Place) -> None:
    place.begin("split", 1.0)
    until(lambda: place.ask(9000)["version"] == place.challenger.version)
    prediction = place.ask(700)["predictions"][0]["prediction_id"]
    answer = place.client.post("/v1/feedback", json={"prediction_id": prediction, "label": "circle"})
    assert answer.json()["status"] == "accepted"
    for version in (place.champion, place.challenger):
        follower = place.home.follower(place.home.registry.scene("shapes"), version)
        follower.catch_up()
        assert not follower.missing


def test_a_promoted_challenger_answers_everybody(place: Place) -> None:
    place.begin("split", 0.5)
    until(place.both_serve)
    prepare(place.home, "shapes", place.challenger.version, lambda done, total: None)
    body = {"version": place.challenger.version, "expected_generation": 1}
    assert place.client.put("/v1/scenes/shapes/champion", json=body).status_code == 200
    until(lambda: set(place.versions(KEYS).values()) == {place.challenger.version})
    assert place.client.get("/v1/scenes/shapes").json()["challenger"] is None


def test_workers_and_a_lifted_quarantine_are_told(place: Place) -> None:
    until(lambda: place.client.get("/v1/scenes/shapes").json()["workers"]["total"] == 1)
    workers = place.client.get("/v1/scenes/shapes").json()["workers"]
    assert (workers["on_champion"], workers["skew_seconds"]) == (1, 0.0)
    assert [(each["worker"], each["version"]) for each in workers["serving"]] == [("3", place.champion.version)]
    assert 'lepton_version_skew_seconds{scene="shapes"} 0.0' in place.client.get("/metrics").text
    path = f"/v1/scenes/shapes/versions/{place.challenger.version}"
    refused(place.client.put(path, json={"state": "ready"}), 409, "conflict", "is not quarantined")
    place.home.registry.quarantine("shapes", place.challenger.version, "a full disk")
    listed = place.client.get("/v1/scenes/shapes/versions").json()["versions"]
    assert [(each["state"], each["reason"]) for each in listed] == [("ready", ""), ("quarantined", "a full disk")]
    refused(place.client.put(path, json={"state": "quarantined"}), 422, "invalid_input", "state")
    answer = place.client.put(path, json={"state": "ready"})
    assert (answer.status_code, answer.json()["state"]) == (200, "ready")
