"""A cycle of a scene with two tasks, part by part: what stands, who judges, what the gate asks, what is replayed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core import gate
from core.events import Feedback
from core.evidence import Evidence
from core.home import Home
from core.schema import canonical
from exporters.backbone import Backbone
from lepton.output import Stages
from tests import rows, several
from tests.homes import copied
from tests.several import FIRST, SCENE, SECOND
from training import incremental, regained, renewed, verdict
from training.contest import counts
from training.ground import Ground
from training.incremental import Request
from training.renewed import sides
from training.tasks import by_task


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a version of 300 loans, to be copied: some of them lack one label, some the other."""
    return several.adapted(tmp_path_factory.mktemp("adapted"), "--recipe", "closed_form", count=300)


@pytest.fixture
def home(adapted: Path, tmp_path: Path) -> Iterator[Home]:
    with copied(adapted, tmp_path) as made:
        yield made


def say(home: Home, count: int, *tasks: str) -> None:
    """People label so many new loans for these tasks alone."""
    for number in range(1000, 1000 + count):
        cells = rows.row(number)
        example = home.artifacts.put(canonical(cells))
        kept = Evidence(example=example, features={}, media="application/json")
        if FIRST in tasks:
            home.ledger.add(Feedback(scene=SCENE, example=example, label=rows.label(cells), task=FIRST), kept)
        if SECOND in tasks:
            home.ledger.add(Feedback(scene=SCENE, example=example, value=rows.score(cells), task=SECOND), kept)


def stand(home: Home) -> Ground:
    ground = incremental.stand(home, Request(scene=SCENE), Stages(quiet=True))
    assert ground is not None
    return ground


def asked_of(home: Home) -> tuple[tuple[str, ...], list[str]]:
    """The hold-outs that the gate asks for, and what it lacks."""
    ground = stand(home)
    policy = verdict.policy(ground)
    lacking = gate.lacking(counts(ground.scene, ground.follower, ground.stock), policy)
    return policy.holdouts, [check.name for check in lacking]


def test_what_stands_has_its_labels_of_every_task_and_all_of_them_are_replayed(home: Home) -> None:
    say(home, 90, SECOND)
    ground = stand(home)
    stock = ground.stock
    for each, (task, mine) in zip(ground.follower.tasks, by_task(ground.scene, stock.of(stock.examples)), strict=True):
        assert {example.digest for example in mine} == each.state.rows.keys(), task.task_name
        for example in mine:
            row = each.state.rows[example.digest]
            assert example.label == (row.column if row.target is None else None)
    parted = sides(ground)
    assert not {example.digest for example in (*parted.train, *parted.validation)} & stock.judging
    for _, mine in by_task(ground.scene, parted.validation):
        assert mine, "every task is judged while weights are tuned"
    anchored = [len(stock.anchor & each.state.rows.keys()) for each in ground.follower.tasks]
    assert min(anchored) >= gate.Policy.least and len(stock.anchor) > max(anchored)


def test_one_task_with_fresh_labels_is_enough_and_the_anchor_judges_both(home: Home) -> None:
    say(home, 20, SECOND)
    asked, lacking = asked_of(home)
    assert lacking == ["fresh.rows", f"{SECOND}: fresh.rows"]
    say(home, 180, SECOND)
    asked, lacking = asked_of(home)
    assert asked == ("anchor", f"{SECOND}: anchor", f"{SECOND}: fresh") and not lacking
    say(home, 180, FIRST)
    asked, lacking = asked_of(home)
    assert asked == ("anchor", f"{SECOND}: anchor", "fresh", f"{SECOND}: fresh") and not lacking


def test_replayed_rows_are_taught_what_the_champion_knows_of_each_task(home: Home) -> None:
    say(home, 40, FIRST, SECOND)
    ground = stand(home)
    ground = replace(ground, asked=replace(ground.asked, distill=0.5))
    parted, head = sides(ground), ground.follower.head()
    assert head is not None
    taught = renewed.soft_of(ground, head, parted)
    old = set(ground.stock.old)
    for task, mine in by_task(ground.scene, parted.train):
        replayed = {example.digest: example for example in mine if example.digest in old}
        assert taught[task.task_name].keys() == replayed.keys() and replayed
        for name, target_K in taught[task.task_name].items():
            if task.task == "regression":
                assert target_K.shape == (1,) and target_K.item() != replayed[name].value
            else:
                assert target_K.sum() == pytest.approx(1.0) and target_K.max() < 1.0


def test_a_graph_that_is_not_faithful_to_its_backbones_leaves_the_champion(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    had = regained.pristine

    def strict(*given: Any) -> tuple[Backbone, ...]:
        return tuple(replace(backbone, tolerance=-1.0) for backbone in had(*given))

    say(home, 200, FIRST, SECOND)
    before = home.registry.champion(SCENE)
    monkeypatch.setattr(regained, "pristine", strict)
    told = incremental.retrain(home, Request(scene=SCENE), Stages(quiet=True))
    assert (told.outcome, told.words) == ("refused", incremental.ALONE)
    assert home.registry.champion(SCENE) == before
