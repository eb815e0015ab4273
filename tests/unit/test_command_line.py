"""The command line: exit codes, one line for an error, JSON where it is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lepton.main import run


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LEPTON_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LEPTON_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def test_wrong_usage_exits_with_two(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["promote"]) == 2
    assert run(["no-such-command"]) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["versions", "ward"], "'ward'"),
        (["rollback", "ward"], "'ward'"),
        (["predict", "ward", "x.png"], "'ward'"),
        (["export", "ward", "--out", "o"], "'ward'"),
        (["adapt", "Ward!", "."], "'Ward!'"),
        (["adapt", "ward", "nowhere"], "nowhere"),
        (["adapt", "ward", ".", "--budget", "soon"], "'soon'"),
        (["adapt", "ward", ".", "--modality", "smell"], "'smell'"),
        (["adapt", "ward", ".", "--fuse", "all"], "'all'"),
        (["adapt", "ward", ".", "--recipe", "magic"], "closed_form"),
        (["adapt", "ward", ".", "--recipe", "search", "--set", "epochs=5"], "epochs"),
        (["adapt", "ward", ".", "--backbone", "no_such"], "efficientnet_lite0"),
    ],
)
def test_a_failure_is_one_line_with_the_thing_and_a_way_out(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 1
    lines = [line for line in capsys.readouterr().err.splitlines() if line and not line.startswith("…")]
    assert len(lines) == 1 and lines[0].startswith("error: ") and named in lines[0]


def test_a_broken_settings_file_is_named(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "lepton.toml").write_text("[serve]\nprot = 1\n")
    assert run(["scenes"]) == 1
    assert "prot" in capsys.readouterr().err


def test_an_empty_home_teaches_the_first_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["scenes"]) == 0
    assert "lepton adapt" in capsys.readouterr().out
    assert run(["scenes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_the_backbones_are_listed_with_licence_and_availability(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["backbones", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["efficientnet_lite0"]["licence"] == "Apache-2.0" and rows["efficientnet_lite0"]["offline"]


def test_doctor_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--json"]) == 0
    states = {row["what"]: row["state"] for row in json.loads(capsys.readouterr().out)}
    assert states["home"] == "ok" and states["training"] == "ok" and "wrong" not in states.values()


def test_doctor_names_a_home_that_cannot_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LEPTON_HOME", str(tmp_path / "file" / "home"))
    assert run(["doctor", "--json"]) == 1
    wrong = [row for row in json.loads(capsys.readouterr().out) if row["state"] == "wrong"]
    assert [row["what"] for row in wrong] == ["home"] and wrong[0]["remedy"]
