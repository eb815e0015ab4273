"""What a budget is spent on: a tiny network that has something to gain, and evidence for and against."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config import Settings
from core.errors import InvalidInput
from core.home import Home, open_home
from exporters.backbone import Backbone, MemberGraph
from tests import tuning as halves
from training import auto, explore, narrow
from training.data import Dataset
from training.explore import Explored, Explorer
from training.ready import Ready
from training.recipe import Epoch, Rows
from training.report import DataReport
from training.search import Outcome, Search, Trial
from training.space import Choice, Space
from training.tune.layers import layers


class Listening:
    """A reporter that keeps what it is told."""

    run = "the run"

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.metrics: list[tuple[str, int]] = []

    def metric(self, name: str, step: int, value: float) -> None:
        assert (name, step) not in self.metrics, "a step is told once"
        self.metrics.append((name, step))

    def stage(self, title: str) -> None:
        """Nothing to keep."""

    def progress(self, done: int, total: int) -> None:
        """Nothing to keep."""

    def note(self, words: str) -> None:
        self.notes.append(words)


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> halves.Stand:
    return halves.stand(tmp_path_factory.mktemp("stand"), halves.backbone(), halves.rows(24, 12))


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    opened = open_home(Settings(home=tmp_path / "home"))
    yield opened
    opened.close()


def dataset(rows: Rows) -> Dataset:
    examples = (*rows.train, *rows.validation)
    report = DataReport(root="", task="classification", seen=len(examples), kept=len(examples), findings=())
    return Dataset(
        examples=examples, labels=halves.LABELS, task="classification", report=report, median_side=halves.SIDE
    )


def load(name: str, size: int | None) -> Backbone:
    if size != halves.SIDE:
        raise InvalidInput(f"{name} takes no pictures of {size} pixels", "give others")
    return halves.backbone()


def explored(
    home: Home, stand: halves.Stand, strategy: auto.Strategy, budget: float, rows: Rows | None = None
) -> tuple[Ready, Explored]:
    floor = Ready(assembly=stand.floor.assembly, parity=stand.floor.parity, rows=stand.floor.features)
    plan = auto.Plan(strategy=strategy, backbones=("tiny",), load=load, size=halves.SIDE, budget=budget)
    told = Listening()
    found = auto.explored(home, dataset(rows or stand.rows), floor, plan, stand.bench, told)
    assert found.explored is not None
    assert all(note in told.notes and note.endswith(".") for note in found.explored.notes)
    return found, found.explored


def test_auto_goes_on_where_there_is_something_to_gain_and_says_why_it_stopped(home: Home, stand: halves.Stand) -> None:
    found, told = explored(home, stand, "auto", 120.0)
    first, onwards, stopped, chosen = told.notes
    assert first.startswith("The closed form first: 31.2 %")
    assert "there are labels enough" in onwards
    assert "less than 1 point is left to gain" in stopped
    assert "so it takes its place" in chosen
    assert found.attempt is not None
    assert found.attempt.decision is not None
    assert found.attempt.decision.candidate >= found.attempt.decision.floor
    assert found.tuning is not None
    assert (found.tuning.recipe, found.tuning.base) == ("finetune", stand.base.digest)
    assert found.validation == stand.rows.validation


def test_a_search_goes_on_where_it_was_and_serves_what_an_earlier_one_made(home: Home, stand: halves.Stand) -> None:
    one, before = explored(home, stand, "auto", 120.0)
    again, after = explored(home, stand, "search", 12.0)
    assert after.notes[1] == "It goes on with the search of these data, after 1 trial."
    assert after.trials[: len(before.trials)] == before.trials
    assert again.assembly.extractor == one.assembly.extractor, "read from disk, it is the very same model"
    assert len(list((home.settings.home / "runs").iterdir())) == 1
    fewer = halves.rows(20, 12)
    explored(home, stand, "search", 1.0, fewer)
    assert len(list((home.settings.home / "runs").iterdir())) == 2, "other data are another search"


@pytest.mark.parametrize("strategy", auto.STRATEGIES)
def test_without_time_the_floor_serves(home: Home, stand: halves.Stand, strategy: auto.Strategy) -> None:
    found, told = explored(home, stand, strategy, 2.0)
    assert found.assembly is stand.floor.assembly
    assert (told.trials, told.chosen) == ((), None)
    assert "s were left" in told.notes[-2]


def test_few_labels_end_it_at_the_floor(home: Home, stand: halves.Stand) -> None:
    found, told = explored(home, stand, "auto", 120.0, halves.rows(4, 12))
    assert found.assembly is stand.floor.assembly
    assert told.notes[-1] == ("It stopped there: the middle class has 4 labels; tuning was not seen to pay below 5.")


def test_one_row_of_each_class_judges_nothing(home: Home, stand: halves.Stand) -> None:
    found, told = explored(home, stand, "auto", 120.0, halves.rows(24, 1))
    assert found.assembly is stand.floor.assembly
    assert told.notes[-1] == "It stopped there: the middle class has 1 validation row, which tells nothing apart."
    assert auto.blind(halves.SCENE, halves.rows(2, 2).validation) == ""
    assert auto.blind(halves.REGRESSION, halves.values(4, 1).validation) == ""


def test_of_several_tasks_one_with_labels_enough_is_reason_to_go_on() -> None:
    scene = replace(halves.SCENE, task_name="side", further=(replace(halves.SCENE, task_name="hue"),))
    few, many = halves.rows(3, 2).train, halves.rows(24, 2).train
    said = [replace(row, further={"hue": row.label or ""}) for row in many]
    assert "3 labels" in auto.against(0.5, scene, few) and auto.against(0.5, scene, said) == ""
    scarce = [replace(row, label=None, further={"hue": row.label or ""}) for row in many]
    assert auto.against(0.5, scene, scarce) == "", "the second has enough, where the first has none"


def test_what_cannot_be_tuned_stays_or_is_refused_where_a_search_was_asked_for(home: Home, stand: halves.Stand) -> None:
    graph = replace(stand.base, body=MemberGraph(model=b""))
    frozen = replace(stand.floor, assembly=replace(stand.floor.assembly, backbones=(graph,)))
    _, told = explored(home, replace(stand, floor=frozen), "auto", 120.0)
    assert told.notes == ("The closed form stays: tiny is an ONNX graph, whose weights cannot be tuned.",)
    with pytest.raises(InvalidInput, match="cannot be tuned"):
        explored(home, replace(stand, floor=frozen), "search", 120.0)


def made(score: float, number: int = 0, milliseconds: float = 1.0, epochs: int = 8, best: int = 0) -> Trial:
    outcomes = tuple(float(place < 100 * score) for place in range(100))
    outcome = Outcome(
        score=score, low=score, high=score, milliseconds=milliseconds, model_bytes=1, outcomes=outcomes, best=best
    )
    choice = Choice(backbone="a", recipe="finetune")
    last = Epoch(number=epochs, loss=1, validation_loss=1, validation_score=score, rate=0, seconds=1, left=0)
    return Trial(number=number, choice=choice, seconds=1, ended="tried", outcome=outcome, history=(last,))


def test_evidence_ends_a_search() -> None:
    said = auto.enough(0.8, mostly=3)
    assert said([made(0.7), made(0.75)]) == ""
    assert "none of the 3 ways" in said([made(0.7), made(0.75), made(0.8)])
    short = [made(0.7, epochs=1)] * 3
    assert said(short) == "", "one epoch each is no trial"
    better = [made(0.7), made(0.85), made(0.8)]
    assert said(better) == ""
    assert said([*better, *[made(0.8)] * (auto.PATIENCE - 1)]) == ""
    assert "brought nothing better" in said([*better, *[made(0.8)] * auto.PATIENCE])
    assert "left to gain" in said([made(0.995)])


@given(
    floor=st.integers(0, 100),
    trials=st.lists(st.tuples(st.integers(0, 100), st.integers(1, 4)), max_size=6),
)
def test_nothing_below_the_floor_is_ever_chosen(floor: int, trials: list[tuple[int, int]]) -> None:
    held = made(floor / 100, milliseconds=2.0).outcome
    assert held is not None
    tried = [made(score / 100, number, float(ms)) for number, (score, ms) in enumerate(trials)]
    chosen = explore.choose(held, tried, ("",) * 100, 0)
    if chosen is None:
        assert all(score < floor + 2 or ms > 2 for score, ms in trials), "who beats it and is as quick is taken"
    else:
        assert chosen.outcome is not None
        assert chosen.outcome.score >= held.score


@given(
    floor=st.integers(0, 100),
    trials=st.lists(st.tuples(st.integers(0, 100), st.booleans()), min_size=1, max_size=6),
)
def test_at_the_same_cost_the_best_is_chosen_and_of_equals_a_tuned_one(
    floor: int, trials: list[tuple[int, bool]]
) -> None:
    held = made(floor / 100).outcome
    assert held is not None
    tried = [made(score / 100, number, best=int(tuned)) for number, (score, tuned) in enumerate(trials)]
    chosen = explore.choose(held, tried, ("",) * 100, 0)
    scores = [score for score, _ in trials]
    first = scores.index(max(scores))
    wins = scores[first] > floor or (scores[first] == floor and trials[first][1])
    assert (chosen and chosen.number) == (first if wins else None)


def test_what_is_tried_keeps_its_last_epoch(home: Home, stand: halves.Stand) -> None:
    _, told = explored(home, stand, "auto", 120.0)
    for trial in told.trials:
        assert trial.outcome is not None
        assert trial.outcome.settings["keep"] == "last"
        assert trial.outcome.best == trial.history[-1].number


def test_a_narrower_backbone_is_one_more_layer_and_can_be_tuned_and_read_again(
    tmp_path: Path, stand: halves.Stand
) -> None:
    thin = narrow.narrowed(stand.base, 8, stand.rows.train, stand.bench.limits, 0)
    assert thin.dimension == 8
    assert layers(thin.body)[-1] == ["layer.weight", "layer.bias"]  # type: ignore[arg-type]
    choice = Choice(backbone="tiny", size=halves.SIDE, width=8, recipe="finetune", settings={"rate": 0.01})

    def explorer() -> Explorer:
        fresh = Explorer(stand.rows, stand.bench, load, tmp_path / "study", latencies={})
        fresh.stand(Choice(backbone="tiny", size=halves.SIDE), stand.floor)
        return fresh

    space = Space(backbones=("tiny",), sizes=(halves.SIDE,), widths=(8,), recipes=("finetune",))
    study, first = Search(tmp_path / "study" / "trials.journal", space, 0), explorer()
    study.run(first.attempt, 60.0, first.estimate, firsts=[choice], enough=lambda trials: "one" if trials else "")
    (trial,) = study.trials
    assert trial.outcome is not None
    assert trial.outcome.score > stand.floor.score
    one, other = first.made(trial).judged, explorer().made(trial).judged
    assert one.assembly.extractor == other.assembly.extractor
    assert one.score == other.score == trial.outcome.score
    first.forget([])
    assert not list((tmp_path / "study").glob("*.safetensors"))


def test_an_estimate_grows_with_pictures_rows_and_unknown_ground(stand: halves.Stand, tmp_path: Path) -> None:
    explorer = Explorer(stand.rows, stand.bench, load, tmp_path, latencies={})
    floor = Choice(backbone="tiny", size=halves.SIDE)
    explorer.stand(floor, stand.floor)
    assert explorer.estimate(floor) == 0
    other = replace(floor, size=64)
    assert 0 < explorer.estimate(other) < explorer.estimate(replace(other, size=96, recipe="finetune"))


def test_beside_a_trial_that_is_over_another_is_only_begun_with_time_enough(
    stand: halves.Stand, tmp_path: Path
) -> None:
    explorer, choice = Explorer(stand.rows, stand.bench, load, tmp_path, latencies={}), made(0.5).choice
    explorer.stand(choice, stand.floor)
    alone = explorer.estimate(choice)
    explorer.recall([made(0.5)])
    assert explorer.estimate(choice) == alone, "one that moved nothing tells nothing of how long one takes"
    explorer.recall([made(0.5, best=8)])
    assert explorer.estimate(choice) > alone


def test_directions_are_orthonormal_also_where_rows_are_few() -> None:
    raw_ND = np.random.default_rng(0).standard_normal((5, 16))
    axes_DW = narrow.directions(raw_ND, 8, 0)
    assert np.allclose(axes_DW.T @ axes_DW, np.eye(8))
    centred_ND = raw_ND - raw_ND.mean(axis=0)
    assert np.allclose(centred_ND @ axes_DW @ axes_DW.T, centred_ND), "five rows fit into eight directions"
