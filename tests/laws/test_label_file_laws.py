"""Files of labels: what is written is read back, whatever names and labels are called, and nothing in it acts."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInput
from core.label_files import RISKY, Said, as_csv, from_csv
from core.label_studio import prelabelled, read, written
from core.types import Scene

HOSTILE = [
    "<script>alert(1)</script>",
    "=1+1",
    "'=1",
    "@SUM(A1)",
    "+1",
    "-2",
    "\ttab",
    "a,b\nc",
    '"quoted"',
    "naïve é 狐",
]
WORDS = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12))
CLASSES = Scene(name="s", task="classification", modality="text")
VALUES = Scene(name="s", task="regression", modality="image")


@st.composite
def labels(draw: st.DrawFn, scene: Scene) -> list[Said]:
    """Labels with event ids of their own, grouped by example as they are exported."""
    found: list[Said] = []
    for number in range(draw(st.integers(0, 5))):
        example = f"{number:064x}"
        for _ in range(draw(st.integers(1, 3))):
            known = scene.task == "classification"
            value = draw(st.floats(allow_nan=False, allow_infinity=False))
            found.append(
                Said(
                    event_id=f"{len(found)}{draw(WORDS)}",
                    example=example,
                    label=draw(WORDS) if known else None,
                    value=None if known else value,
                    annotator=draw(st.one_of(st.just(""), WORDS)),
                    source=draw(WORDS),
                    confidence=draw(st.floats(0.01, 1)),
                )
            )
    return found


@given(labels(CLASSES), labels(VALUES))
def test_label_studio_gives_back_what_was_written(words: list[Said], values: list[Said]) -> None:
    for scene, said in ((CLASSES, words), (VALUES, values)):
        text = written(scene, said, {})
        assert "<" not in text
        assert read(scene, text) == said


@given(labels(CLASSES), labels(VALUES))
def test_csv_gives_back_what_was_written_and_no_cell_is_a_formula(words: list[Said], values: list[Said]) -> None:
    for said in (words, values):
        text = as_csv(said)
        assert from_csv(text) == said
        for row in csv.DictReader(io.StringIO(text, newline="")):
            for name in ("event_id", "label", "annotator", "source"):
                assert row[name][:1] == "'" or not row[name].startswith(RISKY)


def test_a_task_of_the_queue_has_its_input_and_the_answer_as_a_prediction() -> None:
    item = {"prediction_id": "s:1", "example": "e", "label": "<b>", "confidence": 0.7, "why": "by lot"}
    task = prelabelled(CLASSES, item | {"instance": {"text": "hello"}})
    assert task["data"] == {"text": "hello", "lepton_example": "e", "lepton_prediction": "s:1"}
    (prediction,) = task["predictions"]
    assert prediction["score"] == 0.7 and prediction["result"][0]["value"] == {"choices": ["<b>"]}


def test_what_label_studio_exports_of_foreign_tasks_is_read() -> None:
    def result(**value: object) -> dict[str, object]:
        return {"id": "r1", "from_name": "label", "to_name": "text", "type": "choices", "value": value}

    task = {"id": 7, "data": {"text": "hello"}}
    done = {"id": 3, "completed_by": {"email": "ann@example.org"}, "result": [result(choices=["cat"])]}
    skipped = {"id": 4, "was_cancelled": True, "result": [result(choices=["dog"])]}
    (said,) = read(CLASSES, json.dumps([task | {"annotations": [done, skipped]}]))
    assert (said.label, said.annotator, said.instance) == ("cat", "ann@example.org", {"text": "hello"})
    assert said.event_id == "label-studio:s:r1"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("no json", "is no JSON"),
        ("{}", "no list of tasks"),
        ("[1]", "task 1 has no data"),
        ('[{"data": {}, "annotations": [{"result": [{"value": {"choices": ["a"]}}]}]}]', "neither lepton_example nor"),
        ('[{"data": {"text": "x"}, "annotations": [{"result": [{"value": {"choices": ["a", "b"]}}]}]}]', "one choice"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_by_its_place(text: str, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        read(CLASSES, text)


def test_inputs_elsewhere_are_never_fetched() -> None:
    picture = Scene(name="s", task="classification", modality="image")
    task = {"data": {"image": "http://10.0.0.1/x.png"}, "annotations": [{"result": [{"value": {"choices": ["a"]}}]}]}
    with pytest.raises(InvalidInput, match="data URIs"):
        read(picture, json.dumps([task]))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a,b\n", "no column event_id"),
        ("event_id,example,label,value,annotator,source,confidence\n,,cat,,,,\n", "line 2 names no example"),
        ("event_id,example,label,value,annotator,source,confidence\n,e,,x,,,\n", "line 2 has a value"),
    ],
)
def test_a_bad_line_is_named(text: str, told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        from_csv(text)
