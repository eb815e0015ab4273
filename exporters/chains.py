"""Chains of channels inside a member graph: where channels begin, what treats each by itself, and who reads them.

A chain begins at a convolution or matrix product, goes through operators that treat every channel by itself
(activations, depthwise convolutions, norms, constants) and ends at convolutions or products that mix them again: the
inside of a bottleneck, of a residual block, of a transformer's feed-forward layer. Such channels can be taken out
without anything outside the chain seeing another shape. Promises that a chain which cannot be cut cleanly is none: one
whose channels reach an output, a sum with other channels or a gate. Knows nothing of which channels matter.

Legend: C channels of a chain.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

_ALONE = frozenset({"Relu", "LeakyRelu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "Elu", "Softplus", "Tanh"})
_ALONE |= {"Erf", "Gelu", "Mish", "Identity", "Sqrt", "Exp", "Neg", "Abs"}
_PAIRS = frozenset({"Add", "Sub", "Mul", "Div", "Pow", "Max", "Min"})
_MIXES = frozenset({"Conv", "MatMul", "Gemm"})


@dataclass(frozen=True, kw_only=True)
class End:
    """A node that mixes the channels again; ``data`` is the tensor that it reads them from."""

    node: str
    data: str
    weight: str
    axis: int


@dataclass(frozen=True, kw_only=True)
class Chain:
    """Channels that can be taken out.

    Attributes:
        width: C.
        cuts: weights and constants of the chain, and the axis on which each has the channels.
        depthwise: nodes whose groups are the channels.
        ends: who reads the channels; their weights are cut, too.
    """

    width: int
    cuts: tuple[tuple[str, int], ...]
    depthwise: tuple[str, ...]
    ends: tuple[End, ...]


class _NotClean(Exception):
    """The channels cannot be taken out."""


def chains(member: ModelProto) -> list[Chain]:
    """All chains of a graph, in the order of its nodes. Every node has a name of its own."""
    finder = _Finder(member)
    found: list[Chain] = []
    for node in member.graph.node:
        try:
            chain = finder.chain(node)
        except _NotClean:
            continue
        if chain is not None:
            found.append(chain)
    return found


def cut(member: ModelProto, chain: Chain, kept: Sequence[int]) -> ModelProto:
    """The graph with those channels of a chain alone."""
    made = ModelProto()
    made.CopyFrom(member)
    tensors = {tensor.name: tensor for tensor in made.graph.initializer}
    for name, axis in (*chain.cuts, *((end.weight, end.axis) for end in chain.ends)):
        array = np.take(numpy_helper.to_array(tensors[name]), kept, axis=axis)
        tensors[name].CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array), name))
    for node in made.graph.node:
        if node.name in chain.depthwise:
            (group,) = (attribute for attribute in node.attribute if attribute.name == "group")
            group.i = len(kept)
    del made.graph.value_info[:]
    return made


class _Finder:
    def __init__(self, member: ModelProto) -> None:
        graph = member.graph
        self.shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
        self.readers: dict[str, list[NodeProto]] = defaultdict(list)
        self.uses = Counter(name for node in graph.node for name in node.input)
        self.outputs = {value.name for value in graph.output}
        self.scalars = {name for name, shape in self.shapes.items() if int(np.prod(shape)) == 1}
        for node in graph.node:
            if node.op_type == "Constant":
                self.scalars |= set(node.output)
            for name in set(node.input):
                self.readers[name].append(node)

    def chain(self, node: NodeProto) -> Chain | None:
        """The chain that begins at a node; None where none can."""
        if node.op_type not in _MIXES or len(node.input) < 2 or node.input[1] not in self.shapes:
            return None
        if node.op_type == "Conv" and not self._plain(node):
            return None
        weight, axis = node.input[1], self._out(node)
        cuts, depthwise, ends = [(weight, axis)], list[str](), list[End]()
        cuts += [(name, 0) for name in node.input[2:] if name]
        width, first = self.shapes[weight][axis], node.op_type == "Conv"
        inside, waiting, seen = {node.output[0]}, [node.output[0]], dict[str, NodeProto]()
        while waiting:
            tensor = waiting.pop()
            if tensor in self.outputs:
                raise _NotClean
            for reader in self.readers[tensor]:
                if reader.name in seen:
                    continue
                seen[reader.name] = reader
                end = self._end(reader, tensor, first)
                if end is not None:
                    ends.append(end)
                    continue
                cuts += self._through(reader, tensor, width, first, depthwise)
                inside.add(reader.output[0])
                waiting.append(reader.output[0])
        self._check(seen.values(), inside, cuts, ends)  # type: ignore[arg-type]
        return Chain(width=width, cuts=tuple(cuts), depthwise=tuple(depthwise), ends=tuple(ends))

    def _out(self, node: NodeProto) -> int:
        """The axis of a mixing node's weight on which its results lie."""
        if node.op_type == "Conv":
            return 0
        if len(self.shapes[node.input[1]]) != 2:
            raise _NotClean
        return 0 if node.op_type == "Gemm" and _flag(node, "transB") else 1

    def _end(self, node: NodeProto, data: str, pictures: bool) -> End | None:
        if node.op_type not in _MIXES or (node.op_type == "Conv") != pictures or len(node.input) < 2:
            return None
        if node.input[0] != data or node.input[1] not in self.shapes or _flag(node, "transA"):
            return None
        if pictures and not self._plain(node):
            return None
        return End(node=node.name, data=data, weight=node.input[1], axis=1 - self._out(node))

    def _through(
        self, node: NodeProto, data: str, width: int, pictures: bool, depthwise: list[str]
    ) -> list[tuple[str, int]]:
        """What a node that treats channels alone has to be cut of."""
        others = [name for name in node.input if name and name != data]
        if node.op_type in _ALONE and all(name in self.scalars for name in others):
            return []
        if node.op_type == "BatchNormalization" and pictures and node.input[0] == data:
            return [(name, 0) for name in node.input[1:]]
        if node.op_type == "Conv" and node.input[0] == data and self._each(node, width):
            depthwise.append(node.name)
            return [(name, 0) for name in node.input[1:] if name]
        if node.op_type in _PAIRS:
            return [cut for name in others for cut in self._constant(name, width, pictures)]
        raise _NotClean

    def _plain(self, node: NodeProto) -> bool:
        """Whether a convolution is one of planes that mixes all channels, its borders given by numbers."""
        return _group(node) == 1 and len(self.shapes[node.input[1]]) == 4 and not _bordered(node)

    def _each(self, node: NodeProto, width: int) -> bool:
        """Whether a convolution gives one result for each channel, of that channel alone."""
        return _group(node) == width and self.shapes.get(node.input[1], ())[:2] == (width, 1)

    def _constant(self, name: str, width: int, pictures: bool) -> list[tuple[str, int]]:
        """A constant beside the channels; what is none must turn out to be inside the chain."""
        if name in self.scalars or name not in self.shapes:
            return []
        shape = self.shapes[name]
        axis = len(shape) - (3 if pictures else 1)
        if axis < 0 or shape[axis] != width or int(np.prod(shape)) != width:
            raise _NotClean
        return [(name, axis)]

    def _check(
        self, nodes: Sequence[NodeProto], inside: set[str], cuts: Sequence[tuple[str, int]], ends: Sequence[End]
    ) -> None:
        reading = {end.node for end in ends}
        for node in nodes:
            strangers = [n for n in node.input if n and n not in self.shapes and n not in self.scalars]
            if node.name not in reading and any(name not in inside for name in strangers):
                raise _NotClean
        if not ends or any(self.uses[name] != 1 for name in [n for n, _ in cuts] + [end.weight for end in ends]):
            raise _NotClean


def _group(node: NodeProto) -> int:
    return next((int(helper.get_attribute_value(a)) for a in node.attribute if a.name == "group"), 1)


def _bordered(node: NodeProto) -> bool:
    """Whether the borders follow from a word such as SAME_UPPER."""
    words = [helper.get_attribute_value(a) for a in node.attribute if a.name == "auto_pad"]
    return any(word != b"NOTSET" for word in words)


def _flag(node: NodeProto, name: str) -> bool:
    return any(bool(helper.get_attribute_value(a)) for a in node.attribute if a.name == name)
