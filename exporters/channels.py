"""Channels taken out of a composed model: those that say least inside a block, and what reads them solved anew.

Of every chain (exporters.chains) a share of the channels goes, those whose variation on real rows moves what reads them
least. What reads the others is then solved in closed form, so that it gives, on the same rows, what it gave before:
ridge regression towards the weights it had. So no label is needed and nothing is trained by steps; the head is solved
anew on the features by whoever asked. Promises a graph that is smaller and quicker by itself (no masks), with the same
inputs and as many features. Knows nothing of labels: whether accuracy suffers is for whoever has some.

Reference: He, Zhang and Sun, channel pruning, arXiv 1707.06168 (least squares after the cut); Luo, Wu and Lin, ThiNet,
arXiv 1707.06342.

Legend: N rows, P sampled places, C channels, O results, F channels × kernel places.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime as ort
import scipy.linalg
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from core.errors import InvalidInput
from core.types import Doubles
from exporters import members
from exporters.chains import Chain, End, chains, cut
from exporters.convolutions import tidy

PLACES = 6144  # sampled for each product that is solved anew
WIDEST = 3072  # F; wider ones keep the weights that they had
STEP = 8  # channels are kept in multiples of it, as kernels like them
_BATCH = 16
_RIDGE = 1e-3  # of the mean square of what is read

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """A model with fewer channels; ``before`` and ``after`` count those that could be taken out."""

    model: bytes = field(repr=False)
    before: int
    after: int


def prune(
    model: bytes, share: float, rows: Arrays, progress: Callable[[int, int], None] = lambda done, total: None
) -> Pruned:
    """The model without a share of the channels inside its blocks.

    Args:
        rows: real ones, as the model's preprocessor gives them.

    Raises:
        InvalidInput: no share, or nothing can be taken out.
    """
    if not 0 < share < 1:
        raise InvalidInput(
            f"the share of channels to prune is {share:g}", "give a number between 0 and 1, such as 0.25"
        )
    graphs = members.named(members.taken(model))
    found = [(number, chain) for number, graph in enumerate(graphs) for chain in chains(graph)]
    counts = [(chain.width, _left(chain.width, share)) for _, chain in found]
    if not any(after < before for before, after in counts):
        raise InvalidInput(
            "nothing in the model can be pruned: no block has channels that nothing else reads",
            "make it int8 instead (--precision int8), or choose a smaller backbone",
        )
    given = [{value.name: rows[value.name] for value in graph.graph.input} for graph in graphs]
    cuts = [_planned(graphs[number], chain, share, given[number]) for number, chain in found]
    for done, ((number, _), planned) in enumerate(zip(found, cuts, strict=True), 1):
        graphs[number] = _without(graphs[number], planned, given[number])
        progress(done, len(found))
    return Pruned(
        model=members.replaced(model, graphs), before=sum(b for b, _ in counts), after=sum(a for _, a in counts)
    )


@dataclass(frozen=True)
class _Cut:
    """Channels of a chain that stay; of each of its readers the sampled places, and what it gave there (P, O)."""

    chain: Chain
    kept: list[int]
    given: list[tuple[NDArray[np.intp], NDArray[np.float32]]]


def _left(width: int, share: float) -> int:
    """Channels that stay of a chain.

    >>> _left(96, 0.25), _left(8, 0.9), _left(100, 0.5)
    (72, 8, 48)
    """
    return min(width, max(STEP, int((1 - share) * width / STEP + 0.5) * STEP))


def _planned(graph: ModelProto, chain: Chain, share: float, rows: Arrays) -> _Cut:
    """What is to be taken out of the original."""
    readers = [_Reader(graph, end, rows) for end in chain.ends]
    kept = _kept(chain, readers, _left(chain.width, share))
    return _Cut(chain, kept, [(reader.places, reader.given_PO) for reader in readers])


def _kept(chain: Chain, readers: Sequence[_Reader], count: int) -> list[int]:
    """The channels that move what reads them most."""
    moved_C = np.zeros(chain.width)
    for reader in readers:
        kernel = reader.weight_FO.shape[0] // chain.width
        size_F = np.square(reader.weight_FO).sum(axis=1) * reader.read_PF.var(axis=0)
        moved_C += size_F.reshape(chain.width, kernel).sum(axis=1)
    return sorted(np.argsort(-moved_C, kind="stable")[:count].tolist())


def _without(graph: ModelProto, planned: _Cut, rows: Arrays) -> ModelProto:
    """The graph without a chain's other channels, its readers solved so that they give what they gave."""
    if len(planned.kept) == planned.chain.width:
        return graph
    made = cut(graph, planned.chain, planned.kept)
    for end, (places, given_PO) in zip(planned.chain.ends, planned.given, strict=True):
        now = _Reader(made, end, rows, places)
        if now.plain and len(now.weight_FO) <= WIDEST:
            now.write(made, *_solved(now, given_PO.astype(np.float64)))
    return made


def _solved(now: _Reader, wanted_PO: Doubles) -> tuple[Doubles, Doubles]:
    """(F, O) weights and the bias (O,) that give ``wanted_PO``, by ridge regression towards the weights there are."""
    read_PF = now.read_PF.astype(np.float64)
    free = float(bool(now.bias))
    mean_F, mean_O = free * read_PF.mean(axis=0), free * wanted_PO.mean(axis=0)
    centred_PF = read_PF - mean_F
    missing_PO = wanted_PO - mean_O - centred_PF @ now.weight_FO
    gram_FF = centred_PF.T @ centred_PF
    gram_FF[np.diag_indices_from(gram_FF)] += _RIDGE * max(float(np.trace(gram_FF)) / len(gram_FF), 1e-12)
    weight_FO: Doubles = now.weight_FO + scipy.linalg.solve(gram_FF, centred_PF.T @ missing_PO, assume_a="pos")
    return weight_FO, mean_O - mean_F @ weight_FO


