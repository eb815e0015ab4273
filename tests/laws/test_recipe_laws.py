"""Every recipe x every law, found by listing the folder; a recipe's ``examples`` say how to call it small."""

from __future__ import annotations

import dataclasses
import itertools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from core import plugins
from core.errors import InvalidInput
from exporters.backbone import MemberGraph
from exporters.parity import BATCHES, check
from tests.inputs import preprocessor_of
from tests.tuning import Stand, backbone, noisy, rows, same, sentences, stand, weights
from training import judge, recipe
from training.backbone import timm, transformers
from training.judge import Judged
from training.recipe import RECIPES, Tuned
from training.tune.plan import Plan
from training.zoo import Setting, load

NAMES = plugins.names(RECIPES)
CASES = [(name, number) for name in NAMES for number in range(len(recipe.load(name).examples()))]


@dataclass(frozen=True)
class Tried:
    name: str
    config: Any
    stand: Stand
    before: dict[str, torch.Tensor]
    tuned: Tuned
    judged: Judged

    @property
    def trains(self) -> bool:
        return isinstance(self.config, Plan)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Stand:
    return stand(tmp_path_factory.mktemp("ground"), backbone(), rows(train=12, held=6))


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def tried(request: pytest.FixtureRequest, ground: Stand) -> Tried:
    name, number = request.param
    config = recipe.load(name).examples()[number]
    before = weights(ground.base)
    made = recipe.load(name).tune(ground.base, ground.rows, config, ground.context)
    return Tried(name, config, ground, before, made, judge.judge(made.backbone, ground.rows, ground.bench))


def test_the_folder_offers_what_is_promised() -> None:
    assert set(NAMES) >= {"closed_form", "finetune", "lora", "gradual"}


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_says_when_to_use_it_and_its_limit(name: str) -> None:
    told = plugins.load(RECIPES, name).__doc__ or ""
    assert "When to use" in told and "Limit:" in told and "Reference:" in told


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_has_a_default_and_is_plain(name: str) -> None:
    config = recipe.configure(name, {})
    assert dataclasses.is_dataclass(config)
    assert all(isinstance(value, str | int | float | bool) for value in recipe.told(config).values())


@pytest.mark.parametrize("name", NAMES)
def test_a_setting_that_is_not_there_is_refused_by_name(name: str) -> None:
    with pytest.raises(InvalidInput, match="no_such"):
        recipe.configure(name, {"no_such": 1})


def test_the_same_seed_gives_the_same_bits(tried: Tried) -> None:
    again = recipe.load(tried.name).tune(tried.stand.base, tried.stand.rows, tried.config, tried.stand.context)
    assert same(weights(again.backbone), weights(tried.tuned.backbone))
    assert again.backbone.digest == tried.tuned.backbone.digest
    assert [epoch.validation_loss for epoch in again.history] == [e.validation_loss for e in tried.tuned.history]


def test_another_seed_gives_other_weights_where_any_move(tried: Tried) -> None:
    other = replace(tried.stand.context, seed=1)
    again = recipe.load(tried.name).tune(tried.stand.base, tried.stand.rows, tried.config, other)
    moved = tried.tuned.moved or again.moved
    assert same(weights(again.backbone), weights(tried.tuned.backbone)) is not moved


def test_the_base_keeps_every_bit(tried: Tried) -> None:
    assert same(weights(tried.stand.base), tried.before)
    assert isinstance(tried.stand.base.body, torch.nn.Module)
    assert all(parameter.requires_grad for parameter in tried.stand.base.body.parameters())
    assert not tried.stand.base.body.training


def test_what_comes_back_takes_the_same_inputs_and_is_as_wide(tried: Tried) -> None:
    made, base = tried.tuned.backbone, tried.stand.base
    assert (made.inputs, made.files, made.dimension, made.name) == (base.inputs, base.files, base.dimension, base.name)
    assert weights(made).keys() == weights(base).keys()
    assert {n: t.shape for n, t in weights(made).items()} == {n: t.shape for n, t in weights(base).items()}
    assert made.recipe == (tried.name if tried.tuned.moved else "")


