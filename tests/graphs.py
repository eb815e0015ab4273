"""Small member graphs with random weights: convolutions, products with a table like a text's, and one projection."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from exporters import compose
from exporters.compose import Member
from exporters.transform import Transform

SIDE, WIDTH, WORDS, LENGTH = 16, 96, 128, 12


def convolutions(seed: int = 0, mean: tuple[float, ...] = (127.0,), deviation: tuple[float, ...] = (128.0,)) -> bytes:
    """Pictures through three convolutions, one of them by channel, with a sum around the last."""
    random = np.random.default_rng(seed)

    def weight(name: str, *shape: int) -> TensorProto:
        scale = np.prod(shape[1:]) ** -0.5
        return numpy_helper.from_array((random.standard_normal(shape) * scale).astype(np.float32), name)

    constants = [
        numpy_helper.from_array(np.array(mean, np.float32).reshape(1, -1, 1, 1), "mean"),
        numpy_helper.from_array(np.array(deviation, np.float32).reshape(1, -1, 1, 1), "deviation"),
        numpy_helper.from_array(np.array(0, np.float32), "low"),
        numpy_helper.from_array(np.array(6, np.float32), "high"),
        numpy_helper.from_array(np.array([2, 3], np.int64), "axes"),
        weight("stem", WIDTH, 3, 3, 3),
        weight("depth", WIDTH, 1, 3, 3),
        weight("point", WIDTH, WIDTH, 1, 1),
        numpy_helper.from_array(random.standard_normal(WIDTH).astype(np.float32), "bias"),
    ]
    nodes = [
        _node("Transpose", ["image"], "planes", perm=[0, 3, 1, 2]),
        _node("Cast", ["planes"], "floats", to=TensorProto.FLOAT),
        _node("Sub", ["floats", "mean"], "centred"),
        _node("Div", ["centred", "deviation"], "normal"),
        _node("Conv", ["normal", "stem", "bias"], "c1", strides=[2, 2], pads=[1, 1, 1, 1]),
        _node("Clip", ["c1", "low", "high"], "a1"),
        _node("Conv", ["a1", "depth"], "c2", group=WIDTH, pads=[1, 1, 1, 1]),
        _node("Clip", ["c2", "low", "high"], "a2"),
        _node("Conv", ["a2", "point", "bias"], "c3"),
        _node("Add", ["c3", "a2"], "sum"),
        _node("ReduceMean", ["sum", "axes"], "raw", keepdims=0),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", SIDE, SIDE, 3])
    return _model(nodes, [image], constants)


def products(seed: int = 0) -> bytes:
    """Words through a table and two layers, averaged under a mask."""
    random = np.random.default_rng(seed)

    def weight(name: str, *shape: int) -> TensorProto:
        return numpy_helper.from_array((random.standard_normal(shape) * shape[0] ** -0.5).astype(np.float32), name)

    constants = [
        weight("table", WORDS, WIDTH),
        weight("first", WIDTH, WIDTH),
        weight("second", WIDTH, WIDTH),
        weight("bias", WIDTH),
        numpy_helper.from_array(np.array([1], np.int64), "axes"),
        numpy_helper.from_array(np.array([-1], np.int64), "last"),
    ]
    nodes = [
        _node("Gather", ["table", "input_ids"], "words"),
        _node("MatMul", ["words", "first"], "h1"),
        _node("Relu", ["h1"], "r1"),
        _node("Cast", ["attention_mask"], "mask", to=TensorProto.FLOAT),
        _node("Unsqueeze", ["mask", "last"], "mask1"),
        _node("Mul", ["r1", "mask1"], "kept"),
        _node("ReduceSum", ["kept", "axes"], "pooled", keepdims=0),
        _node("Gemm", ["pooled", "second", "bias"], "raw", transB=1),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length1"])
        for name in ("input_ids", "attention_mask")
    ]
    return _model(nodes, inputs, constants)


def bottleneck(seed: int = 0, inner: int = 48) -> bytes:
    """Pictures through a stem, a bottleneck whose inside could be narrower, and a convolution of nine places."""
    random = np.random.default_rng(seed)

    def weight(name: str, *shape: int) -> TensorProto:
        scale = np.prod(shape[1:]) ** -0.5 if len(shape) > 1 else 0.1
        return numpy_helper.from_array((random.standard_normal(shape) * scale).astype(np.float32), name)

    constants = [
        numpy_helper.from_array(np.array(0, np.float32), "low"),
        numpy_helper.from_array(np.array(6, np.float32), "high"),
        numpy_helper.from_array(np.array(64, np.float32), "scale"),
        numpy_helper.from_array(np.array([2, 3], np.int64), "axes"),
        weight("stem", 16, 3, 3, 3),
        weight("wide", inner, 16, 1, 1),
        weight("wide_bias", inner),
        weight("depth", inner, 1, 3, 3),
        weight("gain", 1, inner, 1, 1),
        weight("point", 16, inner, 1, 1),
        weight("point_bias", 16),
        weight("second", inner, 16, 3, 3),
        weight("second_bias", inner),
        weight("last", WIDTH, inner, 3, 3),
        weight("last_bias", WIDTH),
    ]
    nodes = [
        _node("Transpose", ["image"], "planes", perm=[0, 3, 1, 2]),
        _node("Cast", ["planes"], "floats", to=TensorProto.FLOAT),
        _node("Div", ["floats", "scale"], "normal"),
        _node("Conv", ["normal", "stem"], "s1", strides=[2, 2], pads=[1, 1, 1, 1]),
        _node("Conv", ["s1", "wide", "wide_bias"], "w1"),
        _node("Sigmoid", ["w1"], "gate"),
        _node("Mul", ["w1", "gate"], "silu"),
        _node("Conv", ["silu", "depth"], "d1", group=inner, pads=[1, 1, 1, 1]),
        _node("Mul", ["d1", "gain"], "g1"),
        _node("Conv", ["g1", "point", "point_bias"], "p1"),
        _node("Add", ["p1", "s1"], "sum"),
        _node("Conv", ["sum", "second", "second_bias"], "c1", pads=[1, 1, 1, 1]),
        _node("Clip", ["c1", "low", "high"], "a1"),
        _node("Conv", ["a1", "last", "last_bias"], "c2", strides=[2, 2], pads=[1, 1, 1, 1]),
        _node("ReduceMean", ["c2", "axes"], "raw", keepdims=0),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", SIDE, SIDE, 3])
    return _model(nodes, [image], constants)


def feed_forward(seed: int = 0, inner: int = 64) -> bytes:
    """Words through a table and a transformer's feed-forward layer, averaged under a mask."""
    random = np.random.default_rng(seed)

    def weight(name: str, *shape: int) -> TensorProto:
        scale = shape[0] ** -0.5 if len(shape) > 1 else 0.1
        return numpy_helper.from_array((random.standard_normal(shape) * scale).astype(np.float32), name)

    constants = [
        weight("table", WORDS, WIDTH),
        weight("first", WIDTH, inner),
        weight("first_bias", inner),
        weight("second", inner, WIDTH),
        weight("second_bias", WIDTH),
        numpy_helper.from_array(np.array(2**0.5, np.float32), "root"),
        numpy_helper.from_array(np.array(1, np.float32), "one"),
        numpy_helper.from_array(np.array([1], np.int64), "axes"),
        numpy_helper.from_array(np.array([-1], np.int64), "last"),
    ]
    nodes = [
        _node("Gather", ["table", "input_ids"], "words"),
        _node("MatMul", ["words", "first"], "h1"),
        _node("Add", ["h1", "first_bias"], "b1"),
        _node("Div", ["b1", "root"], "e1"),
        _node("Erf", ["e1"], "e2"),
        _node("Add", ["e2", "one"], "e3"),
        _node("Mul", ["b1", "e3"], "gelu"),
        _node("MatMul", ["gelu", "second"], "h2"),
        _node("Add", ["h2", "second_bias"], "b2"),
        _node("Add", ["b2", "words"], "sum"),
        _node("Cast", ["attention_mask"], "mask", to=TensorProto.FLOAT),
        _node("Unsqueeze", ["mask", "last"], "mask1"),
        _node("Mul", ["sum", "mask1"], "kept"),
        _node("ReduceSum", ["kept", "axes"], "raw", keepdims=0),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length1"])
        for name in ("input_ids", "attention_mask")
    ]
    return _model(nodes, inputs, constants)


