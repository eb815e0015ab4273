"""Requests at the border, of every kind of job: what is filed can be read again, and what does not fit is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from core import plugins
from core.errors import InvalidInput
from core.home import Home
from tests.homes import home_at
from training import filing

EXAMPLES = [
    pytest.param(kind, example, id=f"{kind}-{number}")
    for kind in plugins.names(filing.KINDS)
    for number, example in enumerate(plugins.load(filing.KINDS, kind).examples())
]


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = home_at(tmp_path)
    yield made
    made.close()


def told(kind: str, example: Any) -> dict[str, Any]:
    request: dict[str, Any] = TypeAdapter(type(example)).dump_python(example, mode="json")
    return request


@pytest.mark.parametrize(("kind", "example"), EXAMPLES)
def test_what_was_filed_is_what_the_kind_is_given(home: Home, kind: str, example: Any) -> None:
    job = filing.file(home, kind, told(kind, example))
    assert (job.kind, job.scene, job.here) == (kind, example.scene, True)
    assert job.most_attempts == home.settings.trainer.attempts
    assert filing.check(kind, home.jobs.find(job.id).request, here=True) == example


@pytest.mark.parametrize(("kind", "example"), EXAMPLES)
def test_a_field_that_is_not_known_is_named(home: Home, kind: str, example: Any) -> None:
    with pytest.raises(InvalidInput, match="colour"):
        filing.file(home, kind, told(kind, example) | {"colour": "red"})
    with pytest.raises(InvalidInput, match=f"scene of a request to {kind}"):
        filing.file(home, kind, told(kind, example) | {"scene": 3})
    assert home.jobs.listed() == []


def test_an_unknown_kind_is_named_with_those_that_there_are(home: Home) -> None:
    with pytest.raises(LookupError, match=r"'fly'.*adapt.*export"):
        filing.file(home, "fly", {"scene": "ward"})


@pytest.mark.parametrize(
    "fields",
    [
        {"data": "/etc/passwd"},
        {"names": "/data/labels.txt"},
        {"backbones": ["onnx_file:/data/model.onnx"]},
        {"backbones": ["table_mlp:folder"]},
        {"label": "../x"},
    ],
)
def test_a_request_over_the_network_names_no_file(home: Home, fields: dict[str, Any]) -> None:
    request = {"scene": "ward"} | fields
    with pytest.raises(InvalidInput, match="could name a file"):
        filing.file(home, "adapt", request, here=False)
    assert filing.file(home, "adapt", request).here


def test_a_request_over_the_network_may_name_what_is_no_file(home: Home) -> None:
    job = filing.file(home, "adapt", {"scene": "ward", "backbones": ["minilm"], "budget": 60}, here=False)
    assert not job.here


def test_a_relative_path_is_refused_since_a_trainer_runs_elsewhere(home: Home) -> None:
    with pytest.raises(InvalidInput, match=r"'ward'.*relative"):
        filing.file(home, "adapt", {"scene": "ward", "data": "ward"})