def test_the_tuned_backbone_exports_with_parity_on_real_rows(tried: Tried) -> None:
    reader = preprocessor_of(tried.stand.base)
    real = reader.batch([reader.read(e.content or b"") for e in (tried.stand.rows.train * 2)[:64]])
    again = check(tried.judged.assembly.parts, tried.judged.assembly.model, real)
    assert again.batches == BATCHES and again.max_abs <= again.tolerance


def test_it_is_never_worse_than_the_floor_by_the_rule(tried: Tried) -> None:
    decision = judge.decide(tried.stand.floor, tried.judged, tried.name, 0)
    kept = tried.judged if decision.accepted else tried.stand.floor
    assert kept.score >= tried.stand.floor.score
    assert decision.accepted is (decision.difference >= 0)
    assert f"{100 * decision.floor:.1f}" in decision.words and str(decision.rows) in decision.words


def test_history_tells_every_epoch_and_the_best_one_has_the_least_loss(tried: Tried) -> None:
    losses = [epoch.validation_loss for epoch in tried.tuned.history]
    assert [epoch.number for epoch in tried.tuned.history] == list(range(len(losses)))
    if tried.trains:
        assert losses[tried.tuned.best] == min(losses)
        assert len(losses) > 1 and tried.tuned.stopped and tried.tuned.head is not None
        assert tried.tuned.settings["epochs"] == tried.config.epochs
    else:
        assert tried.tuned.backbone is tried.stand.base and not losses


def test_it_ends_within_its_budget_by_its_clock(tried: Tried) -> None:
    ticks = itertools.count()  # each look at the clock takes a second
    config = replace(tried.config, epochs=50) if tried.trains else tried.config
    context = replace(tried.stand.context, budget=40.0, clock=lambda: float(next(ticks)))
    made = recipe.load(tried.name).tune(tried.stand.base, tried.stand.rows, config, context)
    assert made.seconds <= 40.0 + 10.0  # a step looks at it a few times
    assert not tried.trains or 0 < len(made.history) - 1 < 50


def test_no_time_at_all_gives_the_floor(tried: Tried) -> None:
    made = recipe.load(tried.name).tune(
        tried.stand.base, tried.stand.rows, tried.config, replace(tried.stand.context, budget=0.0)
    )
    assert made.backbone is tried.stand.base and not made.moved
    assert not tried.trains or "time was over" in made.stopped


@pytest.mark.parametrize("name", [name for name in NAMES if name != "closed_form"])
def test_a_backbone_that_is_no_torch_model_is_refused_with_the_remedy(name: str, ground: Stand) -> None:
    frozen = replace(ground.base, name="frozen.onnx", body=MemberGraph(model=b""))
    config = recipe.load(name).examples()[0]
    with pytest.raises(InvalidInput, match=r"frozen\.onnx.*cannot be tuned.*closed_form"):
        recipe.load(name).tune(frozen, ground.rows, config, ground.context)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "closed_form"])
def test_networks_of_timm_and_transformers_are_tuned_too(name: str, tmp_path: Path) -> None:
    """A convolutional and an attentive network of pictures, and one of texts, from a head of noise."""
    pairs = [(f"timm:{net}", asked) for net, asked in timm.examples(tmp_path)]
    pairs.append((f"transformers:{transformers.examples(tmp_path)[0][0]}", Setting()))
    for zoo_name, asked in pairs:
        base = load(zoo_name, asked)
        held = rows(4, 2) if base.modality == "image" else sentences(4, 2)
        config = replace(recipe.load(name).examples()[0], rate=1e-4, epochs=1)
        made = recipe.load(name).tune(base, held, config, noisy(base, held))
        assert weights(made.backbone).keys() == weights(base).keys()
        assert len(made.history) == 2, made.stopped
        assert made.moved is not same(weights(made.backbone), weights(base))
