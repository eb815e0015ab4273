"""A member in float16: half the bytes, and on processors with half-precision arithmetic half the time.

Promises that inputs and ``raw`` keep their types, that what has no float16 form stays float32 between casts, and that
constants beyond float16 are brought to its nearest finite number, none to zero. Knows nothing of what it costs in
accuracy. ONNX Runtime has no float16 convolution for x86: it computes in float32 there, and is no faster.
"""

from __future__ import annotations

import numpy as np
import onnx.shape_inference
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

# Operators that demand float32 somewhere, or make floats of nothing.
_FLOAT_ONLY = frozenset({"Constant", "ConstantOfShape", "Range", "EyeLike", "Resize", "Upsample", "If", "Loop", "Scan"})
_FLOAT_ONLY |= {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "DFT", "STFT", "MelWeightMatrix"}
_LARGEST, _SMALLEST = 65504.0, 6e-8  # finite numbers of float16; the smallest is subnormal


def candidates(member: ModelProto) -> list[str]:
    """Names of the nodes that can compute in float16, in their order."""
    floats = _floats(member)
    return [node.name for node in member.graph.node if _can(node, floats)]


def halved(member: ModelProto, kept: frozenset[str]) -> ModelProto:
    """The member with every candidate but those ``kept`` in float16. Every node has a name of its own."""
    floats = _floats(member)
    made = ModelProto()
    made.CopyFrom(member)
    graph = made.graph
    weights = {tensor.name: tensor for tensor in graph.initializer if tensor.name in floats}
    low = {node.name for node in graph.node if _can(node, floats) and node.name not in kept}
    halves = {name for node in graph.node if node.name in low for name in node.output if name in floats}
    nodes: list[NodeProto] = []
    cast: set[str] = set()  # tensors that are there in their other type, too
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name not in floats or (name in halves) == (node.name in low):
                continue
            other = f"{name}/half" if node.name in low else f"{name}/float"
            if other not in cast:
                cast.add(other)
                if name in weights:
                    graph.initializer.append(_half(weights[name], other))
                else:
                    kind = TensorProto.FLOAT16 if node.name in low else TensorProto.FLOAT
                    nodes.append(helper.make_node("Cast", [name], [other], name=f"cast/{other}", to=kind))
            node.input[place] = other
        if node.name in low and node.op_type == "Cast":
            node.attribute[0].i = TensorProto.FLOAT16
        nodes.append(node)
    for value in graph.output:
        if value.name in halves:
            _end(nodes, value.name)
    used = {name for node in nodes for name in node.input}
    constants = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(constants)
    return made


def _can(node: NodeProto, floats: set[str]) -> bool:
    standard = node.domain in ("", "ai.onnx") and node.op_type not in _FLOAT_ONLY
    if node.op_type == "Cast":
        return standard and node.attribute[0].i == TensorProto.FLOAT
    return standard and any(name in floats for name in node.input)


def _floats(member: ModelProto) -> set[str]:
    """Tensors that are known to hold float32."""
    graph = onnx.shape_inference.infer_shapes(member).graph
    values = [*graph.input, *graph.value_info, *graph.output]
    found = {value.name for value in values if value.type.tensor_type.elem_type == TensorProto.FLOAT}
    return found | {tensor.name for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}


def _half(tensor: TensorProto, name: str) -> TensorProto:
    values = numpy_helper.to_array(tensor)
    clipped = np.clip(values, -_LARGEST, _LARGEST)
    lifted = np.where((values != 0) & (np.abs(values) < _SMALLEST), np.copysign(_SMALLEST, values), clipped)
    return numpy_helper.from_array(lifted.astype(np.float16), name)


def _end(nodes: list[NodeProto], name: str) -> None:
    """Give an output of the graph its float32 back."""
    inner = f"{name}/half"
    for node in nodes:
        node.input[:] = [inner if given == name else given for given in node.input]
        node.output[:] = [inner if given == name else given for given in node.output]
    nodes.append(helper.make_node("Cast", [inner], [name], name=f"cast/{inner}", to=TensorProto.FLOAT))
