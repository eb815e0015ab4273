"""Labels that wait, heads that are held, who labels, and the queue: their HTTP contract and their commands."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from core.config import ServeSettings, Settings
from core.home import Home, open_home
from learner.loop import Learner
from learner.metrics import Metrics
from lepton.main import run
from service.api.application import application
from service.bootstrap import build
from tests import pico
from tests.asking import MOST, instance, predicted, refused
from tests.waiting import until


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    opened = open_home(
        Settings(home=tmp_path_factory.mktemp("home"), serve=ServeSettings(max_body_bytes=MOST, poll_seconds=0.01))
    )
    pico.register(opened)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def client(home: Home) -> Iterator[TestClient]:
    with TestClient(application(lambda: build(home.settings, 3), MOST), raise_server_exceptions=False) as made:
        until(lambda: made.get("/readyz").status_code == 200)
        yield made


@pytest.fixture(scope="module")
def teacher(home: Home) -> Learner:
    return Learner(home, "one", Metrics())


def learn(teacher: Learner) -> None:
    assert teacher.lead()
    teacher.step()


def say(client: TestClient, number: int, label: str, annotator: str, shown: str = "circle") -> str:
    body = {"scene": "shapes", "instance": instance(pico.picture(shown, number)), "label": label}
    told = client.post("/v1/feedback", json=body | {"annotator": annotator})
    assert told.status_code == 202
    return str(told.json()["event_id"])


@pytest.fixture
def lepton(home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command on the home; its exit code and what it printed."""
    monkeypatch.setenv("LEPTON_HOME", str(home.settings.home))

    def command(*words: str) -> tuple[int, str]:
        code = run(list(words))
        captured = capsys.readouterr()
        return code, captured.out + captured.err

    return command


def test_a_wrong_label_waits_says_so_and_is_released(client: TestClient, teacher: Learner, lepton: Any) -> None:
    assert lepton("hygiene", "shapes", "--second-opinion", "--confident", "0.7")[0] == 0
    event = say(client, 900, "square", "bob")
    learn(teacher)
    told = client.get(f"/v1/feedback/{event}").json()
    assert (told["status"], told["served_since"]) == ("held", None)
    assert told["held"]["reason"] == "second_opinion" and "'circle'" in told["held"]["words"]
    waiting = client.get("/v1/scenes/shapes/quarantine").json()
    assert [label["events"] for label in waiting["labels"]] == [[event]] and waiting["guard"] is None
    assert client.get("/v1/scenes/shapes").json()["held"] == 1
    assert event in lepton("labels", "held", "shapes", "--json")[1]
    assert client.post(f"/v1/feedback/{event}/release").status_code == 200
    learn(teacher)
    told = client.get(f"/v1/feedback/{event}").json()
    assert told["status"] == "accepted" and told["served_since"] is not None
    refused(client.post("/v1/feedback/none/release"), 404, "not_found")
    assert client.delete(f"/v1/feedback/{event}").status_code == 200
    refused(client.post(f"/v1/feedback/{event}/release"), 409, "withdrawn")
    assert lepton("hygiene", "shapes", "--reset")[0] == 0
    learn(teacher)


def test_annotators_are_told_apart_and_one_is_taken_out(client: TestClient, teacher: Learner, lepton: Any) -> None:
    for number in range(6):
        say(client, 910 + number, "circle", "ann")
        say(client, 910 + number, "square" if number < 3 else "circle", "mallory/<b>")
        say(client, 920 + number, "square", "ann", shown="square")
    learn(teacher)
    listed = {each["name"]: each for each in client.get("/v1/scenes/shapes/annotators").json()["annotators"]}
    assert listed["ann"]["labels"] == 12 and listed["mallory/<b>"]["labels"] == 6
    assert listed["mallory/<b>"]["agreement"] == 0.5 and listed["ann"]["shared"] == 6
    one = client.get("/v1/scenes/shapes/annotators/mallory/<b>").json()
    assert one["annotator"]["name"] == "mallory/<b>" and one["without"]["anchors"] > 10
    assert 0 <= one["without"]["accuracy"] <= 1 and 0 <= one["without"]["accuracy_without"] <= 1
    refused(client.get("/v1/scenes/shapes/annotators/nobody"), 404, "not_found", "'ann'")
    refused(client.get("/v1/scenes/none/annotators"), 404, "not_found")
    assert "ann" in lepton("annotators", "shapes")[1]
    assert "accuracy without" in lepton("annotators", "shapes", "--without", "ann")[1]
    gone = client.delete("/v1/scenes/shapes/annotators/mallory/<b>/labels")
    assert (gone.status_code, gone.json()["events"]) == (200, 6)
    refused(client.delete("/v1/scenes/shapes/annotators/mallory/<b>/labels"), 404, "not_found")
    refused(client.delete("/v1/scenes/shapes/annotators/training/labels"), 422, "invalid_input", "no annotator")
    learn(teacher)
    assert "12 labels" in lepton("annotators", "shapes", "--remove", "ann")[1]
    learn(teacher)
    assert client.get("/v1/scenes/shapes/annotators").json()["annotators"] == []


