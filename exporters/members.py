"""The member graphs inside a composed model: taken out one by one, and others put in their place.

Promises that what stands around a member (its entry, transform, grid and head) stays as it is, byte for byte, so that
a member that was changed is another extractor with the same head swap. Knows nothing of what is done to a member.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import onnx.compose
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from core.errors import BrokenBundle
from exporters.compose import read

_MEMBER = re.compile(r"m(\d+)/graph/")


def taken(model: bytes) -> list[ModelProto]:
    """The members of a composed model as graphs of their own: inputs by their own names, one output ``raw``.

    Raises:
        BrokenBundle: no model of ours.
    """
    proto = read(model)
    widths = {value.name: value.type.tensor_type for value in proto.graph.input}
    return [_member(proto, number, widths) for number in range(_count(proto.graph))]


def replaced(model: bytes, members: Sequence[ModelProto]) -> bytes:
    """The model with other members, of the same inputs and widths, in the order of ``taken``.

    Raises:
        BrokenBundle: the model has another number of members, or the result is no valid model.
    """
    proto = read(model)
    if _count(proto.graph) != len(members):
        raise BrokenBundle(f"a model of {_count(proto.graph)} members got {len(members)}", "change what was taken out")
    nodes, tensors = list(proto.graph.node), list(proto.graph.initializer)
    sparse = list(proto.graph.sparse_initializer)
    for number, member in enumerate(members):
        prefix = _prefix(number)
        named = onnx.compose.add_prefix(member, prefix)
        inside = [_inside(node, prefix) for node in nodes]
        first = inside.index(True)
        around = [node for node, within in zip(nodes, inside, strict=True) if not within]
        nodes = [*around[:first], *named.graph.node, *around[first:]]
        tensors = [t for t in tensors if not t.name.startswith(prefix)] + list(named.graph.initializer)
        sparse = [t for t in sparse if not t.values.name.startswith(prefix)] + list(named.graph.sparse_initializer)
        _widen(proto, named)
    for held, made in ((proto.graph.node, nodes), (proto.graph.initializer, tensors)):
        del held[:]
        held.extend(made)
    del proto.graph.sparse_initializer[:], proto.graph.value_info[:]
    proto.graph.sparse_initializer.extend(sparse)
    try:
        onnx.checker.check_model(proto, full_check=False)
    except onnx.checker.ValidationError as error:
        raise BrokenBundle(f"the changed model is not valid: {str(error)[:300]}", "keep the model as it was") from error
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


def named(graphs: Sequence[ModelProto]) -> list[ModelProto]:
    """The members with a name of its own for every node."""
    for graph in graphs:
        seen: set[str] = set()
        for place, node in enumerate(graph.graph.node):
            if not node.name or node.name in seen:
                node.name = f"{node.op_type}/{place}"
            seen.add(node.name)
    return list(graphs)


def _count(graph: GraphProto) -> int:
    found = {int(match[1]) for node in graph.node for name in node.output if (match := _MEMBER.match(name))}
    if not found:
        raise BrokenBundle("the model has no members", "use a model.onnx written by lepton export")
    return max(found) + 1


def _prefix(number: int) -> str:
    return f"m{number}/graph/"


def _inside(node: NodeProto, prefix: str) -> bool:
    """Whether a node is the member's own; its entry, an Identity of an input of the whole, is not."""
    return any(name.startswith(prefix) for name in node.output) and not _entry(node, prefix)


def _entry(node: NodeProto, prefix: str) -> bool:
    plain = node.op_type == "Identity" and len(node.input) == 1
    return plain and node.output[0] == prefix + node.input[0]


def _member(proto: ModelProto, number: int, types: dict[str, TensorProto]) -> ModelProto:
    prefix, graph = _prefix(number), proto.graph
    nodes = [node for node in graph.node if _inside(node, prefix)]
    inputs: list[ValueInfoProto] = []
    for node in graph.node:
        if _entry(node, prefix):
            value = ValueInfoProto(name=node.output[0])
            value.type.tensor_type.CopyFrom(types[node.input[0]])
            inputs.append(value)
    raw = helper.make_tensor_value_info(f"{prefix}raw", TensorProto.FLOAT, None)
    tensors = [tensor for tensor in graph.initializer if tensor.name.startswith(prefix)]
    made = helper.make_graph(nodes, "member", inputs, [raw], tensors)
    made.sparse_initializer.extend(t for t in graph.sparse_initializer if t.values.name.startswith(prefix))
    _rename(made, lambda name: name.removeprefix(prefix))
    model = helper.make_model(made, opset_imports=list(proto.opset_import), ir_version=proto.ir_version)
    model.functions.extend(proto.functions)
    return model


def _rename(graph: GraphProto, rename: Callable[[str], str]) -> None:
    """Every name of a graph and of the graphs within it, in place."""
    for node in graph.node:
        node.name = rename(node.name)
        node.input[:] = [rename(name) for name in node.input]
        node.output[:] = [rename(name) for name in node.output]
        for attribute in node.attribute:
            for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                _rename(inner, rename)
    for value in [*graph.input, *graph.output, *graph.value_info, *graph.initializer]:
        value.name = rename(value.name)
    for sparse in graph.sparse_initializer:
        sparse.values.name = rename(sparse.values.name)


def _widen(proto: ModelProto, member: ModelProto) -> None:
    """Bring in the operator sets and functions that a changed member needs."""
    known = {entry.domain for entry in proto.opset_import}
    proto.opset_import.extend(entry for entry in member.opset_import if entry.domain not in known)
    held = {(function.domain, function.name) for function in proto.functions}
    proto.functions.extend(f for f in member.functions if (f.domain, f.name) not in held)
