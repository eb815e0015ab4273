"""The stage between features and head: which rows, what is refused, and who takes whose place."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import InvalidInput, ParityFailed
from exporters.backbone import MemberGraph
from tests.tuning import LABELS, REGRESSION, SCENE, Stand, backbone, rows, stand, values
from training import judge, tuning
from training.adapt import finetune
from training.judge import Judged
from training.recipe import Rows, Tuned
from training.tune.device import Device
from training.tune.layers import groups
from training.tune.loop import Course, Loop
from training.tune.network import Network, torch_body
from training.tune.objective import Supervised
from training.tune.prepare import feeds
from training.tune.rate import UNSEEN, USUAL, harmful, rates
from training.tuning import Ask, attempt, sides

CONFIG = finetune.Config(epochs=4, rate=3e-3, batch=16, augment=False)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Stand:
    return stand(tmp_path_factory.mktemp("ground"), backbone(), rows(12, 6))


def tried(ground: Stand, held: Rows | None = None, **more: object) -> tuning.Attempt:
    ask = Ask(**({"name": "finetune", "config": CONFIG, "budget": 1e6} | more))  # type: ignore[arg-type]
    return attempt(ground.floor.assembly, ground.floor.parity, held or ground.rows, ground.bench, ask)


def test_what_is_better_takes_the_floors_place_and_both_heads_are_told(ground: Stand) -> None:
    made = tried(ground)
    assert made.judged is not None and made.decision is not None and made.decision.accepted
    assert made.decision.difference == pytest.approx(made.judged.score - ground.floor.score)
    assert 0 <= made.trained <= 1 and made.words == made.decision.words
    told = tuning.told(made, ground.base.digest, "run", 7)
    assert told is not None and made.tuned is not None
    assert (told.base, told.seed, told.run, told.best) == (ground.base.digest, 7, "run", made.tuned.best)
    assert told.settings["epochs"] == 4 and told.score == made.judged.score and told.floor == ground.floor.score


@pytest.mark.parametrize(
    "held",
    [
        Rows(train=rows(1).train, validation=rows(1, 2).validation),
        Rows(train=rows(6).train, validation=()),
        Rows(train=rows(6, 1, ("left",)).train, validation=rows(1, 2, ("left",)).validation),
    ],
)
def test_too_few_rows_leave_the_floor(ground: Stand, held: Rows) -> None:
    made = tried(ground, held)
    assert made.judged is None and made.tuned is None
    assert made.words.endswith("the untouched backbone stays")
    assert tuning.told(made, "", "", 0) is None


def test_features_that_are_known_are_not_computed_again_and_judge_alike(ground: Stand) -> None:
    floor = ground.floor
    gone = Rows(
        train=(*(replace(row, content=b"no picture") for row in ground.rows.train[1:]), ground.rows.train[0]),
        validation=ground.rows.validation,
    )
    had = {row.digest: floor.features[row.digest] for row in gone.train[:-1]}
    more = had | {"f" * 64: np.zeros(floor.assembly.session.width, np.int16)}
    again = judge.of_assembly(floor.assembly, floor.parity, gone, ground.bench, known=more)
    assert again.features.keys() == floor.features.keys()
    assert all(np.array_equal(row, floor.features[name]) for name, row in again.features.items())
    assert (again.score, again.groups_N) == (floor.score, floor.groups_N)


def test_a_graph_that_is_not_faithful_leaves_the_floor(ground: Stand) -> None:
    """A tolerance below the rounding of the grid: the untouched backbone has passed already, nothing else can."""
    strict = replace(ground.floor.assembly, backbones=(replace(ground.base, tolerance=-1.0),))
    ask = Ask(name="finetune", config=CONFIG, budget=1e6)
    made = attempt(strict, ground.floor.parity, ground.rows, ground.bench, ask)
    assert made.judged is None and made.tuned is not None and made.tuned.moved
    assert "is not faithful" in made.words
    with pytest.raises(ParityFailed):
        judge.judge(made.tuned.backbone, ground.rows, ground.bench)


def outcomes(floor: Judged, right: list[float]) -> Judged:
    outcomes_N = np.array(right)
    return replace(floor, outcomes_N=outcomes_N, groups_N=("a",) * len(right), score=float(outcomes_N.mean()))


@pytest.mark.parametrize(
    ("floor", "candidate", "accepted"),
    [([1, 0, 0, 0], [1, 1, 0, 0], True), ([1, 1, 0, 0], [0, 0, 1, 1], True), ([1, 1, 0, 0], [1, 0, 0, 0], False)],
)
def test_the_rule_is_a_score_that_is_not_lower(
    ground: Stand, floor: list[float], candidate: list[float], accepted: bool
) -> None:
    decision = judge.decide(outcomes(ground.floor, floor), outcomes(ground.floor, candidate), "finetune", 0)
    assert decision.accepted is accepted and decision.rows == 4
    assert decision.low <= decision.difference <= decision.high


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wins=st.integers(0, 40), losses=st.integers(0, 40))
def test_where_somebody_judges_again_only_a_loss_beyond_a_standard_error_stays(
    ground: Stand, wins: int, losses: int
) -> None:
    floor, candidate = np.ones(200), np.ones(200)
    floor[:wins], candidate[wins : wins + losses] = 0, 0
    sides = (outcomes(ground.floor, list(floor)), outcomes(ground.floor, list(candidate)))
    strict, lenient = (judge.decide(*sides, "finetune", 0, again=again) for again in (False, True))
    error = float((candidate - floor).std())  # times the root of 200, as the difference below
    difference = (wins - losses) / np.sqrt(200)
    assert strict.accepted is (wins >= losses)
    assert lenient.accepted or difference < -0.8 * error
    assert not lenient.accepted or difference > -1.2 * error or wins == losses
    assert replace(strict, accepted=True, words="") == replace(lenient, accepted=True, words="")
    assert ("stays" in lenient.words) is not lenient.accepted


def test_values_are_tuned_and_judged_by_the_variance_they_explain(tmp_path: Path) -> None:
    ground = stand(tmp_path, backbone(), values(), REGRESSION)
    made = tried(ground, config=replace(CONFIG, epochs=8))
    assert made.decision is not None and made.tuned is not None and made.tuned.head is not None
    assert made.decision.accepted and made.decision.candidate > ground.floor.score
    assert made.tuned.head.labels == ("value",)
    assert made.trained > 0, "the trained head is on the scale of the values"


def test_sides_are_those_of_the_data_or_a_fifth_of_each_class() -> None:
    given = rows(10, 2)
    assert sides((*given.train, *given.validation), SCENE, 0) == given
    carved = sides(given.train, SCENE, 0)
    assert {row.digest for row in (*carved.train, *carved.validation)} == {row.digest for row in given.train}
    assert [row.label for row in carved.validation].count("left") == 2 and len(carved.validation) == 2 * len(LABELS)
    again = sides(given.train[::-1], SCENE, 0)
    assert {row.digest for row in again.validation} == {row.digest for row in carved.validation}
    assert not sides(rows(2).train, SCENE, 0).validation
    assert len(sides(values(20).train, REGRESSION, 0).validation) == 4
    fewer = sides(rows(40).train, SCENE, 0, most=6)
    assert len(fewer.validation) == 6 // len(LABELS) * len(LABELS), "as many as are wanted, of each class as many"
    assert sides(rows(10).train, SCENE, 0, most=1000) == sides(rows(10).train, SCENE, 0)
    assert len(sides(rows(10).train, SCENE, 0, most=0).validation) == len(LABELS), "of each class one at least"


def test_what_cannot_be_tuned_is_refused_before_anything_is_computed(ground: Stand) -> None:
    frozen = replace(ground.base, body=MemberGraph(model=b""))
    for backbones, said in (([ground.base, ground.base], "tunes one backbone"), ([frozen], "cannot be tuned")):
        with pytest.raises(InvalidInput, match=said):
            tuning.check("finetune", backbones)
        tuning.check("closed_form", backbones)


def test_several_processes_want_one_named_backbone() -> None:
    two = Device(world=2)
    tuning.check_processes("finetune", ["minilm"], two)
    for name, named in (("closed_form", ["minilm"]), ("finetune", []), ("finetune", ["minilm", "wordllama"])):
        with pytest.raises(InvalidInput, match="2 processes"):
            tuning.check_processes(name, named, two)
        tuning.check_processes(name, named, Device())


def test_the_range_test_ends_where_the_loss_passes_chance_or_is_no_number() -> None:
    assert harmful(iter([0.1, 0.1, float("nan")]), 1.0) == (rates()[2], 3)
    assert harmful(iter([0.1] * 41), 1.0) == (None, 41)
    assert harmful(iter([0.1] * 7), 1.0) == (None, 7)


def test_a_rate_of_nought_is_found_and_told(ground: Stand) -> None:
    def tune(**more: object) -> Tuned:
        context = replace(ground.context, **more)  # type: ignore[arg-type]
        return finetune.tune(ground.base, ground.rows, replace(CONFIG, rate=0.0, epochs=1), context)

    made = tune()
    assert "learning rate" in made.notes[0]
    assert 0 < float(made.settings["rate"] or 0) < 1
    assert made.settings["rate"] == UNSEEN or "did harm" in made.notes[0]
    assert tune(budget=1e-9).settings["rate"] == USUAL


@pytest.mark.parametrize(("seconds", "steps"), [(100.0, 41), (30.0, 30), (26.0, 3), (1.0, 1)])
def test_a_range_test_that_cannot_get_far_is_not_gone_on_with(ground: Stand, seconds: float, steps: int) -> None:
    """Each look at the clock takes a second, and there is one a step."""
    ticks = itertools.count()
    context = replace(ground.context, clock=lambda: float(next(ticks)))
    train, held = feeds(ground.base, ground.rows, CONFIG, context, None)
    network = Network(copy.deepcopy(torch_body(ground.base)), context.transform, context.head)
    parts = groups(network.body, 1.0, 0.0)
    course = Course(train=train, held=held, objective=Supervised("classification", 0.0, None), groups=parts)
    losses = list(Loop(network, course, CONFIG, context).ramp(rates(), seconds, least=26))
    assert len(losses) == steps
