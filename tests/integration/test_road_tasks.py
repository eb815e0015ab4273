"""The whole road of a scene with two tasks: from two label columns to a service that learns each of them exactly."""

from __future__ import annotations

import json
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core import bundle
from core.head import HeadState
from core.home import Home
from core.types import Head, Scene, Version
from lepton.client import Client
from lepton.imports import bring
from lepton.main import run
from service.engine.prepare import check_golden, prepare
from tests import rows, several
from tests.homes import home_at, told
from tests.processes import house
from tests.several import FIRST, SCENE, SECOND
from tests.waiting import until


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return several.adapted(tmp_path_factory.mktemp("road"))


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    assert run([*arguments, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def served(home: Home) -> tuple[Scene, Version, Head]:
    (version,) = home.registry.versions(SCENE)
    revision = home.registry.latest_revision(SCENE, version.version)
    assert revision is not None
    return home.registry.scene(SCENE), version, revision.head


def from_scratch(home: Home, task: Scene, version: Version) -> object:
    """The head of one task, fitted on nothing but the rows of its standing labels."""
    follower = home.follower(home.registry.scene(SCENE), version)
    follower.catch_up()
    (followed,) = (each for each in follower.tasks if each.task.task_name == task.task_name)
    state = HeadState(follower.width, task=task.task, declared=task.labels, key=task.hash_key)
    state.add(reversed(list(followed.state.rows.values())))
    return told(state.solve())


def test_labels_of_the_second_task_move_its_head_alone_and_a_withdrawal_brings_back_every_bit(place: Path) -> None:
    with house(place) as running, closing(running.open()) as home, ExitStack() as stack:
        running.start_service(workers=1)
        running.start_learner()
        client, instance = Client(running.url), {"features": rows.row(700)}
        stack.callback(client.http.close)
        (first,) = client.predict(SCENE, [instance])
        scene, version, stored = served(home)
        receipts = [
            client.http.post(
                "/v1/feedback",
                json={"scene": SCENE, "instance": {"features": rows.row(n)}, "task": SECOND, "value": 3.0},
            ).json()
            for n in (700, 701, 702)
        ]
        until(lambda: home.holds.of(SCENE))  # no loan of 57 is worth as much: the guard wants somebody to look
        assert client.predict(SCENE, [instance])[0]["tasks"] == first["tasks"]
        home.holds.accept(SCENE)
        client.wait_learned(SCENE, instance, receipts[-1]["sequence"])
        (second,) = client.predict(SCENE, [instance])
        assert second["tasks"][SECOND]["value"] > first["tasks"][SECOND]["value"] + 0.1
        assert second["tasks"][FIRST] == first["tasks"][FIRST]
        learned = served(home)[2]
        assert learned.weight.tobytes() == stored.weight.tobytes()
        assert learned.of(SECOND).weight.tobytes() != stored.of(SECOND).weight.tobytes()
        for task in scene.tasks:
            assert told(learned.of(task.task_name)) == from_scratch(home, task, version)
        gone = [client.withdraw(receipt["event_id"]) for receipt in receipts]
        client.wait_learned(SCENE, instance, gone[-1]["sequence"])
        until(lambda: served(home)[2].sequence == gone[-1]["sequence"])
        for task in scene.tasks:
            assert told(served(home)[2].of(task.task_name)) == told(stored.of(task.task_name))
        assert client.predict(SCENE, [instance])[0]["tasks"] == first["tasks"]


def test_every_task_is_measured_listed_and_told_on_the_command_line(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LEPTON_HOME", str(place))
    data = place.parent / "loans.csv"
    measured = printed(capsys, "evaluate", SCENE, str(data))
    assert list(measured["tasks"]) == [FIRST, SECOND] and measured["metrics"] == measured["tasks"][FIRST]["metrics"]
    assert measured["tasks"][SECOND]["metrics"]["r2"]["value"] > 0.9
    assert 0 < measured["tasks"][FIRST]["learned"] < measured["tasks"][FIRST]["examples"] == 75
    alone = printed(capsys, "evaluate", SCENE, str(data), "--label", SECOND)
    assert alone["metrics"] == measured["tasks"][SECOND]["metrics"] and "tasks" not in alone
    (answer,) = printed(capsys, "predict", SCENE, "--features", json.dumps(rows.row(300)))
    assert answer["tasks"][FIRST]["label"] == answer["label"] and "value" in answer["tasks"][SECOND]
    assert printed(capsys, "scenes")[0]["tasks"][SECOND] == {"task": "regression", "labels": ["value"]}
    (version,) = printed(capsys, "versions", SCENE)
    assert [task["name"] for task in version["manifest"]["further"]] == [SECOND]
    assert run(["versions", SCENE]) == 0 and run(["predict", SCENE, "--features", json.dumps(rows.row(300))]) == 0
    shown = capsys.readouterr().out
    assert f"{FIRST} label" in shown and f"{SECOND} value" in shown and "worth R²" in " ".join(shown.split())
    assert run(["evaluate", SCENE, str(data), "--label", "town"]) == 1
    assert f"choose one of: {FIRST}, {SECOND}" in capsys.readouterr().err


def test_the_bundle_says_all_of_every_task_and_can_be_carried_to_another_home(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LEPTON_HOME", str(place))
    printed(capsys, "export", SCENE, "--out", str(tmp_path / "out"), "--statistics")
    held = bundle.read(tmp_path / "out")
    assert held.manifest.task_name == FIRST and held.manifest.further[0].target_scale > 1
    card = (tmp_path / "out" / "card.md").read_text()
    assert f"### Task `{FIRST}`" in card and f"### Task `{SECOND}`" in card and "| r2 |" in card
    assert (tmp_path / "out" / f"statistics.{SECOND}.safetensors").stat().st_size > 0
    other = home_at(tmp_path / "other")
    made = bring(other, "credits", tmp_path / "out")
    scene = other.registry.scene("credits")
    assert [(task.task_name, task.task) for task in scene.tasks] == [(FIRST, "classification"), (SECOND, "regression")]
    snapshot = prepare(other, scene, made.version, threads=1, device="cpu", max_batch=4, trial=lambda version: None)
    assert snapshot.further == {SECOND: ("value",)}
    head = other.registry.first_head("credits", made.version)
    assert head is not None
    output = snapshot.run([snapshot.preprocessor.read(json.dumps(rows.row(3)).encode())])
    assert set(output.further) == {SECOND} and np.isfinite(output.further[SECOND]).all()
    wrong = replace(held, golden=replace(held.golden, further={SECOND: held.golden.further[SECOND] + 9.0}))
    with pytest.raises(Exception, match="answers its golden rows differently"):
        check_golden(wrong, snapshot.session, 4)
    with pytest.raises(Exception, match="for the further tasks"):
        check_golden(replace(held, golden=replace(held.golden, further={})), snapshot.session, 4)
    other.close()


def test_a_second_version_keeps_the_tasks_and_other_tasks_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = several.adapted(tmp_path)
    monkeypatch.setenv("LEPTON_HOME", str(home))
    data = str(tmp_path / "loans.csv")
    again = printed(capsys, "adapt", SCENE, data, "--backbone", "table_random")
    assert list(again["tasks"]) == [FIRST, SECOND] and not again["champion"]
    assert run(["promote", SCENE, again["version"]]) == 0
    with closing(home_at(home)) as opened:
        latest = opened.registry.latest_revision(SCENE, again["version"])
        assert latest is not None and latest.number == 1
        scene, version = opened.registry.scene(SCENE), opened.registry.version(SCENE, again["version"])
        for task in scene.tasks:
            assert told(latest.head.of(task.task_name)) == from_scratch(opened, task, version)
    for columns in ((FIRST,), (SECOND, FIRST)):
        named = [option for column in columns for option in ("--label", column)]
        assert run(["adapt", SCENE, data, "--backbone", "table_linear", *named]) == 1
        assert "is a classification credit, regression worth of tabular" in capsys.readouterr().err
