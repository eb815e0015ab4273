"""``lepton challenge`` and the lifting of a quarantine, as a user runs them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.config import Settings
from core.home import Home, open_home
from core.types import Version
from lepton.main import run
from tests import pico


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    monkeypatch.setenv("LEPTON_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LEPTON_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    opened = open_home(Settings(home=tmp_path / "home"))
    yield opened
    opened.close()


@pytest.fixture
def second(home: Home) -> Version:
    return pico.another(home, pico.register(home).scene, seed=1)


def test_a_challenge_is_begun_looked_at_and_stopped(
    home: Home, second: Version, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["challenge", "shapes", "2", "--mode", "split", "--share", "0.1"]) == 0
    assert f"{second.version[:12]} answers 10 % of the traffic" in capsys.readouterr().out
    held = home.challenges.of("shapes")
    assert held is not None and (held.version, held.mode, held.share) == (second.version, "split", 0.1)
    assert run(["challenge", "shapes"]) == 0
    assert "nothing is labelled yet" in capsys.readouterr().out
    assert told(["challenge", "shapes", "--json"], capsys)["comparison"]["metric"] == "accuracy"
    assert told(["challenge", "shapes", "2", "--json"], capsys)["mode"] == "shadow"
    assert run(["challenge", "shapes", "--stop"]) == 0
    assert home.challenges.of("shapes") is None
    assert run(["challenge", "shapes"]) == 0
    assert "has no challenger" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "named"),
    [
        (["shapes", "--stop"], 1, "has no challenger"),
        (["shapes", "1"], 1, "is the champion"),
        (["shapes", "9"], 1, "no version '9'"),
        (["shapes", "2", "--mode", "duel"], 1, "'duel'"),
        (["shapes", "2", "--share", "2"], 1, "share is 2"),
        (["shapes", "2", "--stop"], 2, "--stop"),
        (["nothing", "2"], 1, "'nothing'"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(
    second: Version, arguments: list[str], code: int, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["challenge", *arguments]) == code
    lines = [line for line in capsys.readouterr().err.splitlines() if line and not line.startswith("…")]
    assert len(lines) == 1 and named in lines[0]


def test_a_quarantine_is_lifted_from_the_list_of_versions(
    home: Home, second: Version, capsys: pytest.CaptureFixture[str]
) -> None:
    home.registry.quarantine("shapes", second.version, "a full disk")
    listed = told(["versions", "shapes", "--json"], capsys)
    assert [version["state"] for version in listed] == ["ready", "quarantined"]
    assert run(["promote", "shapes", "2"]) == 1
    assert "--release" in capsys.readouterr().err
    listed = told(["versions", "shapes", "--release", second.version[:12], "--json"], capsys)
    assert [version["state"] for version in listed] == ["ready", "ready"]
    assert run(["versions", "shapes", "--release", "2"]) == 1
    assert "is not quarantined" in capsys.readouterr().err


def told(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> Any:
    assert run(arguments) == 0
    return json.loads(capsys.readouterr().out)
