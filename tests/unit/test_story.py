"""The report of an adaptation: the numbers, the charts and a page that hostile names cannot break."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.bundle import Metric
from core.look.charts import Axis, Dot, Line, dots, front, heat, lines
from core.types import Example
from tests.pictures import png, put
from training import story, story_page
from training.report import DataReport
from training.story import Comparison, Curve, Entry, Story

HOSTILE = "<img src=x onerror=alert(1)>{{7*7}} \x1b[2J \"'& \u202e"
SHARE = Axis(title="share, %", percent=True)
EPOCH = Axis(title="epoch")
finite = st.floats(-1e6, 1e6, allow_nan=False)


class Tags(HTMLParser):
    """Tags seen, and how deep the open ones went in the end: 0 where all were closed."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag not in {"meta", "img", "br", "i"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag != "i":
            assert self.open.pop() == tag


def parsed(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    return tags


def told(tmp_path: Path, name: str = "cat") -> Story:
    """A story with every section, ``name`` wherever a name stands."""
    put(tmp_path, "one.png", png(1))
    examples = [
        Example(digest=f"{n:064}", path="one.png" if n else HOSTILE, split="test", label=label, group=name)
        for n, label in enumerate([name, name, "dog", "dog"])
    ]
    probabilities_NK = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]])
    metric = Metric(value=0.5, low=0.25, high=0.75, rows=4)
    return Story(
        scene=name,
        version="a" * 64,
        recipe="finetune",
        task="classification",
        modality="image",
        data=DataReport(root=str(tmp_path), task="classification", seen=4, kept=4, findings=(), splits={"test": 4}),
        metrics={"balanced_accuracy": metric, "rmse": metric},
        comparisons=(
            Comparison(
                rows=name,
                entries=(
                    Entry(name=name, score=0.5, low=0.4, high=0.6, seconds=3, milliseconds=2, chosen=True, alpha=1.0),
                    Entry(name="other", score=0.75, low=0.7, high=0.8, milliseconds=5.0, reason="slower"),
                    Entry(name="untried", reason="the budget was spent"),
                ),
            ),
        ),
        curves=(Curve(run=name, measure="validation_accuracy", points=((1, 0.5), (2, math.nan), (3, 0.75))),),
        answers=(story.of_classes("4 test rows", probabilities_NK, examples, [name, "dog"], 0),),
        robustness={name: (metric, metric), "blur": (metric,)},
        stages=((name, 1.5),),
        notes=(name,),
    )


def test_a_page_tells_what_was_measured(tmp_path: Path) -> None:
    page = story_page.render(told(tmp_path))
    for words in ("50.0 %", "75.0 %", "the budget was spent", "Calibration", "severity 2", "Mistakes", "epoch", "✓"):
        assert words in page
    assert {"svg", "table", "img"} <= set(parsed(page).seen)


def test_a_mistake_on_somebody_who_may_be_erased_is_not_in_the_page() -> None:
    examples = [
        Example(digest=f"{n:064}", path=f"{n}.png", split="test", label="cat", subject=subject)
        for n, subject in enumerate([None, "jane"])
    ]
    told = story.of_classes("2 test rows", np.array([[0.1, 0.9], [0.1, 0.9]]), examples, ["cat", "dog"], 0)
    assert [mistake.name for mistake in told.mistakes] == ["0.png"]


def test_names_are_inert_wherever_they_stand(tmp_path: Path) -> None:
    page = story_page.render(told(tmp_path, HOSTILE))
    assert "<img src=x" not in page and "\x1b" not in page and "\u202e" not in page
    assert "script" not in parsed(page).seen


def test_what_was_not_measured_is_not_there(tmp_path: Path) -> None:
    bare = Story(
        scene="s",
        version="v",
        recipe="closed_form",
        task="regression",
        modality="tabular",
        data=DataReport(root="", task="regression", seen=0, kept=0, findings=()),
        metrics={},
    )
    page = story_page.render(bare)
    assert re.findall(r"<h2>(.*?)</h2>", page) == ["Data"]
    assert "svg" not in parsed(page).seen


def test_a_regression_is_drawn_as_pairs() -> None:
    rows = [Example(digest=f"{n:064}", path="", split="test", value=float(n)) for n in range(3)]
    answers = story.of_values("3 test rows", np.array([0.1, 1.2, 1.9]), rows)
    assert answers.values == ((0.0, 0.1), (1.0, 1.2), (2.0, 1.9))


def test_json_tells_the_same_and_holds_no_input(tmp_path: Path) -> None:
    whole = told(tmp_path)
    again = json.loads(json.dumps(whole.to_json()).replace("NaN", "null"))
    assert again["comparisons"][0]["entries"][0]["score"] == 0.5
    assert again["answers"][0]["metrics"]["confusion"] == [[1, 1], [1, 1]]
    assert [mistake["answer"] for mistake in again["answers"][0]["mistakes"]] == ["dog", "cat"]
    assert "content" not in again["answers"][0]["mistakes"][0]


def test_mistakes_come_the_surest_first(tmp_path: Path) -> None:
    (answers,) = told(tmp_path).answers
    assert [mistake.confidence for mistake in answers.mistakes] == [0.8, 0.7]


@given(st.lists(st.tuples(finite, finite), max_size=8), st.booleans())
def test_any_points_can_be_drawn(points: list[tuple[float, float]], log: bool) -> None:
    marks = [Dot(name=f"{n}", x=x, y=y, low=y - 1, high=y + 1) for n, (x, y) in enumerate(points)]
    for drawn in (lines([Line(name="a", points=points)], EPOCH, SHARE), dots(marks, Axis(title="x", log=log), SHARE)):
        parsed(drawn)
        assert "nan" not in drawn and "inf" not in drawn


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_interrupts_a_line(value: float) -> None:
    drawn = lines([Line(name="a", points=[(0, 0), (1, value), (2, 1)])], EPOCH, SHARE)
    assert drawn.count("<circle") == 2 and drawn.count("<polyline") == 2


@given(st.lists(st.tuples(finite, finite), min_size=1, max_size=12))
def test_nothing_beats_the_front(points: list[tuple[float, float]]) -> None:
    kept = front(points)
    assert kept == front(kept)
    for x, y in points:
        assert any(a <= x and b >= y for a, b in kept)


def test_an_empty_heat_map_says_so() -> None:
    assert "nothing was measured" in heat([], [], "truth", "answer")
