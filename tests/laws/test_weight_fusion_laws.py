"""Every method that fuses weights x every law, found by listing the folder; ``examples`` say how to set it.

Legend: M models.
"""

from __future__ import annotations

import math
from random import Random
from types import ModuleType
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core import plugins
from core.errors import InvalidInput
from training.fuse import wise_ft
from training.merge.weights import Given, Soup, State, is_statistic, names

PACKAGE = "training.fuse"
MODULES = [plugins.load(PACKAGE, name) for name in plugins.names(PACKAGE)]
METHODS = [
    pytest.param(module, config, id=f"{module.__name__.rpartition('.')[2]}-{config}")
    for module in MODULES
    if module.SPACE == "weights"
    for config in module.examples()
]
PAIRS_ONLY = {"wise_ft", "slerp"}
SHAPES: dict[str, tuple[int, ...]] = {
    "stem.weight": (3, 2, 2),
    "stem.bias": (3,),
    "scale": (),
    "norm.running_var": (3,),
}
CHANCES = st.integers(0, 2**32).map(Random)
KINDS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def state_of(chance: Random, kind: torch.dtype) -> dict[str, torch.Tensor]:
    """Small random weights of every sort, some of them 0, with BatchNorm's buffers and a flag."""

    def tensor(shape: tuple[int, ...]) -> torch.Tensor:
        drawn = [chance.choice([0.0, chance.gauss(0, 1), 1e-4 * chance.gauss(0, 1)]) for _ in range(math.prod(shape))]
        return torch.tensor(drawn, dtype=torch.float64).reshape(shape).to(kind)

    made = {name: tensor(shape) for name, shape in SHAPES.items()}
    made["norm.running_var"] = made["norm.running_var"].abs()
    made["norm.num_batches_tracked"] = torch.tensor(chance.randint(0, 9))
    made["mask"] = torch.tensor([True, chance.random() < 0.5])
    return made


def given_of(states: list[dict[str, torch.Tensor]], base: State, chance: Random) -> Given:
    """Scores and information that depend on nothing but the weights."""
    direction = {name: chance.gauss(0, 1) for name in names(base)}

    def score(state: State) -> float:
        return sum(direction[name] * float(state[name].double().sum()) for name in names(base))

    def fisher(state: State) -> State:
        return {name: state[name].double().square() for name in names(base)}

    return Given(states=states, base=base, score=score, fisher=fisher)


def count_of(module: ModuleType, chance: Random) -> int:
    return 2 if module.__name__.rpartition(".")[2] in PAIRS_ONLY else chance.randint(2, 4)


def fused(module: ModuleType, config: Any, given_: Given) -> Soup:
    found: Soup = module.fuse(given_, config)
    return found


def copied(state: State) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in state.items()}


def test_the_folder_offers_what_is_promised() -> None:
    offered = {module.__name__.rpartition(".")[2] for module in MODULES if module.SPACE == "weights"}
    assert offered == {"uniform_soup", "greedy_soup", "wise_ft", "slerp", "task_arithmetic", "ties", "fisher"}


@pytest.mark.parametrize("module", MODULES)
def test_a_method_says_what_it_is_when_to_use_it_and_its_limit(module: ModuleType) -> None:
    text = module.__doc__ or ""
    for words in ("When to use it:", "Limit:", ">>>", "Reference:"):
        assert words in text, words


@pytest.mark.parametrize(("module", "config"), METHODS)
@settings(max_examples=8)
@given(chance=CHANCES, kind=st.sampled_from(KINDS))
def test_copies_of_one_model_give_that_model(
    module: ModuleType, config: Any, chance: Random, kind: torch.dtype
) -> None:
    model = state_of(chance, kind)
    states = [copied(model) for _ in range(count_of(module, chance))]
    found = fused(module, config, given_of(states, model, chance))
    for name, tensor in found.state.items():
        if kind == torch.float64 and tensor.is_floating_point():  # no wider type to add up in: a few units in the last
            torch.testing.assert_close(tensor, model[name], rtol=4 * torch.finfo(kind).eps, atol=0)
        else:
            assert torch.equal(tensor, model[name]), name


@pytest.mark.parametrize(("module", "config"), METHODS)
@settings(max_examples=8)
@given(chance=CHANCES, kind=st.sampled_from(KINDS))
def test_types_shapes_and_shares_are_right_nothing_is_nan_and_nothing_given_is_changed(
    module: ModuleType, config: Any, chance: Random, kind: torch.dtype
) -> None:
    states = [state_of(chance, kind) for _ in range(count_of(module, chance))]
    base = state_of(chance, kind)
    before = [copied(state) for state in [*states, base]]
    found = fused(module, config, given_of(states, base, chance))
    assert len(found.alphas) == len(states)
    assert min(found.alphas) >= 0 and math.fsum(found.alphas) == pytest.approx(1.0, abs=1e-12)
    assert list(found.state) == list(states[0])
    for name, tensor in found.state.items():
        assert (tensor.dtype, tensor.shape) == (base[name].dtype, base[name].shape), name
        assert torch.isfinite(tensor).all(), name
        assert all(tensor.data_ptr() != state[name].data_ptr() for state in [*states, base])
    for state, held in zip([*states, base], before, strict=True):
        assert all(torch.equal(state[name], tensor) for name, tensor in held.items())


