"""A network that was pretrained on a source table, as the graph of another table that shares columns with it.

Columns are the same where name and kind agree. Promises that what the network knows of a shared column holds as it
stands (its quantiles, its categories by their spelling), that a column which the target lacks counts as missing, as the
network saw in training, and that columns which only the target has stand beside the network's features. Knows nothing
of training.

Legend: B batch, N rows, P pieces and places of all columns, H width of the network, S slots.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from core.errors import InvalidInput
from core.modality.tabular import CATEGORICAL, NUMERIC
from core.schema import FIRST, MISSING, UNSEEN, Categorical, Column, Numeric, Schema, shown
from core.types import Doubles, Floats
from exporters.table import SHARE, Built, Nodes, block, finish, variances

WEIGHTS = "network.safetensors"
TENSORS = ("first.weight", "first.bias", "second.weight", "second.bias")


class Place(NamedTuple):
    """One entry of what the network is shown.

    Attributes:
        column: its column's place in the schema. at: its place in the input ``numeric`` or ``categorical``.
        number: which of the two. low, high: of a piece; slot: of a category. missing: whether it tells of that.
    """

    column: int
    at: int
    number: bool
    missing: bool
    low: float = 0.0
    high: float = 1.0
    slot: int = 0

    def of(self, values_NX: NDArray[Any]) -> Doubles:
        """(N,) the entry, for rows of its input."""
        values_N = values_NX[:, self.at]
        if not self.number:
            return np.asarray(values_N == self.slot, np.float64)
        absent_N = np.isnan(values_N)
        if self.missing:
            return np.asarray(absent_N, np.float64)
        held_N = np.where(absent_N, self.low, values_N).astype(np.float64)
        filled_N: Doubles = ((held_N - self.low) / (self.high - self.low)).clip(0, 1)
        return filled_N


def places(schema: Schema) -> tuple[Place, ...]:
    """All entries, column by column: pieces or categories, and one for a missing value."""
    told: list[Place] = []
    number = word = 0
    for place, column in enumerate(schema.columns):
        if isinstance(column, Categorical):
            told += [Place(place, word, False, slot == MISSING, slot=slot) for slot in range(column.size)]
            word += 1
            continue
        spreads = (column.spread,) if isinstance(column, Numeric) else column.spreads
        for offset, spread in enumerate(spreads):
            pieces = zip(spread.knots, spread.knots[1:], strict=False)
            told += [Place(place, number + offset, True, False, low, high) for low, high in pieces]
        told.append(Place(place, number, True, True))
        number += len(spreads)
    return tuple(told)


def carried(schema: Schema, source: Schema, weights: Mapping[str, Floats]) -> Built:
    """The network's features (H), and those of ``exporters.table.block``, for rows of ``schema``.

    Args:
        schema: of the target. source: of the table that the network was trained on.
        weights: ``TENSORS``, as torch stores linear layers.

    Raises:
        InvalidInput: no column is shared, or the weights are not those of the source.
    """
    _check(source, weights)
    shared = {column.name: place for place, column in enumerate(schema.columns)}
    chosen: list[tuple[Place, int]] = []  # an entry of the target, and the row of the first layer that it adds
    first_PH = weights["first.weight"].T.astype(np.float64)
    bias_H = weights["first.bias"].astype(np.float64)
    known = places(source)
    of_target = places(schema)
    for place, column in enumerate(source.columns):
        rows = [p for p, entry in enumerate(known) if entry.column == place]
        twin = shared.get(column.name)
        if twin is None or type(schema.columns[twin]) is not type(column):
            bias_H = bias_H + first_PH[next(p for p in rows if known[p].missing)]
            continue
        mine = [entry for entry in of_target if entry.column == twin]
        chosen += _pairs(column, schema.columns[twin], mine, [(known[p], p) for p in rows])
    if not chosen:
        names = ", ".join(shown(column.name) for column in source.columns[:10])
        raise InvalidInput("the network shares no column with this table", f"it knows {names}: name columns alike")
    nodes = Nodes()
    entries_BP, order = _shown(nodes, chosen)
    hidden_BH = _layer(nodes, entries_BP, first_PH[order], bias_H)
    second_HH = weights["second.weight"].T
    features_BH = _layer(nodes, hidden_BH, second_HH, weights["second.bias"])
    parts, width = block(nodes, schema)
    x_BX = nodes.add("Concat", *parts, axis=1)
    share = SHARE / max(float(variances(schema).sum()), 1.0) ** 0.5
    return finish(
        nodes, [features_BH, nodes.add("Mul", x_BX, nodes.constant(share))], second_HH.shape[1] + width, schema
    )


def _pairs(
    source: Column, target: Column, mine: list[Place], known: list[tuple[Place, int]]
) -> list[tuple[Place, int]]:
    """The target's entries of one shared column, each with the source's that stands for it."""
    if isinstance(source, Categorical) and isinstance(target, Categorical):
        row_of = {entry.slot: p for entry, p in known}
        slot_of = {word: FIRST + k for k, word in enumerate(source.categories)} | {None: UNSEEN}
        words = {FIRST + k: word for k, word in enumerate(target.categories)}
        return [
            (entry, row_of[MISSING if entry.missing else slot_of.get(words.get(entry.slot), UNSEEN)]) for entry in mine
        ]
    start = min(entry.at for entry in mine) - min(entry.at for entry, _ in known)
    return [(entry._replace(at=entry.at + start), p) for entry, p in known]


def _shown(nodes: Nodes, chosen: list[tuple[Place, int]]) -> tuple[str, list[int]]:
    """(B, P) the chosen entries, and their rows of the first layer in that order."""
    pieces = [pair for pair in chosen if pair[0].number and not pair[0].missing]
    lacking = [pair for pair in chosen if pair[0].number and pair[0].missing]
    words = [pair for pair in chosen if not pair[0].number]
    parts: list[str] = []
    if pieces:
        low_P = np.array([entry.low for entry, _ in pieces], np.float32)
        taken_BP = nodes.add("Gather", NUMERIC, _at(nodes, pieces), axis=1)
        held_BP = nodes.add("Where", nodes.add("IsNaN", taken_BP), nodes.constant(low_P), taken_BP)
        passed_BP = nodes.add("Sub", held_BP, nodes.constant(low_P))
        filled_BP = nodes.add("Div", passed_BP, nodes.constant([entry.high - entry.low for entry, _ in pieces]))
        parts.append(nodes.add("Clip", filled_BP, nodes.constant(0.0), nodes.constant(1.0)))
    if lacking:
        absent = nodes.add("IsNaN", nodes.add("Gather", NUMERIC, _at(nodes, lacking), axis=1))
        parts.append(nodes.add("Cast", absent, to=TensorProto.FLOAT))
    if words:
        slots_S = nodes.constant([entry.slot for entry, _ in words], np.int64)
        equal_BS = nodes.add("Equal", nodes.add("Gather", CATEGORICAL, _at(nodes, words), axis=1), slots_S)
        parts.append(nodes.add("Cast", equal_BS, to=TensorProto.FLOAT))
    return nodes.add("Concat", *parts, axis=1), [p for _, p in [*pieces, *lacking, *words]]


def _at(nodes: Nodes, pairs: list[tuple[Place, int]]) -> str:
    return nodes.constant([entry.at for entry, _ in pairs], np.int64)


def _layer(nodes: Nodes, values: str, weight: NDArray[np.floating], bias: NDArray[np.floating]) -> str:
    product = nodes.add("MatMul", values, nodes.constant(weight))
    return nodes.add("Relu", nodes.add("Add", product, nodes.constant(bias)))


def _check(source: Schema, weights: Mapping[str, Floats]) -> None:
    shapes = {name: weights[name].shape for name in TENSORS if name in weights}
    width = shapes.get("second.bias", (0,))[0]
    first = shapes.get("first.bias", (0,))[0]
    expected = {
        "first.weight": (first, len(places(source))),
        "first.bias": (first,),
        "second.weight": (width, first),
        "second.bias": (width,),
    }
    if shapes != expected or not first or not width or not all(np.isfinite(weights[name]).all() for name in TENSORS):
        raise InvalidInput(f"{WEIGHTS} holds {shapes}; expected {expected}, all finite", "pretrain the network again")
