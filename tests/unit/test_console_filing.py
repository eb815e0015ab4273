"""What the console files is what trainers take: each request passes the check that a trainer makes when it begins."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from console import filing
from core.config import Settings
from core.errors import InvalidInput, NotFound
from core.home import Home, open_home
from training.filing import check
from training.jobs import inspect
from training.pipeline import Request


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = open_home(Settings(home=tmp_path / "home"))
    yield made
    made.close()


def test_a_look_is_taken_by_its_kind(home: Home, tmp_path: Path) -> None:
    job = filing.inspect(home, "ward", tmp_path, " organ , severity ")
    asked = check("inspect", job.request, here=job.here)
    assert asked == inspect.Request(scene="ward", data=tmp_path, label=["organ", "severity"])
    assert check("inspect", filing.inspect(home, "ward", tmp_path, "").request, here=True).label is None


@pytest.mark.parametrize("recipe", sorted(filing.RECIPES))
def test_every_recipe_that_is_offered_is_taken(home: Home, tmp_path: Path, recipe: str) -> None:
    looked = filing.inspect(home, "ward", tmp_path, "organ")
    job = filing.adapt(home, looked, recipe=recipe, minutes="2.5", backbone="minilm", new_labels=True)
    asked = check("adapt", job.request, here=job.here)
    assert isinstance(asked, Request)
    assert (asked.scene, asked.data, asked.label, asked.recipe) == ("ward", tmp_path, "organ", recipe)
    assert (asked.budget, asked.backbones, asked.new_labels) == (150.0, ("minilm",), "accept")


@pytest.mark.parametrize("minutes", ["", "0", "-1", "nan", "inf", "99999", "x"])
def test_a_budget_that_is_none_is_refused(home: Home, tmp_path: Path, minutes: str) -> None:
    looked = filing.inspect(home, "ward", tmp_path, "")
    with pytest.raises(InvalidInput, match="is no budget"):
        filing.adapt(home, looked, recipe="auto", minutes=minutes, backbone="auto", new_labels=False)


def test_a_name_or_a_path_that_cannot_be_is_refused_before_anything_is_filed(home: Home, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="scene name"):
        filing.inspect(home, "Ward B", tmp_path, "")
    with pytest.raises(InvalidInput, match="is relative"):
        filing.inspect(home, "ward", Path("data"), "")
    with pytest.raises(NotFound):
        filing.inspect(home, "ward", tmp_path / "nowhere", "")
    assert home.jobs.listed() == []
