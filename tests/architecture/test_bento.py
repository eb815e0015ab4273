"""What a bento installs is the serving set of pyproject.toml and all it needs, at the versions of constraints.txt."""

from __future__ import annotations

import tomllib
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
HEADER = "# The serving set, pinned as in constraints.txt: what a bento installs; a test holds it to that.\n"


def serving_set() -> dict[str, set[str]]:
    """Names of all distributions that the base install needs, with the extras asked of each, followed to the end."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    found: dict[str, set[str]] = {}
    waiting = [Requirement(text) for text in declared]
    while waiting:
        asked = waiting.pop()
        name = canonicalize_name(asked.name)
        if name in found and asked.extras <= found[name]:
            continue
        extras = found.setdefault(name, set())
        extras |= asked.extras
        for text in distribution(name).requires or []:
            more = Requirement(text)
            if more.marker is None or any(more.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                waiting.append(more)
    return found


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    split = (line.split("==") for line in lines if line and not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in split}


def test_the_requirements_of_a_bento_are_the_serving_set_as_it_was_tested() -> None:
    pinned = pins()
    lines = [f"{name}=={pinned[name]}\n" for name in sorted(serving_set())]
    expected = HEADER + "".join(lines)
    held = (ROOT / "service" / "requirements.txt").read_text()
    assert held == expected, f"write this to service/requirements.txt:\n{expected}"


def test_nothing_that_trains_is_in_a_bento() -> None:
    held = (ROOT / "service" / "requirements.txt").read_text()
    for name in ("torch", "timm", "onnx==", "scikit-learn", "cleanlab", "nvidia-c"):
        assert f"\n{name}" not in held
