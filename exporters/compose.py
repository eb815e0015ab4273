"""Members, transforms, the grid and the head as one ONNX graph: the form in which everything is served.

    inputs -> member 1 ... member k -> transform each -> concat / sqrt(k) -> grid -> features . W + b -> softmax

Promises a file that is complete by itself and whose head (``head.weight``, ``head.bias``) can be replaced by name or
per call, with any number of classes; further tasks have heads and answers of their own over the same features. What
leads to ``features`` is the extractor, and ``extractor_digest`` names it. Knows nothing of where members come from or
how heads are learned.

Legend: B batch, D features, K classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnx.compose
import onnx.version_converter
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from core.errors import BrokenBundle, InvalidInput
from core.mixture import PRESENT
from core.tasks import head_names
from core.types import Floats, Head, Scene, Task
from exporters.transform import Transform, grid_nodes, nodes, scalar

OPSET = 20
_IR = 10  # 4 is the first whose initializers may be overridden; 10 is what opset 20 needs


@dataclass(frozen=True, kw_only=True)
class Member:
    """One exported backbone (its inputs in, ``raw`` float32 (B, D) out) and what scales its features.

    Attributes:
        part: in a mixture, its column of the input ``present``. mean_D: there, its mean scaled features, which stand
            where the part is missing.
    """

    graph: bytes = field(repr=False)
    transform: Transform = field(default_factory=Transform)
    part: int | None = None
    mean_D: Floats | None = field(repr=False, default=None)


def compose(
    members: Sequence[Member],
    *,
    task: Task = "classification",
    offset: float = 0.0,
    scale: float = 1.0,
    further: Sequence[Scene] = (),
) -> bytes:
    """The one graph, with an all-zero head of one class: give it a real one by ``with_head``.

    ``offset`` and ``scale`` are the Scene's, for regression: value = score * scale + offset; and so is ``further``, the
    tasks beside the first.

    Raises:
        InvalidInput: no members, members that want different things of one input, or opsets that cannot be aligned.
    """
    if not members:
        raise InvalidInput("a model of no members cannot be composed", "give at least one backbone")
    parts = [_prefixed(member.graph, number) for number, member in enumerate(members)]
    inputs = [*_union(parts), *_presence(members)]
    made: list[NodeProto] = []
    constants: list[TensorProto] = []
    for number, (part, member) in enumerate(zip(parts, members, strict=True)):
        scaled = f"m{number}/scaled" if member.part is None else f"m{number}/given"
        added = nodes(member.transform, f"m{number}/graph/raw", scaled)
        made += [helper.make_node("Identity", [_plain(value.name, number)], [value.name]) for value in part.graph.input]
        filled = _filled(member, scaled, f"m{number}/scaled")
        made += [*part.graph.node, *added[0], *filled[0]]
        constants += [*part.graph.initializer, *added[1], *filled[1]]
    width = sum(m.transform.width(_width(p.graph.output[0])) for m, p in zip(members, parts, strict=True))
    answers = [_answer(task, offset, scale), *(_answer(t.task, t.offset, t.scale, t.task_name) for t in further)]
    for more, initializers in (_join(len(parts)), grid_nodes("joined", "features"), *answers):
        made += more
        constants += initializers
    names = ["", *(other.task_name for other in further)]
    inputs += [value for name in names for value in _head_inputs(width, name)]
    outputs = [*_outputs(task, width), *(_output(other.task, other.task_name) for other in further)]
    graph = helper.make_graph(made, "lepton", inputs, outputs, constants)
    graph.sparse_initializer.extend(sparse for part in parts for sparse in part.graph.sparse_initializer)
    zeros = np.zeros((width, 1), np.float32), np.zeros(1, np.float32)
    graph.initializer.extend(tensor for name in names for tensor in _head_arrays(*zeros, name))
    model = helper.make_model(graph, opset_imports=_opsets(parts), ir_version=_IR, producer_name="lepton")
    model.functions.extend(function for part in parts for function in part.functions)
    onnx.checker.check_model(model, full_check=False)
    return _bytes(model)


def with_head(model: bytes, head: Head) -> bytes:
    """The same graph with ``head`` as its default, in every task; any number of classes.

    Raises:
        BrokenBundle: the model has no replaceable head, or one of another width or of other tasks.
    """
    proto = read(model)
    heads = {"": head, **head.further}
    fed = {value.name for value in proto.graph.input}
    old = {t.name: tuple(t.dims) for t in proto.graph.initializer if t.name in fed and t.name.startswith("head.")}
    fits = old.keys() == {name for task in heads for name in head_names(task)}
    for task, each in heads.items():
        fits = fits and old[head_names(task)[0]][0] == each.weight.shape[0] and each.bias.shape == each.weight.shape[1:]
    if not fits:
        shapes = {task: (each.weight.shape, each.bias.shape) for task, each in heads.items()}
        raise BrokenBundle(
            f"a head of {shapes if head.further else shapes['']} does not fit a model whose head is {old}",
            "solve the head on features of this very model",
        )
    kept = [tensor for tensor in proto.graph.initializer if tensor.name not in old]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)
    for task, each in heads.items():
        proto.graph.initializer.extend(_head_arrays(each.weight, each.bias, task))
    return _bytes(proto)


def cut(model: bytes) -> tuple[bytes, int]:
    """What a composed model computes before the grid, as a member graph with the output ``raw``, and its width.

    So a version can be a member of another with nothing but its model at hand.

    Raises:
        BrokenBundle: no model of ours.
    """
    proto = read(model)
    kept, needed = _leading_to(proto, "joined")
    stored = {tensor.name: tuple(tensor.dims) for tensor in proto.graph.initializer}
    weight, _ = head_names("")
    if not kept or weight not in stored:
        raise BrokenBundle("the model has no joined features", "use a model.onnx written by lepton export")
    width = stored[weight][0]
    inputs = [value for value in proto.graph.input if value.name in needed and value.name not in stored]
    constants = [tensor for tensor in proto.graph.initializer if tensor.name in needed]
    raw = helper.make_tensor_value_info("raw", TensorProto.FLOAT, ["batch", width])
    last = helper.make_node("Identity", ["joined"], ["raw"])
    graph = helper.make_graph([*kept, last], "member", inputs, [raw], constants)
    graph.sparse_initializer.extend(proto.graph.sparse_initializer)
    made = helper.make_model(graph, opset_imports=list(proto.opset_import), ir_version=_IR, producer_name="lepton")
    made.functions.extend(proto.functions)
    return _bytes(made), width


def stored_heads(model: bytes) -> dict[str, tuple[Floats, Floats]]:
    """Weight and bias of every head in the graph, by task; the first task's name is empty."""
    held = {tensor.name: tensor for tensor in read(model).graph.initializer}
    tasks = [name.removeprefix("head").removesuffix(".weight").removeprefix(".") for name in held]
    found = {task: head_names(task) for task in tasks if set(head_names(task)) <= held.keys()}
    return {
        task: (numpy_helper.to_array(held[weight]).copy(), numpy_helper.to_array(held[bias]).copy())
        for task, (weight, bias) in found.items()
    }


