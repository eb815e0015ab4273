"""The whole road of a table by the command line: from a CSV file to a version that is served, and a network carried."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core import config
from core.home import open_home
from core.schema import FILE, from_bytes
from lepton.main import run
from tests import rows


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LEPTON_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    assert run([*arguments, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def test_a_table_becomes_a_version_that_answers_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = rows.csv(*rows.table_of(200), tmp_path / "loans.csv")
    done = told(capsys, "adapt", "loans", str(table))
    tried = {candidate["name"] for candidate in done["candidates"]}
    assert tried == {"table_linear", "table_quantile", "table_random"}
    assert done["metrics"]["leave_one_out_balanced_accuracy"]["value"] > 0.75
    bundle = open_home(config.load()).bundle(done["version"])
    schema = from_bytes(bundle.files[FILE])
    assert {column.name for column in schema.columns} == set(rows.COLUMNS)
    fresh = [rows.row(number) for number in range(300, 340)]
    asked = [option for cells in fresh for option in ("--features", json.dumps(cells))]
    answers = told(capsys, "predict", "loans", *asked)
    right = [answer["label"] == rows.label(cells) for answer, cells in zip(answers, fresh, strict=True)]
    assert sum(right) > 0.7 * len(right)


def test_a_network_of_one_table_serves_another(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = rows.csv(*rows.table_of(120), tmp_path / "source.csv")
    made = told(capsys, "pretrain", str(source), str(tmp_path / "network"))
    assert (made["rows"], made["columns"]) == (96, 5)
    target = rows.csv(*rows.table_of(60), tmp_path / "target.csv")
    done = told(capsys, "adapt", "loans", str(target), "--backbone", made["backbone"])
    (member,) = open_home(config.load()).bundle(done["version"]).manifest.members
    assert (member.name, member.source) == ("table_mlp:network", "folder network")
    assert run(["pretrain", str(source), str(tmp_path / "network")]) == 1
    assert "not an empty folder" in capsys.readouterr().err
