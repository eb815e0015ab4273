"""What the README tells people to type exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from lepton.main import app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = typer.main.get_command(app)


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`?lepton ([a-z]+)\b(?! over)", README))))
def test_every_lepton_command_that_is_named_exists(name: str) -> None:
    assert name in getattr(COMMANDS, "commands", {})


def test_every_lepton_command_is_named() -> None:
    assert {name for name in getattr(COMMANDS, "commands", {}) if f"lepton {name}" not in README} <= {
        "promote",
        "rollback",
        "demo",
    }


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`?make ([a-z]+)", README))))
def test_every_make_target_that_is_named_exists(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("option", sorted(set(re.findall(r"lepton [^\n`]*?(--[a-z-]+)", README))))
def test_every_option_that_is_named_exists(option: str) -> None:
    options = {
        text for command in getattr(COMMANDS, "commands", {}).values() for p in command.params for text in p.opts
    }
    assert option in options


@pytest.mark.parametrize("link", sorted(set(re.findall(r"`((?:docs|core)/[\w./-]+)`", README))))
def test_every_place_that_is_named_exists(link: str) -> None:
    assert (ROOT / link).exists()