def extractor_digest(model: bytes) -> str:
    """SHA-256 (hex) of what ``features`` depends on: the same whatever the head, the task or its scale.

    Raises:
        BrokenBundle: no model, or one without features.
    """
    graph = read(model)
    kept, needed = _leading_to(graph, "features")
    if not kept:
        raise BrokenBundle("the model does not compute features", "use a model.onnx written by lepton export")
    digest = hashlib.sha256()
    parts = [*graph.opset_import, *kept, *graph.functions]
    parts += [value for value in graph.graph.input if value.name in needed]
    parts += sorted((t for t in graph.graph.initializer if t.name in needed), key=lambda tensor: tensor.name)
    for part in parts:
        encoded = part.SerializeToString(deterministic=True)
        digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()


def extractor_name(model: bytes, preprocessing: str) -> str:
    """SHA-256 (hex) of all that a feature depends on beside the example: the graph, and how examples are read for it.

    Args:
        preprocessing: the key of the preprocessor.
    """
    return hashlib.sha256(f"{extractor_digest(model)}\n{preprocessing}".encode()).hexdigest()


def read(model: bytes) -> ModelProto:
    """Parsed ONNX bytes.

    Raises:
        BrokenBundle: not an ONNX model.
    """
    try:
        proto = onnx.load_model_from_string(model)
    except Exception as error:  # the parser's error class is a private one of protobuf
        raise BrokenBundle(f"{len(model)} bytes are not an ONNX model: {error}", "fetch the file again") from error
    if not proto.graph.node:
        raise BrokenBundle(f"{len(model)} bytes hold no ONNX graph", "fetch the file again")
    return proto