def projection(width: int = 32, seed: int = 0) -> bytes:
    """Pictures through one random matrix: a frozen ONNX graph."""
    random = np.random.default_rng(seed)
    weight = random.standard_normal((SIDE * SIDE * 3, width)).astype(np.float32) / 2000
    nodes = [
        _node("Flatten", ["image"], "flat"),
        _node("Cast", ["flat"], "cast", to=TensorProto.FLOAT),
        _node("MatMul", ["cast", "weight"], "raw"),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", SIDE, SIDE, 3])
    return _model(nodes, [image], [numpy_helper.from_array(weight, "weight")], width)


def composed(*members: bytes) -> bytes:
    """Members in one graph, scaled to unit length."""
    return compose.compose([Member(graph=member, transform=Transform(kind="l2")) for member in members])


def pictures(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Smooth random pictures."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (count, SIDE // 4, SIDE // 4, 3), np.uint8)
    return {"image": coarse.repeat(4, axis=1).repeat(4, axis=2)}


def texts(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Random words of random number, the rest masked."""
    random = np.random.default_rng(seed)
    lengths = random.integers(2, LENGTH + 1, count)
    mask = (np.arange(LENGTH) < lengths[:, None]).astype(np.int64)
    return {"input_ids": random.integers(0, WORDS, (count, LENGTH)) * mask, "attention_mask": mask}


def _node(kind: str, inputs: list[str], output: str, **attributes: Any) -> NodeProto:
    return helper.make_node(kind, inputs, [output], name=f"node_{output}", **attributes)


def _model(
    nodes: list[NodeProto], inputs: list[ValueInfoProto], constants: list[TensorProto], width: int = WIDTH
) -> bytes:
    raw = helper.make_tensor_value_info("raw", TensorProto.FLOAT, ["batch", width])
    graph = helper.make_graph(nodes, "small", inputs, [raw], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", compose.OPSET)], ir_version=10)
    data: bytes = model.SerializeToString()
    return data