@pytest.mark.parametrize(("module", "config"), METHODS)
@settings(max_examples=8)
@given(chance=CHANCES, kind=st.sampled_from(KINDS))
def test_statistics_stay_between_those_of_the_models_and_counts_are_the_largest(
    module: ModuleType, config: Any, chance: Random, kind: torch.dtype
) -> None:
    states = [state_of(chance, kind) for _ in range(count_of(module, chance))]
    found = fused(module, config, given_of(states, state_of(chance, kind), chance))
    for name, tensor in found.state.items():
        stack = torch.stack([state[name] for state in states])
        if is_statistic(name) and tensor.is_floating_point():
            assert (tensor >= stack.amin(dim=0)).all() and (tensor <= stack.amax(dim=0)).all()
    kept = [state for state, alpha in zip(states, found.alphas, strict=True) if alpha > 0]
    assert found.state["norm.num_batches_tracked"] <= max(state["norm.num_batches_tracked"] for state in states)
    assert found.state["norm.num_batches_tracked"] >= max(state["norm.num_batches_tracked"] for state in kept)


@pytest.mark.parametrize(
    ("module", "config"),
    [case for case in METHODS if case.values[0].SYMMETRIC],  # type: ignore[union-attr]
)
@settings(max_examples=8)
@given(chance=CHANCES, kind=st.sampled_from(KINDS))
def test_the_order_of_the_models_does_not_matter(
    module: ModuleType, config: Any, chance: Random, kind: torch.dtype
) -> None:
    states = [state_of(chance, kind) for _ in range(chance.randint(2, 4))]
    one = given_of(states, state_of(chance, kind), chance)
    order = chance.sample(range(len(states)), len(states))
    other = Given(states=[states[place] for place in order], base=one.base, score=one.score, fisher=one.fisher)
    first, second = fused(module, config, one), fused(module, config, other)
    assert [first.alphas[place] for place in order] == list(second.alphas)
    for name, tensor in first.state.items():
        assert torch.equal(tensor, second.state[name]), name


@settings(max_examples=20)
@given(chance=CHANCES, kind=st.sampled_from(KINDS))
def test_the_ends_of_wise_ft_are_the_two_models(chance: Random, kind: torch.dtype) -> None:
    states = [state_of(chance, kind) for _ in range(2)]
    for share, end in ((0.0, 0), (1.0, 1)):
        found = wise_ft.fuse(given_of(states, states[0], chance), wise_ft.Config(alphas=(share,)))
        for name in names(states[0]):
            assert torch.equal(found.state[name], states[end][name]), name


@pytest.mark.parametrize(("module", "config"), METHODS)
def test_another_architecture_is_refused_by_the_first_tensor_that_differs(module: ModuleType, config: Any) -> None:
    chance = Random(0)
    one, other = (state_of(chance, torch.float32) for _ in range(2))
    wider = other | {"stem.bias": torch.zeros(4)}
    lacking = {name: tensor for name, tensor in other.items() if name != "scale"}
    more = other | {"top.weight": torch.zeros(1)}
    cases = [
        (wider, r"stem.bias is float32 \(3,\) and float32 \(4,\)"),
        (lacking, "scale .* missing"),
        (more, "top.weight is missing"),
    ]
    for strange, words in cases:
        with pytest.raises(InvalidInput, match=words):
            fused(module, config, given_of([one, strange], one, chance))


@pytest.mark.parametrize(("module", "config"), METHODS)
def test_one_model_and_a_model_that_is_no_numbers_are_refused(module: ModuleType, config: Any) -> None:
    chance = Random(1)
    one = state_of(chance, torch.float32)
    with pytest.raises(InvalidInput, match=r"name (at least two|2) versions"):
        fused(module, config, given_of([one], one, chance))
    broken = one | {"scale": torch.tensor(math.nan)}
    with pytest.raises(InvalidInput, match="scale of model 2 holds NaN"):
        fused(module, config, given_of([one, broken], one, chance))


@pytest.mark.parametrize("name", sorted(PAIRS_ONLY))
def test_a_line_has_two_ends(name: str) -> None:
    chance = Random(2)
    states = [state_of(chance, torch.float32) for _ in range(3)]
    with pytest.raises(InvalidInput, match="fuses 2 models, not 3"):
        plugins.load(PACKAGE, name).fuse(given_of(states, states[0], chance))
