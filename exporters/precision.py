"""A composed model in a lower precision: float16, or int8; its transforms, grid, head and softmax stay float32.

Promises a model whose head is swapped as before and whose ``features`` lie on the grid as before. They are others: the
result is another extractor, for which examples are embedded and the head is solved anew. How like the original they
are is measured on real rows, and where that is not enough the nodes that harm most stay in float. Convolutions have
ranges measured once; matrix products and embedding tables are quantised row by row. Knows nothing of labels: whether
accuracy suffers is for whoever has some.

Legend: N rows, D features.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from core.errors import BrokenBundle, InvalidInput
from core.session import Session
from core.statistics import from_grid
from core.types import Doubles
from exporters import convolutions, half, members, products, sensitivity

Precision = Literal["fp32", "fp16", "int8"]
LOWER: tuple[str, ...] = get_args(Precision)[1:]
LEAST_ROWS = 32  # fewer say nothing of ranges
LIKE = 0.98  # mean cosine of features below which nodes are looked for that had better stay in float

_BATCH = 16
_VNNI = frozenset({"avx512_vnni", "avx_vnni", "amx_int8"})

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Lowered:
    """A model in a lower precision.

    Attributes:
        lowered: how many nodes compute in it. kept: those that could and stay in float, as ``m0/NAME``.
        likeness: mean cosine between its features and those of the original, on the rows.
    """

    model: bytes = field(repr=False)
    lowered: int
    kept: tuple[str, ...]
    likeness: float


def lower(
    model: bytes, precision: str, rows: Arrays, progress: Callable[[int, int], None] = lambda done, total: None
) -> Lowered:
    """The model with its members in ``precision``.

    Args:
        rows: at least 32 real rows, as the model's preprocessor gives them.
        progress: called with (done, total) where nodes are tried one by one.

    Raises:
        LookupError: an unknown precision. InvalidInput: too few rows, or nothing in the model can be lowered.
        BrokenBundle: no model of ours.
    """
    if precision not in LOWER:
        raise LookupError(f"no precision is named {precision!r}; choose one of: {', '.join(LOWER)}")
    count = len(next(iter(rows.values())))
    if count < LEAST_ROWS:
        raise InvalidInput(
            f"{count} rows are too few to measure ranges and likeness on; expected at least {LEAST_ROWS}",
            "label more examples, whose inputs are kept",
        )
    plans = [_plan(member, precision, rows) for member in members.named(members.taken(model))]
    candidates = [f"m{number}/{name}" for number, plan in enumerate(plans) for name in plan.candidates]
    if not candidates:
        raise InvalidInput(
            f"nothing in the model can be made {precision}: it has no convolution, matrix product or table of weights "
            "that is large enough",
            "serve it as it is; such a model is small and fast already",
        )
    original_ND = _features(model, rows)

    def build(kept: frozenset[str]) -> bytes:
        return members.replaced(model, [plan.build(_of(kept, number)) for number, plan in enumerate(plans)])

    choice = sensitivity.choose(candidates, lambda kept: _likeness(build(kept), rows, original_ND), LIKE, progress)
    return Lowered(
        model=build(choice.kept),
        lowered=len(candidates) - len(choice.kept),
        kept=tuple(name for name in candidates if name in choice.kept),
        likeness=choice.likeness,
    )


def saturates() -> bool:
    """Whether this processor may lose sums of eight-bit products: x86 without VNNI adds pairs of them in 16 bits."""
    if platform.machine().lower() not in {"x86_64", "amd64", "i686"}:
        return False
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return True
    flags = next((line.split(":", 1)[1].split() for line in lines if line.startswith("flags")), [])
    return _VNNI.isdisjoint(flags)


@dataclass(frozen=True)
class _Plan:
    """What can be lowered in a member, and the member with all of it lowered but some."""

    candidates: tuple[str, ...]
    build: Callable[[frozenset[str]], ModelProto]


def _plan(member: ModelProto, precision: str, rows: Arrays) -> _Plan:
    if precision == "fp16":
        heavy = any(_heavy(tensor) for tensor in member.graph.initializer)
        return _Plan(tuple(half.candidates(member)) if heavy else (), lambda kept: half.halved(member, kept))
    folded, multiplied = convolutions.candidates(member), products.candidates(member)
    mine = {value.name: rows[value.name] for value in member.graph.input}
    measured = convolutions.ranges(member, mine) if folded else None
    narrow = saturates()

    def build(kept: frozenset[str]) -> ModelProto:
        made = convolutions.quantised(member, kept, measured, narrow=narrow) if folded else member
        return products.quantised(made, kept, narrow=narrow)

    return _Plan((*folded, *multiplied), build)


def _heavy(tensor: TensorProto) -> bool:
    return tensor.data_type == TensorProto.FLOAT and bool(np.prod(tensor.dims) >= products.LEAST)


def _of(kept: frozenset[str], number: int) -> frozenset[str]:
    prefix = f"m{number}/"
    return frozenset(name.removeprefix(prefix) for name in kept if name.startswith(prefix))


def _features(model: bytes, rows: Arrays) -> Doubles:
    session = Session(model)
    count = len(next(iter(rows.values())))
    parts = [
        session.features({name: array[start : start + _BATCH] for name, array in rows.items()})
        for start in range(0, count, _BATCH)
    ]
    return from_grid(np.concatenate(parts))


def _likeness(model: bytes, rows: Arrays, original_ND: Doubles) -> float:
    """Mean cosine; -1 where features are no numbers any more."""
    try:
        made_ND = _features(model, rows)
    except BrokenBundle:
        return -1.0
    lengths_N = np.linalg.norm(made_ND, axis=1) * np.linalg.norm(original_ND, axis=1)
    return float(np.mean((made_ND * original_ND).sum(axis=1) / np.maximum(lengths_N, np.finfo(np.float64).tiny)))
