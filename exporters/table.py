"""Rows of a table as ONNX graphs: missing values filled, scales evened, categories spread out, and lifts of these.

Promises graphs of plain nodes that are finite for every row that ``core.modality.tabular`` reads, also for values far
outside the training rows, and that need nothing but the schema. Knows nothing of labels or of where a schema is from.

Every graph begins with the same block x (B, X): each number, held within its range and standardised; 1 where a column
that training rows lack is missing; 1 for the category (nothing for one that no training row has).

Legend: B batch, N numbers, C categorical columns, S slots (categories that get a place), X = N + indicators + S,
P pieces between two knots, W waves, D features.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from core.errors import InvalidInput
from core.modality.tabular import CATEGORICAL, NUMERIC
from core.schema import FIRST, MISSING, UNSEEN, Categorical, Date, Numeric, Schema
from core.types import Doubles
from exporters.compose import OPSET

WIDEST = 2048  # features of one table; the head costs their square
WAVES = 512

_IR = 10
_CLIP = 4.0  # deviations
_CONSTANT = 0.5  # size of the constant beside the rest
SHARE = 0.5  # size of x beside the waves
_NARROWEST = 1e-30  # of a piece or deviation: float32 can divide by it

Built = tuple[bytes, int, int]  # the graph, D, and how many numbers it stores


class Nodes:
    """A graph in the making; ``add`` and ``constant`` give the name of the tensor that they make."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.stored = 0

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """One node of one output."""
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def constant(self, value: object, kind: type[np.generic] = np.float32) -> str:
        """A stored array."""
        array = np.ascontiguousarray(value, dtype=kind)
        self.stored += array.size
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(array, name))
        return name


def linear(schema: Schema) -> Built:
    """x and a constant: D = X + 1. Raises InvalidInput where that is too wide."""
    nodes = Nodes()
    parts, width = block(nodes, schema)
    return finish(nodes, [*parts, _constant(nodes, parts[0], schema)], width + 1, schema)


def quantile(schema: Schema) -> Built:
    """x, a constant, and each number as how far it fills the pieces between its quantiles: D = X + 1 + P.

    Raises:
        InvalidInput: too wide.

    Reference: Gorishniy et al., "On Embeddings for Numerical Features", arXiv 2203.05556, section 3.2.
    """
    nodes = Nodes()
    numbers = _numbers(nodes, schema)
    parts, width = block(nodes, schema, numbers)
    pieces = [
        (n, start, end)
        for n, (_, spread) in enumerate(schema.numbers)
        for start, end in zip(spread.knots, spread.knots[1:], strict=False)
        if end - start > _NARROWEST
    ]
    if pieces and numbers is not None:
        columns, starts, ends = (np.array(told) for told in zip(*pieces, strict=True))
        spread_BP = nodes.add("Gather", numbers, nodes.constant(columns, np.int64), axis=1)
        passed_BP = nodes.add("Sub", spread_BP, nodes.constant(starts))
        filled_BP = nodes.add("Div", passed_BP, nodes.constant(ends - starts))
        parts.append(nodes.add("Clip", filled_BP, nodes.constant(0.0), nodes.constant(1.0)))
    return finish(nodes, [*parts, _constant(nodes, parts[0], schema)], width + 1 + len(pieces), schema)


def waves(schema: Schema, seed: int = 0) -> Built:
    """Cosines of random projections of x, which stand for a Gaussian kernel, and x itself where it is not wider.

    The kernel is as wide as two training rows are apart (root mean square), by the schema. D = W, or W + X.

    Reference: Rahimi and Recht, "Random Features for Large-Scale Kernel Machines", NeurIPS 2007.
    """
    nodes = Nodes()
    parts, width = block(nodes, schema)
    x_BX = nodes.add("Concat", *parts, axis=1)
    variance = float(variances(schema).sum()) or 1.0
    rng = np.random.default_rng(seed)
    directions_XW = rng.standard_normal((width, WAVES)) / math.sqrt(2 * variance)
    phases_W = rng.uniform(0, 2 * math.pi, WAVES)
    turned_BW = nodes.add("Add", nodes.add("MatMul", x_BX, nodes.constant(directions_XW)), nodes.constant(phases_W))
    lifted = [nodes.add("Mul", nodes.add("Cos", turned_BW), nodes.constant(math.sqrt(2 / WAVES)))]
    if width > WAVES:
        return finish(nodes, lifted, WAVES, schema)
    lifted.append(nodes.add("Mul", x_BX, nodes.constant(SHARE / math.sqrt(variance))))
    return finish(nodes, lifted, WAVES + width, schema)


