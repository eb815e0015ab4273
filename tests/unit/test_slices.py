"""Slices that the gate judges by themselves: of rows, of mixtures, and of labels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core.errors import InvalidInput
from core.types import Example, Scene
from tests.homes import home_at
from training import slices

SAID = {"a": frozenset({("feedback", "ann"), ("feedback", "")}), "b": frozenset({("training", "")})}


def told(folder: Path, modality: str, wanted: str, *contents: object) -> dict[str, frozenset[str]]:
    """The slices of examples a, b, …"""
    home = home_at(folder)
    scene = home.registry.declare(Scene(name="loans", task="classification", modality=modality, labels=("x", "y")))
    home.policies.change("loans", {"slices": wanted})
    judging = [
        Example(digest=name, path="", split="train", content=json.dumps(content).encode())
        for name, content in zip("abc", contents, strict=False)
    ]
    try:
        return slices.of(home, scene, judging, SAID)
    finally:
        home.close()


def test_who_labelled_an_example_and_what_stands_in_a_column(tmp_path: Path) -> None:
    found = told(tmp_path, "tabular", "region, sex", {"region": "north", "age": 4, "sex": None}, {"sex": "f"}, {})
    assert found == {
        "a": {"source feedback", "annotator ann", "region north"},
        "b": {"source training", "sex f"},
        "c": set(),
    }


def test_without_columns_nothing_is_read(tmp_path: Path) -> None:
    assert told(tmp_path, "image", "", "no table") == {"a": {"source feedback", "annotator ann"}}


def test_of_a_mixture_the_table_is_looked_at(tmp_path: Path) -> None:
    found = told(tmp_path, "tabular+text", "region", {"text": "hm", "features": {"region": "south"}}, {"text": "hm"})
    assert found == {"a": {"source feedback", "annotator ann", "region south"}, "b": {"source training"}}


def test_columns_that_are_not_there_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="by 'regoin'; the columns are age, region"):
        told(tmp_path / "one", "tabular", "regoin", {"region": "north"}, {"age": 3})
    with pytest.raises(InvalidInput, match="the scene is of image"):
        told(tmp_path / "other", "image", "region", {})
