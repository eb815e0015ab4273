"""Arithmetic on the weights of models of one architecture: what the methods of training.fuse that fuse weights share.

Promises sums in float64 that do not depend on the order of the models, cast back to each tensor's own type: so the mean
of copies is the model, to the bit, for all types up to float32. Statistics of BatchNorm are no weights: they are
averaged by α whatever the method, since arithmetic could make a variance negative, and are to be estimated again where
they differed (training.merge.batchnorm). Whole numbers and flags are the largest of all models. Knows nothing of
versions, of networks or of what a weight does.

Legend: M models.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from core.errors import InvalidInput

STATISTICS = ("running_mean", "running_var", "num_batches_tracked")  # last part of a BatchNorm's buffers' names

State = Mapping[str, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Given:
    """What a method that fuses weights may look at.

    Attributes:
        states: the weights of at least two models of one architecture, in the user's order.
        base: the weights that they were tuned from.
        score: how good weights are on validation rows; higher is better.
        fisher: diagonal of the Fisher information of weights, by the name of the parameter, estimated on real rows.
    """

    states: Sequence[State] = field(repr=False)
    base: State = field(repr=False)
    score: Callable[[State], float] = field(repr=False)
    fisher: Callable[[State], State] = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Soup:
    """What came of it.

    Attributes:
        alphas: the share of each model; they sum to 1.
        tried: what was scored on the way, in words, and its score.
        chosen: numbers that the method chose, by name.
    """

    state: State = field(repr=False)
    alphas: tuple[float, ...]
    tried: Mapping[str, float] = field(default_factory=dict)
    chosen: Mapping[str, float] = field(default_factory=dict)


def check(given: Given, *, exactly: int | None = None) -> None:
    """Whether weights can be fused at all; with ``exactly``, of so many models.

    Raises:
        InvalidInput: too few or too many models, another architecture (the first tensor that differs is named), or a
            weight that is no number.
    """
    if exactly is not None and len(given.states) != exactly:
        raise InvalidInput(f"this method fuses {exactly} models, not {len(given.states)}", f"name {exactly} versions")
    if len(given.states) < 2:
        raise InvalidInput("one model leaves nothing to fuse", "name at least two versions")
    for number, state in enumerate([*given.states[1:], given.base], 2):
        who = f"model {number}" if number <= len(given.states) else "the base"
        check_alike(given.states[0], state, who)
    for number, state in enumerate(given.states, 1):
        bad = next((name for name, tensor in state.items() if not _finite(tensor)), None)
        if bad is not None:
            raise InvalidInput(f"{bad} of model {number} holds NaN or infinity", "leave that version out")


def check_alike(first: State, other: State, who: str) -> None:
    """Whether two models have the same tensors.

    Raises:
        InvalidInput: they have not; the first tensor that differs is named.
    """
    for name in [*first, *(name for name in other if name not in first)]:
        told = [_told(state.get(name)) for state in (first, other)]
        if told[0] != told[1]:
            raise InvalidInput(
                f"the first model and {who} are not of one architecture: {name} is {told[0]} and {told[1]}",
                "fuse their features or logits instead (--method features, --method logits)",
            )


def names(state: State) -> Iterator[str]:
    """Names of the weights: floating-point tensors that are no statistics."""
    return (name for name, tensor in state.items() if tensor.is_floating_point() and not is_statistic(name))


def is_statistic(name: str) -> bool:
    """Whether a tensor is what BatchNorm has seen, not what was learned."""
    return name.rpartition(".")[2] in STATISTICS


def mean(states: Sequence[State], alphas: Sequence[float]) -> dict[str, torch.Tensor]:
    """The weighted mean of all tensors; ``alphas`` sum to 1.

    >>> mean([{"w": torch.tensor([1.0])}, {"w": torch.tensor([3.0])}], [0.25, 0.75])
    {'w': tensor([2.5000])}
    """
    assert abs(math.fsum(alphas) - 1.0) < 1e-9, f"shares {alphas} do not sum to 1"
    made = {}
    for name, like in states[0].items():
        if like.is_floating_point():
            made[name] = total([alpha * state[name].double() for state, alpha in zip(states, alphas, strict=True)])
        else:
            made[name] = torch.stack([state[name] for state in states]).amax(dim=0)
    return cast(made, states[0])


def total(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """The sum, the same whatever the order: the smallest are added first; of two it is the same anyway."""
    if len(tensors) == 2:
        return tensors[0] + tensors[1]
    return torch.stack(list(tensors)).sort(dim=0).values.sum(dim=0)


def cast(tensors: State, like: State) -> dict[str, torch.Tensor]:
    """Copies in the types of ``like``."""
    return {name: tensor.to(like[name].dtype, copy=True) for name, tensor in tensors.items()}


def moves(state: State, base: State) -> dict[str, torch.Tensor]:
    """How far every weight lies from the base, in float64: the task vector."""
    return {name: state[name].double() - base[name].double() for name in names(base)}


def moved(base: State, states: Sequence[State], by: State) -> dict[str, torch.Tensor]:
    """The base with its weights moved; whatever is no weight is the plain mean of ``states``."""
    made = mean(states, even(len(states)))
    return made | cast({name: base[name].double() + move for name, move in by.items()}, base)


def even(count: int) -> tuple[float, ...]:
    """Equal shares."""
    return (1.0 / count,) * count


def _finite(tensor: torch.Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def _told(tensor: torch.Tensor | None) -> str:
    return "missing" if tensor is None else f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