def at_opset(proto: ModelProto, name: str) -> ModelProto:
    """The same model at our operator set.

    Raises:
        InvalidInput: it cannot be converted; ``name`` says which one in the message.
    """
    current = next((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), OPSET)
    if current == OPSET:
        return proto
    try:
        return onnx.version_converter.convert_version(proto, OPSET)
    except Exception as error:  # the converter is C++ and raises RuntimeError and kinds of its own
        raise InvalidInput(
            f"{name} has opset {current} and cannot be brought to {OPSET}: {str(error)[:300]}",
            f"export that model again with opset {OPSET}",
        ) from error


def _prefixed(graph: bytes, number: int) -> ModelProto:
    """The member at our opset, every name under ``m<number>/graph/``, where nothing of ours is named."""
    return onnx.compose.add_prefix(at_opset(read(graph), f"member {number}"), f"m{number}/graph/")


def _plain(name: str, number: int) -> str:
    return name.removeprefix(f"m{number}/graph/")


def _union(parts: Sequence[ModelProto]) -> list[ValueInfoProto]:
    """Every input of the members once, by its own name."""
    made: dict[str, ValueInfoProto] = {}
    for number, part in enumerate(parts):
        for value in part.graph.input:
            name, tensor = _plain(value.name, number), value.type.tensor_type
            axes = [axis.dim_value or f"length{place}" for place, axis in enumerate(tensor.shape.dim)]
            wanted = helper.make_tensor_value_info(name, tensor.elem_type, ["batch", *axes[1:]])
            if made.setdefault(name, wanted) != wanted:
                raise InvalidInput(
                    f"members disagree about the input {name}: {_shape(made[name])} and {_shape(wanted)}; expected one "
                    "type and one size for all",
                    "load every backbone at the same size, and fuse only backbones that read their input alike",
                )
    return list(made.values())


def _shape(value: ValueInfoProto) -> str:
    axes = ", ".join(str(axis.dim_value or axis.dim_param) for axis in value.type.tensor_type.shape.dim)
    return f"{TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower()} ({axes})"


def _presence(members: Sequence[Member]) -> list[ValueInfoProto]:
    """The input that says which parts of a mixture are there."""
    columns = {member.part for member in members if member.part is not None}
    if not columns:
        return []
    assert columns == set(range(len(columns))), f"parts {sorted(columns)} are not counted from 0"
    return [helper.make_tensor_value_info(PRESENT, TensorProto.FLOAT, ["batch", len(columns)])]


def _filled(member: Member, source: str, target: str) -> tuple[list[NodeProto], list[TensorProto]]:
    """The block where its part is there, its mean where it is not: mean + present * (block - mean)."""
    if member.part is None:
        return [], []
    assert member.mean_D is not None, "a member of a mixture needs the mean of its block"
    made = [
        helper.make_node("Gather", [PRESENT, f"{target}/column"], [f"{target}/there"], axis=1),
        helper.make_node("Sub", [source, f"{target}/mean"], [f"{target}/centred"]),
        helper.make_node("Mul", [f"{target}/centred", f"{target}/there"], [f"{target}/kept"]),
        helper.make_node("Add", [f"{target}/kept", f"{target}/mean"], [target]),
    ]
    return made, [
        numpy_helper.from_array(np.array([member.part], np.int64), f"{target}/column"),
        numpy_helper.from_array(np.ascontiguousarray(member.mean_D, np.float32), f"{target}/mean"),
    ]


def _join(members: int) -> tuple[list[NodeProto], list[TensorProto]]:
    if members == 1:
        return [helper.make_node("Identity", ["m0/scaled"], ["joined"])], []
    names = [f"m{number}/scaled" for number in range(members)]
    made = [
        helper.make_node("Concat", names, ["joined/all"], axis=1),
        helper.make_node("Mul", ["joined/all", "joined/share"], ["joined"]),
    ]
    return made, [scalar("joined/share", members**-0.5)]


