"""The robustness table, on a small real model and from the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.config import Settings
from core.home import Home, open_home
from lepton.main import run
from tests import pico
from training.robustness import SEVERITIES, corruption


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    monkeypatch.setenv("LEPTON_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LEPTON_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    opened = open_home(Settings(home=tmp_path / "home"))
    pico.register(opened)
    for label in pico.LABELS:
        for number in range(100, 106):
            file = tmp_path / "held" / label / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(pico.picture(label, number))
    yield opened
    opened.close()


def test_the_table_has_every_kind_in_every_severity_with_paired_drops(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["evaluate", "shapes", "held", "--robustness", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    cells = {(each["kind"], each["severity"]): each for each in told["robustness"]}
    assert set(cells) == {(kind, severity) for kind in corruption("image").KINDS for severity in SEVERITIES}
    whole = told["metrics"]["balanced_accuracy"]["value"]
    for each in cells.values():
        assert each["change"]["value"] == pytest.approx(each["score"]["value"] - whole)
        assert each["change"]["low"] <= each["change"]["value"] <= each["change"]["high"]
    assert cells["noise", 3]["score"]["value"] <= cells["noise", 1]["score"]["value"]


def test_the_table_is_printed_a_kind_a_line(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["evaluate", "shapes", "held", "--robustness"]) == 0
    shown = capsys.readouterr().out
    assert all(kind in shown for kind in corruption("image").KINDS)
    assert "mean over all damage" in shown
    assert run(["evaluate", "shapes", "held"]) == 0
    assert "pixelate" not in capsys.readouterr().out