class _Reader:
    """A node that reads channels: what it reads and gives at sampled places of real rows.

    Attributes:
        weight_FO: its weights. bias: the tensor of its bias, where it has one.
        plain: whether it can be solved anew: no holes in its kernel, and a bias of its own.
        places: of every row, the places of its results that are sampled.
    """

    def __init__(self, graph: ModelProto, end: End, rows: Arrays, places: NDArray[np.intp] | None = None) -> None:
        self.end = end
        self.node = next(node for node in graph.graph.node if node.name == end.node)
        self.pictures = self.node.op_type == "Conv"
        told = {a.name: helper.get_attribute_value(a) for a in self.node.attribute}
        self._strides, self._pads = told.get("strides", (1, 1)), told.get("pads", (0, 0, 0, 0))
        self.plain = set(told.get("dilations", (1,))) == {1}
        (tensor,) = (tensor for tensor in graph.graph.initializer if tensor.name == end.weight)
        self._kernel = tuple(tensor.dims)[2:]
        self.weight_FO = self._turned(numpy_helper.to_array(tensor).astype(np.float64))
        self.bias, result = _bias(graph, self.node)
        self.plain &= not _shared(graph, self.bias)
        read, given = [], []
        for data, results in _seen(graph, (end.data, result), rows):
            if places is None:
                size = int(np.prod(results.shape[2:] if self.pictures else results.shape[1:-1], dtype=np.intp))
                count = -(-PLACES // len(next(iter(rows.values()))))
                places = np.random.default_rng(size).integers(size, size=count)
            read.append(self._read(data, places))
            given.append(self._given(results, places))
        assert places is not None, "there are rows"
        self.places, self.read_PF, self.given_PO = places, np.concatenate(read), np.concatenate(given)

    def write(self, graph: ModelProto, weight_FO: Doubles, bias_O: Doubles) -> None:
        """Put other weights, and another bias, into the graph."""
        for tensor in graph.graph.initializer:
            if tensor.name == self.end.weight:
                flat = weight_FO.T if self.end.axis == 1 else weight_FO
                array = np.ascontiguousarray(flat.reshape(tuple(tensor.dims)), np.float32)
                tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
            elif tensor.name == self.bias:
                tensor.CopyFrom(numpy_helper.from_array(bias_O.astype(np.float32), tensor.name))

    def _turned(self, weight: Doubles) -> Doubles:
        """(F, O): a convolution's (O, C, height, width), or a product's matrix."""
        return weight.reshape(len(weight), -1).T if self.end.axis == 1 else weight

    def _read(self, data: NDArray[np.float32], places: NDArray[np.intp]) -> NDArray[np.float32]:
        """(P, F) what each sampled result is made of."""
        if not self.pictures:
            return data.reshape(len(data), -1, data.shape[-1])[:, places].reshape(-1, data.shape[-1])
        (high, wide), (down, right), (top, left, bottom, far) = self._kernel, self._strides, self._pads
        padded = np.pad(data, ((0, 0), (0, 0), (top, bottom), (left, far)))
        starts = zip(*np.divmod(places, (padded.shape[3] - wide) // right + 1), strict=True)
        patches = [padded[:, :, y * down : y * down + high, x * right : x * right + wide] for y, x in starts]
        return np.stack(patches, axis=1).reshape(len(data) * len(places), -1)

    def _given(self, results: NDArray[np.float32], places: NDArray[np.intp]) -> NDArray[np.float32]:
        """(P, O)."""
        if self.pictures:
            flat = results.reshape(*results.shape[:2], -1)[:, :, places]
            return flat.transpose(0, 2, 1).reshape(-1, results.shape[1])
        return results.reshape(len(results), -1, results.shape[-1])[:, places].reshape(-1, results.shape[-1])


def _shared(graph: ModelProto, bias: str) -> bool:
    """Whether a bias is used elsewhere, too, and so must stay as it is."""
    return bool(bias) and sum(list(node.input).count(bias) for node in graph.graph.node) > 1


def _bias(graph: ModelProto, node: NodeProto) -> tuple[str, str]:
    """The tensor of a node's bias, which may be added by a node of its own, and the tensor of its result."""
    uses = [name for each in graph.graph.node for name in each.input]
    if len(node.input) > 2:
        return node.input[2], node.output[0]
    flat = {tensor.name for tensor in graph.graph.initializer if len(tensor.dims) == 1}
    adding = next((n for n in graph.graph.node if n.op_type == "Add" and node.output[0] in n.input), None)
    if adding is None or node.op_type == "Conv" or uses.count(node.output[0]) != 1:
        return "", node.output[0]
    other = next(name for name in adding.input if name != node.output[0])
    return (other, adding.output[0]) if other in flat and uses.count(other) == 1 else ("", node.output[0])


def _seen(
    graph: ModelProto, names: tuple[str, str], rows: Arrays
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """What two tensors are for real rows, a few rows at a time."""
    part = ModelProto()
    part.CopyFrom(graph)
    del part.graph.output[:]
    part.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    tidy(part)
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 2, 3
    session = ort.InferenceSession(part.SerializeToString(), options, providers=["CPUExecutionProvider"])
    needed = [value.name for value in session.get_inputs()]
    for start in range(0, len(rows[needed[0]]), _BATCH):
        first, second = session.run(list(names), {name: rows[name][start : start + _BATCH] for name in needed})
        yield first, second
