"""Convolutions in int8: ranges measured once on real rows, weights by channel, and what lies between in int8, too.

Promises a graph in the QDQ form, which ONNX Runtime fuses to integer kernels, and features of a row that do not depend
on what shares its batch, since every range is fixed. What leaves a convolution stays in int8 through activations,
pooling and sums, and goes back to float32 where it meets an operator that has no integer form. Built on
``onnxruntime.quantization``: its calibration and its quantiser, not its files. Knows nothing of which to keep in float.

References: Jacob et al., arXiv 1712.05877 (integer arithmetic for inference); Krishnamoorthi, arXiv 1806.08342 (scales
by channel).
"""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.shape_inference
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper

from exporters.pixels import Pixels, find

BATCH = 16  # rows that calibration passes at once
_CONVOLUTION = "Conv"
# What may stay in int8 between convolutions.
_BETWEEN = frozenset({"Clip", "Relu", "LeakyRelu", "Sigmoid", "Add", "Mul", "Concat", "MaxPool", "AveragePool"})
_BETWEEN |= {"GlobalAveragePool"}


def candidates(member: ModelProto) -> list[str]:
    """Names of the convolutions that can be quantised, in their order."""
    weights = {tensor.name for tensor in member.graph.initializer}
    return [n.name for n in member.graph.node if n.op_type == _CONVOLUTION and n.input[1] in weights]


def ranges(member: ModelProto, rows: Mapping[str, NDArray[Any]]) -> Any:
    """Smallest and largest value of every tensor on real rows, as the quantiser takes them."""
    from onnxruntime.quantization.calibrate import CalibrationDataReader, CalibrationMethod, create_calibrator

    count = len(next(iter(rows.values())))

    class Reader(CalibrationDataReader):  # type: ignore[misc] # the base is untyped
        def __init__(self) -> None:
            self.starts = iter(range(0, count, BATCH))

        def get_next(self) -> dict[str, NDArray[Any]] | None:
            start = next(self.starts, None)
            return None if start is None else {name: array[start : start + BATCH] for name, array in rows.items()}

    with tempfile.TemporaryDirectory() as folder, _quiet():
        file = Path(folder) / "member.onnx"
        onnx.save(member, file)
        types = sorted({_CONVOLUTION, *_BETWEEN})
        augmented = str(Path(folder) / "augmented.onnx")
        calibrator = create_calibrator(file, types, augmented, CalibrationMethod.MinMax)
        calibrator.collect_data(Reader())
        return calibrator.compute_data()


def quantised(member: ModelProto, kept: frozenset[str], measured: Any, *, narrow: bool) -> ModelProto:
    """The member with every convolution but those ``kept`` in int8.

    Args:
        measured: what ``ranges`` gave.
        narrow: weights of seven bits, for processors whose eight-bit products saturate.
    """
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    chosen = _chosen(member, kept)
    if not chosen:
        return member
    pixels = find(member)
    with _quiet():
        quantiser = QDQQuantizer(
            onnx.shape_inference.infer_shapes(member),
            True,  # by channel
            narrow,
            QuantType.QInt8,
            QuantType.QUInt8,
            measured,
            chosen,
            [],
            sorted({node.op_type for node in member.graph.node if node.name in chosen}),
            {"TensorQuantOverrides": _overrides(pixels, QuantType.QUInt8)},
        )
        quantiser.quantize_model()
    made: ModelProto = quantiser.model.model
    if pixels is not None:
        _read_bytes(made, pixels)
    tidy(made)
    return made


def tidy(made: ModelProto) -> None:
    """Nodes in the order of what they need, and nothing that leads nowhere."""
    graph = made.graph
    makers = {name: node for node in graph.node for name in node.output}
    ordered: list[NodeProto] = []
    seen: set[int] = set()
    waiting = [(makers[value.name], False) for value in reversed(graph.output)]
    while waiting:
        node, ready = waiting.pop()
        if ready:
            ordered.append(node)
        elif id(node) not in seen:
            seen.add(id(node))
            waiting.append((node, True))
            waiting += [(makers[name], False) for name in reversed(node.input) if name in makers]
    used = {name for node in ordered for name in node.input}
    constants = [tensor for tensor in graph.initializer if tensor.name in used]
    kept = [NodeProto.FromString(node.SerializeToString()) for node in ordered]
    del graph.node[:], graph.initializer[:], graph.value_info[:]
    graph.node.extend(kept)
    graph.initializer.extend(constants)


def _chosen(member: ModelProto, kept: frozenset[str]) -> list[str]:
    """The convolutions, and what lies between them and reads nothing but int8 and constants."""
    weights = {tensor.name for tensor in member.graph.initializer}
    wanted = set(candidates(member)) - kept
    low: set[str] = set()
    names: list[str] = []
    for node in member.graph.node:
        read = [name for name in node.input if name and name not in weights]
        between = node.op_type in _BETWEEN and bool(read) and all(name in low for name in read)
        if node.name in wanted or between:
            names.append(node.name)
            low.update(node.output)
    return names


def _overrides(pixels: Pixels | None, kind: Any) -> dict[str, list[dict[str, Any]]]:
    if pixels is None:
        return {}
    scale, zero = np.array(pixels.scale, np.float32), np.array(pixels.zero, np.uint8)
    return {pixels.tensor: [{"quant_type": kind, "scale": scale, "zero_point": zero}]}


def _read_bytes(made: ModelProto, pixels: Pixels) -> None:
    """Let the first convolution read the picture itself, where its input was quantised."""
    for place, node in enumerate(made.graph.node):
        if node.op_type == "QuantizeLinear" and node.input[0] == pixels.tensor:
            turned = helper.make_node(
                "Transpose", [pixels.picture], [node.output[0]], name="pixels", perm=list(pixels.axes)
            )
            del made.graph.node[place]
            made.graph.node.insert(place, turned)
            return


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the quantiser's advice on standard error."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(level)
