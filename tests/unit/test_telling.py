"""The report of an adaptation put together: stages timed, trials beside the floor, what is missing left out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.types import Example, Head, Version
from tests import tuning as halves
from training import answered, telling
from training.adapt.closed_form import Learned
from training.answered import Answered
from training.data import Dataset
from training.explore import Explored
from training.ready import Ready
from training.recipe import Epoch
from training.report import DataReport
from training.search import Outcome, Trial
from training.select import Candidate
from training.space import Choice
from training.telling import Timed


class Silent:
    """A reporter that hears what it is told."""

    run = "the run"

    def __init__(self) -> None:
        self.heard: list[object] = []

    def metric(self, name: str, step: int, value: float) -> None:
        self.heard.append((name, step, value))

    def stage(self, title: str) -> None:
        self.heard.append(title)

    def progress(self, done: int, total: int) -> None:
        self.heard.append((done, total))

    def note(self, words: str) -> None:
        self.heard.append(words)


def trial(number: int, score: float, epochs: int = 2, recipe: str = "finetune") -> Trial:
    history = tuple(
        Epoch(number=n, loss=float("nan") if not n else 1.0, validation_loss=1.0, validation_score=score, rate=0.1,
              seconds=n, left=0.0)
        for n in range(epochs + 1)
    )  # fmt: skip
    outcome = Outcome(score=score, low=0.1, high=0.9, milliseconds=2.0, model_bytes=10**6, outcomes=(1.0,), best=1)
    choice = Choice(backbone="tiny", size=32, recipe=recipe)
    return Trial(number=number, choice=choice, seconds=3.0, ended="tried", outcome=outcome, history=history)


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> halves.Stand:
    return halves.stand(tmp_path_factory.mktemp("stand"), halves.backbone(), halves.rows(4, 2))


def test_every_stage_is_timed_and_everything_is_handed_on() -> None:
    ticks = iter([0.0, 2.0, 5.0])
    heard = Silent()
    timed = Timed(heard, clock=lambda: next(ticks))
    timed.stage("one")
    timed.progress(1, 2)
    timed.stage("two")
    timed.note("three")
    timed.metric("loss", 1, 0.5)
    assert timed.run == "the run"
    assert timed.stages() == (("one", 2.0), ("two", 3.0))
    assert heard.heard == ["one", (1, 2), "two", "three", ("loss", 1, 0.5)]


def test_a_report_tells_candidates_trials_curves_and_why(tmp_path: Path, stand: halves.Stand) -> None:
    floor = trial(0, 0.5).outcome
    trials = (trial(0, 0.5), trial(1, 0.75, recipe="lora"), replace(trial(2, 0.1), ended="given up", outcome=None))
    ready = Ready(
        assembly=stand.floor.assembly,
        parity=stand.floor.parity,
        rows=stand.floor.features,
        explored=Explored(notes=("The closed form first.",), trials=trials, floor=floor, chosen=trials[1]),
    )
    report = DataReport(root="", task="classification", seen=0, kept=0, findings=())
    dataset = Dataset(examples=(), labels=halves.LABELS, task="classification", report=report, median_side=32)
    version = Version(
        scene="halves", version="a" * 64, number=1, manifest={"recipe": "lora", "alphas": [0.25, 0.75], "metrics": {}}
    )
    candidates = (
        Candidate(name="tiny", size=32, score=0.5, low=0.4, high=0.6, milliseconds=2.0, seconds=1.0, chosen=True),
        Candidate(name="other", size=32, chosen=True),
    )
    story = telling.story(version, dataset, candidates, ready, (), (("one", 2.0),), 0)
    compared, tried = story.comparisons
    assert [entry.alpha for entry in compared.entries] == [0.25, 0.75]
    assert [entry.chosen for entry in tried.entries] == [False, False, True, False]
    assert {curve.run for curve in story.curves} == {"1. finetune", "2. lora", "3. finetune"}
    page = telling.write(tmp_path / "reports", story)
    assert page.name == f"halves-{'a' * 12}.html"
    assert "The closed form first." in page.read_text("utf-8")
    told = json.loads(page.with_suffix(".json").read_text("utf-8"))
    assert told["comparisons"][1]["entries"][2]["score"] == 0.75
    assert told["curves"][0]["points"][0] == [0.0, None], "what is no number is null"


def test_answers_are_of_the_test_side_and_of_rows_left_out_only_without_one(stand: halves.Stand) -> None:
    examples = tuple(replace(e, split="test") for e in stand.rows.validation)
    taught = stand.rows.train
    head: Head = stand.floor.head
    held_NK = np.full((len(taught), len(head.labels)), 0.25)
    learned = Learned(
        head=head,
        rows={e.digest: place for place, e in enumerate(taught)},
        seen=frozenset(e.digest for e in taught),
        held_NK=held_NK,
    )
    ready = Ready(assembly=stand.floor.assembly, parity=stand.floor.parity, rows=stand.floor.features)
    report = DataReport(root="", task="classification", seen=0, kept=0, findings=())

    def told(rows: tuple[Example, ...]) -> tuple[Answered, ...]:
        dataset = Dataset(examples=rows, labels=halves.LABELS, task="classification", report=report, median_side=32)
        return answered.answered(halves.SCENE, learned, dataset, ready)

    both = told((*taught, *examples))
    assert [each.left_out for each in both] == [True, False]
    assert [each.rows for each in answered.answers(both, 0)] == [f"{len(examples)} test rows"]
    assert set(answered.metrics(both, 0)[""]) >= {"accuracy", "leave_one_out_accuracy"}
    (alone,) = answered.answers(told(taught), 0)
    assert alone.rows.endswith("each left out in its turn")