def test_a_held_head_is_shown_and_accepted(client: TestClient, home: Home, teacher: Learner, lepton: Any) -> None:
    refused(client.post("/v1/scenes/shapes/guard/accept"), 404, "not_found", "is held")
    for number in range(12):
        for shown in ("circle", "square"):
            say(client, 1000 + number, shown, "ann", shown=shown)
    learn(teacher)
    events = [say(client, 1100 + n, "triangle", "mallory", shown=("circle", "square")[n % 2]) for n in range(60)]
    learn(teacher)
    hold = client.get("/v1/scenes/shapes").json()["guard"]
    assert hold is not None and hold["annotator"] == "mallory" and set(hold["events"]) <= set(events)
    told = client.get(f"/v1/feedback/{events[0]}").json()
    assert (told["status"], told["held"]["reason"]) == ("held", "guard")
    assert "guard accept shapes" in lepton("guard", "show", "shapes")[1]
    assert lepton("guard", "accept", "shapes")[0] == 0
    learn(teacher)
    assert client.get("/v1/scenes/shapes").json()["guard"] is None
    assert client.get(f"/v1/feedback/{events[0]}").json()["served_since"] is not None
    actions = [row["action"] for row in client.get("/v1/scenes/shapes/versions").json()["history"]]
    assert actions[:3] == ["lift", "accept", "hold"]
    assert "no head of shapes is held" in lepton("guard", "show", "shapes")[1]
    assert client.delete("/v1/scenes/shapes/annotators/mallory/labels").json()["events"] == 60
    learn(teacher)


def test_the_queue_offers_by_strategy_and_by_lot_and_for_label_studio(client: TestClient, home: Home) -> None:
    ids = [predicted(client, 2000 + number)["prediction_id"] for number in range(12)]
    until(lambda: len(home.predictions.find(ids)) == len(ids))
    ask: Any = lambda **more: client.get("/v1/queue", params={"scene": "shapes", **more})  # noqa: E731
    items = ask(limit=5, strategy="diverse").json()["items"]
    assert len({item["example"] for item in items}) == 5 and all(item["why"] for item in items)
    chances = home.offers.chances("shapes", "", [item["example"] for item in items])
    by_lot = [item["example"] for item in items if item["why"] == "by lot"]
    assert len(by_lot) == 1 and chances.keys() == {item["example"] for item in items}
    assert sorted(chances.values())[0] == chances[by_lot[0]] == 1 / 8
    tasks = ask(limit=3, format="label-studio").json()
    shown = tasks[0]["data"]["image"].removeprefix("data:image/png;base64,")
    assert base64.b64decode(shown).startswith(b"\x89PNG")
    assert tasks[0]["predictions"][0]["result"][0]["value"]["choices"][0] in pico.LABELS


def test_labels_go_out_and_come_back_in(client: TestClient, lepton: Any, tmp_path: Path) -> None:
    event = say(client, 3000, "circle", "=ann")
    for name, format in (("l.json", "label-studio"), ("l.csv", "csv")):
        file = tmp_path / name
        assert lepton("labels", "export", "shapes", str(file), "--format", format)[0] == 0
        code, text = lepton("labels", "import", "shapes", str(file), "--json")
        counts = json.loads(text)
        assert code == 0 and counts["accepted"] == counts["corrected"] == 0 and counts["duplicate"] > 0
    with file.open(newline="") as rows:
        assert "'=ann" in {row["annotator"] for row in csv.DictReader(rows)}
    tasks = json.loads((tmp_path / "l.json").read_text())
    (mine,) = (t for t in tasks if t["annotations"][0]["result"][0]["id"] == event)
    mine["annotations"][0]["result"][0]["value"]["choices"] = ["square"]
    data = base64.b64encode(pico.picture("square", 3001)).decode()
    result = {"id": "r", "type": "choices", "value": {"choices": ["square"]}}
    annotation = {"id": 1, "completed_by": 5, "result": [result]}
    fresh = {"data": {"image": f"data:image/png;base64,{data}"}, "annotations": [annotation]}
    (tmp_path / "l.json").write_text(json.dumps([mine, fresh]))
    code, text = lepton("labels", "import", "shapes", str(tmp_path / "l.json"), "--json")
    assert code == 0 and {k: v for k, v in json.loads(text).items() if v} == {
        "scene": "shapes",
        "accepted": 1,
        "corrected": 1,
    }
    unknown = tmp_path / "unknown.csv"
    unknown.write_text("event_id,example,label,value,annotator,source,confidence\n,abc,circle,,,,\n")
    code, text = lepton("labels", "import", "shapes", str(unknown))
    assert code == 1 and "is not known here" in text
    assert client.get("/v1/scenes/shapes/annotators/5").json()["annotator"]["labels"] == 1
