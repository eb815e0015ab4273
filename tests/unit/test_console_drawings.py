"""Parts of the console's pages as drawings: whatever names come with the data, they are inert, and figures are true."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console import lineage, road
from console.deeds import decided, history
from console.facts import course, facts
from console.health import Health, lights, warnings
from console.pages import jobs as jobs_page
from console.pages import look, scenes, versions
from console.serving import standing
from core import candidates
from core.config import Settings
from core.home import Home, open_home
from core.look.html import Html, joined, named, tag
from core.look.spark import spark
from core.progress import Point, Stage
from tests import pico

HOSTILE = (
    "<script>alert(1)</script>",
    "{{7*7}}",
    "x" * 400,
    "\u05e9\u05dc\u05d5\u05dd \u202egnp.exe",
    '"><img src=x onerror=alert(1)>',
    "a\x1b[2Jb\nc",
    "'; drop table scenes; --",
)
ALLOWED = frozenset(
    re.findall(
        r"\w+",
        "a b bdi br code dd details div dl dt figcaption figure footer h1 h2 h3 i li nav ol p pre progress section "
        "small span summary svg table tbody td text th thead time tr ul g rect path circle line polyline title",
    )
)


class Seen(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.words = ""

    def handle_starttag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(name)
        self.attributes |= {key for key, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.words += data


def inert(drawn: Html) -> str:
    """The words of a drawing in which nothing but our own elements stands."""
    seen = Seen()
    seen.feed(drawn)
    assert seen.tags <= ALLOWED, seen.tags - ALLOWED
    assert not [name for name in seen.attributes if name.startswith("on")]
    assert not re.search(r"[\x00-\x1f\u202e]", seen.words.replace("\n", ""))
    return seen.words


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    made = open_home(Settings(home=tmp_path_factory.mktemp("drawn") / "home"))
    hostile = pico.register(made, "hostile", labels=HOSTILE, new_labels="accept")
    pico.another(made, hostile.scene, 1)
    pico.register(made, "height", task="regression")
    made.registry.quarantine("hostile", made.registry.versions("hostile")[1].version, HOSTILE[0])
    made.jobs.cancel(made.jobs.file("adapt", "hostile", {"scene": "hostile", "data": HOSTILE[4]}).id)
    made.jobs.file("adapt", "hostile", {"scene": "hostile"})
    yield made
    made.close()


@given(st.text(), st.text())
def test_whatever_is_not_markup_already_is_escaped(name: str, value: str) -> None:
    drawn = tag("td", name, title=value)
    seen = Seen()
    seen.feed(drawn)
    assert seen.tags == {"td"}
    assert seen.attributes == {"title"}
    assert joined([drawn, name]) == drawn + joined([name])


def test_hostile_names_are_inert_wherever_they_stand(home: Home) -> None:
    held = standing(home, "hostile")
    told = [facts(home, scene, 0.0) for scene in home.registry.scenes()]
    rows = home.registry.history("hostile")
    drawings = [
        scenes.page(told),
        versions.table(held),
        lineage.draw(lineage.nodes(held.versions, held.champion, held.challenger)),
        history(rows, held.versions, 0.0),
        jobs_page.listed(home, None),
        *(named(name) for name in HOSTILE),
        look.summary({"seen": 1, "kept": 1, "dropped": 0, "classes": 1, "task": HOSTILE[0], "modality": HOSTILE[1],
                      "splits": {HOSTILE[4]: 1}, "found": {}, "remark": HOSTILE[0]}),
        road.log("\n".join(HOSTILE)),
    ]  # fmt: skip
    words = " ".join(inert(drawn) for drawn in drawings)
    assert "<script>alert(1)</script>" in words
    assert "{{7*7}}" in words and "49" not in inert(named("{{7*7}}"))


def test_a_long_name_is_cut_and_whole_on_pointing_at_it() -> None:
    assert len(inert(named("x" * 400))) == 60
    assert f'title="{"x" * 400}"' in named("x" * 400)


@given(st.lists(st.booleans(), max_size=300))
def test_the_course_of_accuracy_ends_with_the_newest_answers(right: list[bool]) -> None:
    found = course(right)
    assert all(0 <= share <= 1 for share in found)
    assert len(found) <= 70
    if right:
        assert found[-1] == pytest.approx(sum(right[-20:]) / len(right[-20:]))


@given(st.lists(st.floats(0, 1), max_size=50), st.floats(0, 1), st.floats(0, 1))
def test_a_sparkline_stays_in_its_box(values: list[float], low: float, high: float) -> None:
    drawn = spark(values, "course", low, high)
    for x, y in re.findall(r"(-?[\d.]+),(-?[\d.]+)", drawn):
        assert 0 <= float(x) <= 120 and 0 <= float(y) <= 28


def test_the_present_stage_is_lit_and_the_rest_is_to_come(home: Home) -> None:
    job = home.jobs.listed("hostile", states=("queued",))[0]
    waiting = road.stages(job, [])
    assert waiting.count("to-come") == 6 and "aria-current" not in waiting
    hold = home.jobs.claim("tests", 60.0)
    assert hold is not None
    told = [Stage(title="reading and checking the data", done=5, total=5, at=0.0),
            Stage(title="choosing a backbone", done=1, total=3, at=1.0)]  # fmt: skip
    running = road.stages(hold.job, told)
    assert running.count('aria-current="step"') == 1
    assert 'value="0.333"' in running and running.count("to-come") == 4
    home.jobs.finish(hold, {})
    assert "to-come" not in road.stages(home.jobs.find(job.id), told)


def test_candidates_are_drawn_from_what_was_told_of_them() -> None:
    points: list[Point] = []

    def metric(name: str, step: int, value: float) -> None:
        points.append(Point(id=len(points) + 1, name=name, step=step, value=value, at=0.0))

    candidates.tell(metric, "a/b <i>", score=0.9, low=0.85, high=0.95, milliseconds=5.0)
    candidates.tell(metric, "small", score=0.8, low=0.7, high=0.9, milliseconds=2.0)
    candidates.tell(metric, "a/b <i>", chosen=1.0, alpha=0.6)
    candidates.tell(metric, "small", alpha=0.4)
    drawn = road.table(points)
    assert drawn is not None
    words = inert(drawn)
    assert "a/b <i>" in words and "90.0 %" in words and "85.0 to 95.0" in words and "0.60" in words
    front = road.pareto(points)
    assert front is not None and "time of one example, ms" in front and "score, %" in front
    for step in range(3):
        metric("loss", step, 1.0 / (step + 1))
        metric("validation_loss", step, 1.1 / (step + 1))
        metric("trial_2_rate", step, 0.001)
    curves = road.curves(points)
    assert curves is not None and "epoch" in curves and "loss, nats" in curves
    assert road.table([]) is None and road.curves([]) is None and road.pareto([]) is None


def test_a_decision_of_the_gate_is_shown_check_by_check(home: Home) -> None:
    checks = [
        {"name": "better", "holds": True, "words": "better on fresh"},
        {"name": "size", "holds": False, "words": "<b>"},
    ]
    record = {"accepted": False, "checks": checks, "holdouts": {"anchor": {"rows": 30}, "fresh": {"rows": 12}}}
    first = home.registry.versions("hostile")[0].version
    home.decisions.write("hostile", first, 1, home.decisions.uses("hostile", first, 1), False, record)
    words = inert(decided(home.decisions.of("hostile"), home.registry.versions("hostile"), 0.0))
    assert "A candidate was refused beside version 1 on 42 labelled examples" in words
    assert "The gate refused it: 1 of 2 checks hold" in words
    assert words.index("<b>") < words.index("better on fresh")


def test_processes_are_told_apart() -> None:
    told = Health(workers=2, learner=False, trainer=True)
    assert inert(lights(told)) == "service is uplearner is downtrainer is up"
    assert "learner is down" in inert(warnings(told, "service", "learner"))
    assert warnings(told, "service", "trainer") == ""
