"""Parts of the pages Try it, Labelling and Traffic: what comes from outside is inert, and figures are true."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console import shown
from console.asking import Answer, answer_of
from console.bench import choices, guess
from console.course import Course, chart, course, curve
from console.desk import Desk, Question
from console.drifting import alarms, listed
from console.files import media_of
from console.flow import SAMPLED, flow, shares, span_of
from console.guess import chances
from console.handouts import labels_as, part_of
from console.inputs import cell, meant
from console.learned import fate, learned, newest
from console.pages.labelling import read
from console.pages.traffic import charts
from console.pages.try_it import odd, verdict
from console.timings import Timing, draw, timings
from core.config import Settings
from core.drift import DriftReading
from core.errors import Conflict, InvalidInput, NotFound
from core.home import Home, open_home
from core.label_import import take_in
from core.schema import Categorical, Numeric, Spread
from core.types import Scene
from tests import pico
from tests.answers import answered

NOW = 1_700_000_000.0
HOSTILE = (
    "<script>alert(1)</script>",
    "{{7*7}}",
    "x" * 400,
    "\u05e9\u05dc \u202egnp",
    '"><img src=x onerror=alert(1)>',
    "a\x1b[2J",
)
ALLOWED = {"b", "bdi", "blockquote", "dd", "div", "dl", "dt", "h3", "i", "img", "p", "small"}
ALLOWED |= {"table", "tbody", "td", "th", "tr"}


class Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(name)
        self.attributes |= {key for key, _ in attrs}


def seen(drawn: str) -> Seen:
    made = Seen()
    made.feed(drawn)
    return made


NUMBER = Numeric(name="age", missing=0, spread=Spread(low=0, high=9, fill=4, mean=4, deviation=1, knots=()))
WORD = Categorical(name="town", missing=0, rare=0, categories=("a", "2"), counts=(3, 2))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    made = open_home(Settings(home=tmp_path_factory.mktemp("trying") / "home"))
    pico.register(made)
    answered(made, "shapes", [pico.picture("circle", 50 + n) for n in range(12)], end=NOW, seconds=60.0)
    yield made
    made.close()


@pytest.mark.parametrize("name", HOSTILE)
def test_whatever_is_answered_or_given_is_text(name: str) -> None:
    answer = Answer(task="", label=name, value=None, chances={name: 0.7, "b": 0.3}, fallback=True)
    question = Question(
        example="0" * 64, data=None, why="by lot", label=name, value=None, confidence=0.7, chances={name: 1}
    )
    parts = (
        verdict(answer),
        odd({"missing": (name,)}),
        guess(question),
        shown.row({name: name, "none": None}, 5),
        shown.part("text", name, ""),
        shown.example("tabular", "0" * 64, json.dumps({"town": name}).encode()),
        shown.example("text", "0" * 64, name.encode("utf-8", "replace")),
        shown.example("image+text", "0" * 64, json.dumps({"image": {"b64": "AA=="}, "text": name}).encode()),
    )
    for part in parts:
        assert seen(part or "").tags <= ALLOWED
        assert not any(key.startswith("on") for key in seen(part or "").attributes)


def test_inputs_are_looked_at_where_the_console_gives_them_out() -> None:
    both = json.dumps({"audio": {"b64": "UklGRg=="}, "text": "two\nlines"}).encode()
    told = shown.example("audio+text", "ab" * 32, both)
    assert f'src="/inputs/{"ab" * 32}/audio"' in told
    assert "two\nlines" in told
    assert part_of(both, "audio") == b"RIFF"
    assert part_of(both, "text") is part_of(b"[]", "text") is None
    assert media_of(part_of(both, "audio") or b"") == "audio/wav"
    assert "was not kept" in shown.example("image", "0" * 64, None)
    assert "cannot be read" in shown.example("tabular", "0" * 64, b"{")


def test_fields_say_what_a_client_would_write() -> None:
    assert [cell(NUMBER, word) for word in ("", " ", "1e3")] == [None, None, 1000.0]
    assert [cell(WORD, word) for word in ("", "2")] == [None, "2"]
    for word in ("x", "nan", "1e999"):
        with pytest.raises(InvalidInput, match="age"):
            cell(NUMBER, word)
    task, number = (
        Scene(name="s", task="classification", modality="image"),
        Scene(name="s", task="regression", modality="image"),
    )
    assert (meant(task, "a"), meant(number, "2.5")) == ("a", 2.5)
    for asked, word in ((task, " "), (number, "much")):
        with pytest.raises(InvalidInput):
            meant(asked, word)


def test_an_answer_is_read_for_every_task() -> None:
    worth = Scene(name="s", task="regression", modality="text", task_name="worth")
    scene = Scene(name="s", task="classification", modality="text", task_name="credit", further=(worth,))
    good = {"label": "good", "confidence": 0.9, "probabilities": {"good": 0.9, "bad": 0.1}}
    said = {"prediction_id": "s:1", **good, "tasks": {"credit": good, "worth": {"value": 2, "fallback": True}}}
    told = answer_of(scene, {"version": "v", "revision": 3, "predictions": [said]}, "1", 0.5)
    assert [(each.task, each.label, each.value, each.fallback) for each in told.answers] == [
        ("credit", "good", None, False), ("worth", None, 2.0, True),
    ]  # fmt: skip
    alone = replace(scene, task_name="", further=())
    flags = {"truncated": ["text"]}
    body = {"version": "v", "revision": 0, "predictions": [{"prediction_id": "s:1", **good, "flags": flags}]}
    (answer,) = (found := answer_of(alone, body | {"fallback": True}, "", 0.5)).answers
    assert answer.fallback and list(answer.chances) == ["good", "bad"] and found.flags == {"truncated": ("text",)}
    with pytest.raises(LookupError):
        answer_of(alone, {"predictions": []}, "", 0.5)


def test_nine_labels_have_keys_the_likely_ones_where_there_are_more() -> None:
    few = Scene(name="s", task="classification", modality="image", labels=("b", "a"))
    many = Scene(name="s", task="classification", modality="image", labels=tuple(f"l{n:02}" for n in range(30)))

    def asked(told: dict[str, float]) -> Question:
        return Question(example="", data=None, why="", label="a", value=None, confidence=1, chances=told)

    assert choices(few, asked({"new": 0.9, "a": 0.1})) == (["b", "a", "new"], [])
    first, others = choices(many, asked({"l20": 0.6, "l29": 0.4}))
    assert first[:2] == ["l20", "l29"] and len(first) == 9
    assert sorted(first + others) == sorted(many.labels)
    assert choices(many, asked({}))[0] == list(many.labels[:9])


@given(st.lists(st.booleans(), min_size=1, max_size=400))
def test_the_curve_ends_where_the_newest_answers_are(right: list[bool]) -> None:
    points = curve([float(each) for each in right])
    assert points[-1] == (len(right), sum(right[-20:]) / len(right[-20:]))
    assert len(points) <= 81 and [x for x, _ in points] == sorted({x for x, _ in points})


def test_the_curve_of_a_regression_is_its_error() -> None:
    drawn = chart(Course(version=2, missed=(0.3, -0.4)))
    assert "root mean squared error" in drawn and "newest 2 labelled answers of version 2" in drawn
    assert "begins with the first label" in chart(Course(version=None))


def test_a_desk_asks_says_skips_and_takes_back(home: Home) -> None:
    task = home.registry.scene("shapes")
    desk, other = Desk(home, task, "margin"), Desk(home, task, "margin")
    first = desk.present()
    assert first is not None and first.data is not None and desk.present() == first
    assert sum(first.chances.values()) == pytest.approx(1.0)
    event = desk.say(first, "square", "ann")
    told = newest(home, "shapes", "", 3)
    assert [(each.event_id, each.said, each.annotator) for each in told] == [(event, "square", "ann")]
    assert learned(home, "shapes", event).revision is None
    number = pico.learn(home).number
    assert f"served since revision {number} of version 1" in fate(home, "shapes", event)
    assert "not in the ledger" in fate(home, "shapes", "nothing")
    second = desk.present()
    assert second is not None and second.example != first.example
    with pytest.raises(Conflict):
        desk.say(first, "square", "")
    while (theirs := other.present()) is not None and theirs.example != second.example:
        other.skip(theirs)
    assert theirs is not None
    other.say(theirs, "circle", "")
    third = desk.present()
    assert third is not None and third.example not in {first.example, second.example}
    with pytest.raises(InvalidInput):
        desk.say(third, "octagon", "")
    desk.skip(third)
    assert desk.undo() and desk.present() == replaced(desk.present(), first.example)
    assert not desk.undo()
    assert other.undo()
    assert newest(home, "shapes", "", 3) == []


def replaced(question: Question | None, example: str) -> Question:
    assert question is not None and question.example == example
    return question


def test_the_guess_is_that_of_the_head_which_serves(home: Home) -> None:
    (prediction,) = home.predictions.recent("shapes", 1)
    told = chances(home, home.registry.scene("shapes"), prediction)
    assert list(told.values()) == sorted(told.values(), reverse=True)
    assert set(told) == set(pico.LABELS)


def test_labels_go_out_as_files_and_come_back_as_they_were(home: Home) -> None:
    task = home.registry.scene("shapes")
    desk = Desk(home, task, "random")
    for label in ("circle", "square"):
        question = desk.present()
        assert question is not None
        desk.say(question, label, "=ann")
    for form in ("csv", "json"):
        name, text = labels_as(home, "shapes", form, None)
        assert take_in(home, task, read(task, name, text.encode()))["duplicate"] == 2
    for form, kind in (("xml", NotFound),):
        with pytest.raises(kind):
            labels_as(home, "shapes", form, None)
    with pytest.raises(InvalidInput, match="UTF-8"):
        read(task, "labels.csv", b"\xff")
    assert "right answers" in chart(course(home, task))
    assert desk.undo() and desk.undo()


def test_the_flow_counts_all_and_looks_at_some(home: Home) -> None:
    pico.register(home, "busy")
    same = [pico.picture("square", 5)] * (SAMPLED + 30)
    answered(home, "busy", same, end=NOW - 25, seconds=1.0)
    answered(home, "busy", [pico.picture("circle", 6)] * 10, end=NOW - 203, seconds=1.0)
    task = home.registry.scene("busy")
    told = flow(home, task, 600.0, NOW)
    assert told.answers == SAMPLED + 40
    assert sum(each.rate * 15.0 for each in told.bins) == pytest.approx(told.answers)
    assert [dict(each.classes) for each in told.bins if each.classes] == [{"circle": 10}, {"square": SAMPLED}]
    assert {label: [share for _, share in points] for label, points in shares(told, 1).items()} == {
        "square": [0.0, 1.0], "circle": [1.0, 0.0],
    }  # fmt: skip
    assert flow(home, task, 600.0, NOW + 900).answers == 0
    assert "No traffic" in charts(flow(home, task, 600.0, NOW + 900), [], [], "600")
    assert "answers a second" in charts(told, [], [], "600")
    assert [span_of(home, "busy", NOW + more) for more in (0, 900, 90_000, 1e9)] == ["600", "3600", "604800", "604800"]
    assert span_of(home, "nowhere", NOW) == "3600"


def test_alarms_bring_answers_from_before_and_after(home: Home) -> None:
    task, version = home.registry.scene("shapes"), home.registry.versions("shapes")[0].version
    first = DriftReading(
        scene="shapes", version=version, detector="inputs", number=1, value=0.5, words="", until=NOW - 30, at=NOW - 30
    )
    told = [replace(first, number=2, value=1.5, words=HOSTILE[0], until=NOW, at=NOW), first]
    (alarm,) = alarms(home, task, told)
    times = {each.example: each.created_at for each in home.predictions.recent("shapes", 20)}
    assert alarm.before and all(times[each.example] <= NOW - 30 for each in alarm.before)
    assert alarm.after and all(NOW - 30 < times[each.example] <= NOW for each in alarm.after)
    assert "<script>" not in listed(home, task, [alarm], time.time())


METRICS = """
# TYPE lepton_request_seconds histogram
lepton_request_seconds_bucket{le="0.01",route="/v1/scenes/{scene}/predict"} 50
lepton_request_seconds_bucket{le="0.02",route="/v1/scenes/{scene}/predict"} 90
lepton_request_seconds_bucket{le="+Inf",route="/v1/scenes/{scene}/predict"} 100
lepton_request_seconds_sum{route="/v1/scenes/{scene}/predict"} 2.0
lepton_request_seconds_bucket{le="+Inf",route="/metrics"} 7
# TYPE lepton_inference_seconds histogram
lepton_inference_seconds_bucket{le="+Inf",scene="other"} 9
# TYPE lepton_predictions counter
lepton_predictions_total{outcome="refused",scene="ward"} 3
lepton_predictions_total{outcome="answered",scene="ward"} 97
"""


def test_quantiles_are_read_off_the_service_s_histograms() -> None:
    told = timings(METRICS, "ward")
    (requests,) = told.parts
    assert (requests.count, told.refused) == (100, 3)
    assert [requests.quantile(share) for share in (0.25, 0.5, 0.9)] == pytest.approx([0.005, 0.01, 0.02])
    assert requests.quantile(0.95) == math.inf
    assert Timing(name="", upto=(), total=0.0).quantile(0.5) is None
    drawn = draw(told)
    assert "20 ms" in drawn and "more" in drawn and "3 inputs of this scene were refused" in drawn
    assert "answered no prediction" in draw(timings("", "ward"))
