"""The command line: exit codes, one line for an error, JSON where it is asked for."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from lepton.main import run
from tests.databases import Databases
from tests.homes import SCENE, declare, head_of, home_at, manifest_of
from tests.processes import free_port


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


def found(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, str]]:
    told = capsys.readouterr().out
    return {row["what"]: row for row in json.loads(told)}


def test_doctor_looks_at_the_server_that_several_hosts_share(
    home: Path, databases: Databases, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = databases.empty()
    monkeypatch.setenv("LEPTON_DATABASE_URL", url)
    assert run(["doctor", "--json"]) == 1
    rows = found(capsys)
    assert "sqlite" not in rows and databases.server.password not in str(rows)
    assert rows["postgresql"]["state"] == "ok" and "role lepton" in rows["postgresql"]["found"]
    assert "fsync" in rows["durability"]["found"], "the tests' server would lose labels with its machine"
    assert [rows[what]["state"] for what in ("clock", "connections", "artifacts", "home")] == ["ok"] * 4
    with closing(home_at(home, url)) as opened:
        declare(opened)
        opened.registry.register(SCENE, "a" * 64, manifest_of(), head_of(0.0))
    assert run(["doctor", "--json"]) == 1
    artifacts = found(capsys)["artifacts"]
    assert artifacts["state"] == "wrong" and SCENE in artifacts["found"] and "mount" in artifacts["remedy"]


def test_doctor_and_every_command_name_a_server_that_is_not_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LEPTON_DATABASE_URL", f"postgresql://u:hunter2@127.0.0.1:{free_port()}/x")
    assert run(["doctor", "--json"]) == 1
    row = found(capsys)["postgresql"]
    assert row["state"] == "wrong" and "Connection refused" in row["found"] and "server runs" in row["remedy"]
    assert run(["scenes"]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "Connection refused" in lines[0] and "hunter2" not in str(row) + lines[0]
