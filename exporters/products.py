"""Matrix products and tables in int8, row by row: no calibration, and no row that depends on its neighbours.

Promises that each row of a product (a token, a patch, an example) is quantised by its own largest value, in the graph,
so that features are those of the row whatever shares its batch, and of text whatever its padding. Weights are int8 by
column, rows of an embedding table by row. Knows nothing of which to keep in float.

ONNX Runtime's own dynamic quantisation takes one scale for the whole batch: on MiniLM the features of a text then move
by up to 0.036 with the texts beside it, where the 16-bit grid has steps of 0.00003. Static ranges, which hold outliers
of single channels, cost a tenth of the likeness there. Row by row: as fast as either, nearer than both, and steady.

Reference: Yao et al., "ZeroQuant", arXiv 2206.01861 (a scale for each token).

Legend: K rows of a weight, N columns.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from exporters.transform import scalar

LEAST = 4096  # elements of a weight below which the arithmetic around it costs more than it saves
_MIDDLE, _REACH = 128, 127  # activations are uint8 around the middle: the kernels for int8 on both sides are slow
_NARROW = 63  # of weights, for processors whose eight-bit products saturate
_TINY = 1e-12


def candidates(member: ModelProto) -> list[str]:
    """Names of the products and look-ups whose weights are constants worth it, in their order."""
    weights = {t.name: t for t in member.graph.initializer if t.data_type == TensorProto.FLOAT and len(t.dims) == 2}
    large = {name for name, tensor in weights.items() if np.prod(tensor.dims) >= LEAST}
    return [node.name for node in member.graph.node if _weight(node) in large]


def quantised(member: ModelProto, kept: frozenset[str], *, narrow: bool) -> ModelProto:
    """The member with every candidate but those ``kept`` in int8."""
    wanted = set(candidates(member)) - kept
    if not wanted:
        return member
    writer = _Writer({tensor.name: tensor for tensor in member.graph.initializer}, _NARROW if narrow else _REACH)
    for node in member.graph.node:
        if node.name not in wanted:
            writer.nodes.append(node)
        elif node.op_type == "Gather":
            writer.look_up(node)
        else:
            writer.product(node)
    made = ModelProto()
    made.CopyFrom(member)
    used = {name for node in writer.nodes for name in node.input} | {value.name for value in made.graph.output}
    constants = [tensor for tensor in [*member.graph.initializer, *writer.constants.values()] if tensor.name in used]
    del made.graph.node[:], made.graph.initializer[:], made.graph.value_info[:]
    made.graph.node.extend(writer.nodes)
    made.graph.initializer.extend(constants)
    return made


def _weight(node: NodeProto) -> str | None:
    """The tensor that a node of a kind known here takes its weights from."""
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.op_type == "Gather":
        return str(node.input[0]) if attributes.get("axis", 0) == 0 else None
    if node.op_type == "MatMul":
        return str(node.input[1])
    plain = all(attributes.get(name, 1.0) == 1.0 for name in ("alpha", "beta")) and not attributes.get("transA", 0)
    return str(node.input[1]) if node.op_type == "Gemm" and plain else None


@dataclass
class _Writer:
    """The graph as it is written; what several products read is quantised once."""

    weights: dict[str, TensorProto]
    reach: int
    nodes: list[NodeProto] = field(default_factory=list)
    constants: dict[str, TensorProto] = field(default_factory=dict)
    rows: set[str] = field(default_factory=set)

    def product(self, node: NodeProto) -> None:
        """x . w = (levels of x . levels of w) * scale of the column * scale of the row."""
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        source, weight, base = node.input[0], node.input[1], f"{node.name}/int8"
        turned = bool(attributes.get("transB", 0))
        named = f"{weight}/columns{'_turned' if turned else ''}"
        self._levels(weight, named, axis=0, turned=turned)
        self._row_levels(source)
        last = node.output[0] if node.op_type == "MatMul" or len(node.input) < 3 else f"{base}/product"
        middle = self._constant("int8/middle", np.array(_MIDDLE, np.uint8))
        self._add("MatMulInteger", [f"{source}/levels", named, middle], f"{base}/sums")
        self._add("Cast", [f"{base}/sums"], f"{base}/floats", to=TensorProto.FLOAT)
        self._add("Mul", [f"{base}/floats", f"{named}/scale"], f"{base}/columns")
        self._add("Mul", [f"{base}/columns", f"{source}/scale"], last)
        if last != node.output[0]:
            self._add("Add", [last, node.input[2]], node.output[0])

    def look_up(self, node: NodeProto) -> None:
        """A row of the table is its levels times its scale."""
        table, places, base = node.input[0], node.input[1], f"{node.name}/int8"
        named = f"{table}/rows"
        self._levels(table, named, axis=1, turned=False)
        self._add("Gather", [named, places], f"{base}/levels", axis=0)
        self._add("Gather", [f"{named}/scale", places], f"{base}/scale", axis=0)
        self._add("Cast", [f"{base}/levels"], f"{base}/floats", to=TensorProto.FLOAT)
        self._add("Mul", [f"{base}/floats", f"{base}/scale"], node.output[0])

    def _levels(self, weight: str, named: str, *, axis: int, turned: bool) -> None:
        """int8 levels of a weight and the scales along its other axis; a table's rows have no use for fewer bits."""
        if named in self.constants:
            return
        values_KN: NDArray[np.float32] = numpy_helper.to_array(self.weights[weight])
        values_KN = values_KN.T if turned else values_KN
        reach = self.reach if axis == 0 else _REACH
        scale = np.maximum(np.abs(values_KN).max(axis=axis, keepdims=True), _TINY) / np.float32(reach)
        levels_KN = np.rint(values_KN / scale).clip(-reach, reach).astype(np.int8)
        self._constant(named, np.ascontiguousarray(levels_KN))
        self._constant(f"{named}/scale", (scale[0] if axis == 0 else scale).astype(np.float32))

    def _row_levels(self, source: str) -> None:
        """uint8 levels of each row of a tensor, and its scale."""
        if source in self.rows:
            return
        self.rows.add(source)
        last = self._constant("int8/last", np.array([-1], np.int64))
        for name, value in (("tiny", _TINY), ("reach", _REACH), ("step", 1 / _REACH), ("offset", _MIDDLE)):
            self.constants.setdefault(f"int8/{name}", scalar(f"int8/{name}", value))
        self._add("Abs", [source], f"{source}/sizes")
        self._add("ReduceMax", [f"{source}/sizes", last], f"{source}/largest", keepdims=1)
        self._add("Max", [f"{source}/largest", "int8/tiny"], f"{source}/most")
        self._add("Div", ["int8/reach", f"{source}/most"], f"{source}/factor")
        self._add("Mul", [source, f"{source}/factor"], f"{source}/scaled")
        self._add("Round", [f"{source}/scaled"], f"{source}/whole")
        self._add("Add", [f"{source}/whole", "int8/offset"], f"{source}/moved")
        self._add("Cast", [f"{source}/moved"], f"{source}/levels", to=TensorProto.UINT8)
        self._add("Mul", [f"{source}/most", "int8/step"], f"{source}/scale")

    def _add(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))

    def _constant(self, name: str, values: NDArray[np.generic]) -> str:
        self.constants.setdefault(name, numpy_helper.from_array(values, name))
        return name