def _named(word: str, name: str) -> str:
    """A word of the graph as it is for a task; the first, whose name is empty, has it plain."""
    return f"{word}.{name}" if name else word


def _answer(task: Task, offset: float, scale: float, name: str = "") -> tuple[list[NodeProto], list[TensorProto]]:
    stem, (weight, bias) = _named("answer", name), head_names(name)
    made = [
        helper.make_node("MatMul", ["features", weight], [f"{stem}/product"]),
        helper.make_node("Add", [f"{stem}/product", bias], [f"{stem}/score"]),
    ]
    if task == "classification":
        return [*made, helper.make_node("Softmax", [f"{stem}/score"], [_named("probabilities", name)], axis=-1)], []
    made += [
        helper.make_node("Mul", [f"{stem}/score", f"{stem}/scale"], [f"{stem}/scaled"]),
        helper.make_node("Add", [f"{stem}/scaled", f"{stem}/offset"], [_named("value", name)]),
    ]
    return made, [scalar(f"{stem}/scale", scale), scalar(f"{stem}/offset", offset)]


def _head_inputs(width: int, name: str = "") -> list[ValueInfoProto]:
    (weight, bias), classes = head_names(name), _named("classes", name)
    return [
        helper.make_tensor_value_info(weight, TensorProto.FLOAT, [width, classes]),
        helper.make_tensor_value_info(bias, TensorProto.FLOAT, [classes]),
    ]


def _outputs(task: Task, width: int) -> list[ValueInfoProto]:
    return [_output(task), helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", width])]


def _output(task: Task, name: str = "") -> ValueInfoProto:
    word, axis = ("probabilities", _named("classes", name)) if task == "classification" else ("value", 1)
    return helper.make_tensor_value_info(_named(word, name), TensorProto.FLOAT, ["batch", axis])


def _head_arrays(weight_DK: Floats, bias_K: Floats, name: str = "") -> list[TensorProto]:
    named = dict(zip(head_names(name), (weight_DK, bias_K), strict=True))
    return [numpy_helper.from_array(np.ascontiguousarray(a, dtype=np.float32), name) for name, a in named.items()]


def _width(output: ValueInfoProto) -> int:
    width = output.type.tensor_type.shape.dim[-1].dim_value
    assert width > 0, f"{output.name} has no fixed width"
    return int(width)


def _opsets(parts: Sequence[ModelProto]) -> list[onnx.OperatorSetIdProto]:
    versions: dict[str, int] = {"": OPSET}
    for part in parts:
        for entry in part.opset_import:
            domain = "" if entry.domain == "ai.onnx" else entry.domain
            if versions.setdefault(domain, entry.version) != entry.version:
                raise InvalidInput(
                    f"members disagree about {domain}: {versions[domain]} and {entry.version}",
                    "export the members with the same version of that operator set",
                )
    return [helper.make_opsetid(domain, version) for domain, version in versions.items()]


def _leading_to(model: ModelProto, tensor: str) -> tuple[list[NodeProto], set[str]]:
    """The nodes that a tensor depends on, in their order, and the names of all that they read."""
    needed, kept = {tensor}, list[NodeProto]()
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            kept.append(node)
            needed.update(_reads(node))
    return kept[::-1], needed


def _reads(node: NodeProto) -> set[str]:
    """Tensors that a node reads, in its subgraphs too."""
    names = set(node.input)
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                names |= _reads(inner)
    return names


def _bytes(proto: ModelProto) -> bytes:
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


def alike(one: bytes, other: bytes) -> bool:
    """Whether two models compute the same features with other weights, and so take the same time; heads may differ.

    Raises as ``read``.
    """

    def told(model: bytes) -> tuple[object, ...]:
        graph = read(model).graph
        held = [tensor for tensor in graph.initializer if not tensor.name.startswith("head.")]
        weights = [(tensor.name, tuple(tensor.dims), tensor.data_type) for tensor in held]
        values = [each.SerializeToString() for each in (*graph.node, *graph.input, *graph.output)]
        return sorted(weights), values

    return told(one) == told(other)