def block(nodes: Nodes, schema: Schema, numbers: str | None = None) -> tuple[list[str], int]:
    """The parts of x, and X."""
    parts: list[str] = []
    spreads = [spread for _, spread in schema.numbers]
    held_BN = numbers or _numbers(nodes, schema)
    if held_BN is not None:
        centred_BN = nodes.add("Sub", held_BN, nodes.constant([s.mean for s in spreads]))
        scaled_BN = nodes.add("Div", centred_BN, nodes.constant([max(s.deviation, _NARROWEST) for s in spreads]))
        parts.append(nodes.add("Clip", scaled_BN, nodes.constant(-_CLIP), nodes.constant(_CLIP)))
    lacking = [place for place, _ in indicators(schema)]
    if lacking:
        chosen = nodes.add("Gather", NUMERIC, nodes.constant(lacking, np.int64), axis=1)
        parts.append(nodes.add("Cast", nodes.add("IsNaN", chosen), to=TensorProto.FLOAT))
    places = [(c, slot) for c, column in enumerate(schema.categoricals) for slot in slots(column)]
    if places:
        columns, wanted = zip(*places, strict=True)
        chosen = nodes.add("Gather", CATEGORICAL, nodes.constant(columns, np.int64), axis=1)
        equal_BS = nodes.add("Equal", chosen, nodes.constant(wanted, np.int64))
        parts.append(nodes.add("Cast", equal_BS, to=TensorProto.FLOAT))
    return parts, len(spreads) + len(lacking) + len(places)


def variances(schema: Schema) -> Doubles:
    """(X,) of x over the training rows, as the schema tells them."""
    rows = max(1, schema.rows)
    numbers = [float(len(spread.knots) > 1) for _, spread in schema.numbers]
    shares = [missing / rows for _, missing in indicators(schema)]
    for column in schema.categoricals:
        counts = {UNSEEN: column.rare, MISSING: column.missing}
        shares += [(column.counts[slot - FIRST] if slot >= FIRST else counts[slot]) / rows for slot in slots(column)]
    shares_S = np.array(shares, np.float64)
    return np.concatenate([np.array(numbers, np.float64), shares_S * (1 - shares_S)])


def finish(nodes: Nodes, parts: list[str], width: int, schema: Schema) -> Built:
    """The graph whose output ``raw`` is the parts, side by side. Raises InvalidInput where they are too wide."""
    if width > WIDEST:
        raise InvalidInput(
            f"{len(schema.columns)} columns become {width} features; expected at most {WIDEST}",
            "leave out columns of many categories, or choose table_random",
        )
    nodes.nodes.append(helper.make_node("Concat", parts, ["raw"], axis=1))
    counts = {NUMERIC: len(schema.numbers), CATEGORICAL: len(schema.categoricals)}
    kinds = {NUMERIC: TensorProto.FLOAT, CATEGORICAL: TensorProto.INT64}
    graph = helper.make_graph(
        nodes.nodes,
        "table",
        [helper.make_tensor_value_info(name, kinds[name], ["batch", count]) for name, count in counts.items() if count],
        [helper.make_tensor_value_info("raw", TensorProto.FLOAT, ["batch", width])],
        nodes.constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=_IR)
    data: bytes = model.SerializeToString(deterministic=True)
    return data, width, nodes.stored


def slots(column: Categorical) -> list[int]:
    """The indexes of a column that get a place: those that a training row has."""
    special = [index for index, count in ((UNSEEN, column.rare), (MISSING, column.missing)) if count]
    return special + [FIRST + k for k in range(len(column.categories))]


def indicators(schema: Schema) -> list[tuple[int, int]]:
    """(place among the numbers, missing training rows) of each column of numbers that training rows lack."""
    told: list[tuple[int, int]] = []
    place = 0
    for column in schema.columns:
        if isinstance(column, Numeric | Date) and column.missing:
            told.append((place, column.missing))
        place += 1 if isinstance(column, Numeric) else len(column.spreads) if isinstance(column, Date) else 0
    return told


def _numbers(nodes: Nodes, schema: Schema) -> str | None:
    """(B, N): filled where missing, held within the ranges; None where there are none."""
    spreads = [spread for _, spread in schema.numbers]
    if not spreads:
        return None
    missing_BN = nodes.add("IsNaN", NUMERIC)
    filled_BN = nodes.add("Where", missing_BN, nodes.constant([s.fill for s in spreads]), NUMERIC)
    raised_BN = nodes.add("Max", filled_BN, nodes.constant([s.low for s in spreads]))
    return nodes.add("Min", raised_BN, nodes.constant([s.high for s in spreads]))


def _constant(nodes: Nodes, like: str, schema: Schema) -> str:
    """(B, 1): a constant beside x, as large as a typical row, so that unit length keeps how large a row is."""
    size = _CONSTANT * math.sqrt(max(1.0, float(variances(schema).sum())))
    first = nodes.constant([0], np.int64)
    none_B1 = nodes.add("Mul", nodes.add("Gather", like, first, axis=1), nodes.constant(0.0))
    return nodes.add("Add", none_B1, nodes.constant(size))
