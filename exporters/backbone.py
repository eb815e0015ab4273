"""One pretrained model as a member graph: what a preprocessor gives goes in, raw features come out.

Promises ``member``: a Backbone of torch or of ONNX as ONNX bytes with the inputs that it states (``image`` uint8
[batch, H, W, 3], ``input_ids`` int64 [batch, length] …) and the output ``raw`` (float32, [batch, D]), no weights in
other files, only the batch axis and the axes stated as free are free, and no trace of the machine in it. Knows nothing
of where backbones come from, of transforms or of heads.

Legend: B batch, H height, W width, C channels, D features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnx.compose
import torch
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from core.errors import InvalidInput
from core.types import Input
from exporters.compose import at_opset, read
from exporters.template import anonymous, filled, trace
from exporters.transform import Kind

# Names this exporter in cache keys: count it up with any change of what `member` writes.
EXPORTER = "member/4"


@dataclass(frozen=True, kw_only=True)
class OnnxSource:
    """A foreign ONNX model and how pictures enter it: (pixel - mean) / deviation in ``layout``, read from ``output``.

    Attributes:
        model: the file's bytes, weights inside.
        input, output: names of the tensors used; the input has rank 4.
        pooled: axes of the output that are averaged to reach (B, D); none where it has rank 2.
        layout: axis order of the input.
        mean, deviation: per channel, in pixel units (0 to 255); None where the model takes raw uint8.
    """

    model: bytes = field(repr=False)
    input: str
    output: str
    pooled: tuple[int, ...]
    layout: str
    mean: tuple[float, float, float] | None
    deviation: tuple[float, float, float] | None


@dataclass(frozen=True, kw_only=True)
class MemberGraph:
    """An ONNX graph that is a member already: exactly the backbone's inputs, and ``raw``, float32 [batch, D]."""

    model: bytes = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A pretrained model, loaded.

    Attributes:
        digest: SHA-256 (hex) of its weights and of everything else that its plugin read.
        parameters: how many. dimension: D.
        inputs: input name to shape without the batch axis (None: a free axis) and type.
        files: what its preprocessor needs beside the inputs, by name: goes into the bundle.
        tolerance: largest difference between original and exported features that is no fault (see exporters.parity).
        body: a torch module that takes the inputs by keyword and gives float32 (B, D), an ONNX model of pictures, or
            a member graph.
        transform: what suits its features, where the user names none.
        zoo_name: the name that ``lepton backbones`` and the zoo know it by; empty where it does not come from there.
        recipe: the adaptation that moved its weights on labels of the scene; empty where they are as they were.
    """

    name: str
    source: str
    modality: str
    digest: str
    licence: str
    parameters: int
    dimension: int
    inputs: Mapping[str, Input]
    files: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    body: torch.nn.Module | OnnxSource | MemberGraph = field(repr=False)
    tolerance: float = 1e-4
    transform: Kind = "sqrt_l2"
    zoo_name: str = ""
    recipe: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the pictures that it takes."""
        height, width = self.inputs["image"].shape[:2]
        assert height is not None, f"{self.name} takes pictures of any size"
        assert width is not None, f"{self.name} takes pictures of any size"
        return height, width


def pictures(size: tuple[int, int]) -> dict[str, Input]:
    """The inputs of a backbone that takes pictures of (H, W)."""
    return {"image": Input((*size, 3), np.dtype(np.uint8))}


def infos(inputs: Mapping[str, Input]) -> list[ValueInfoProto]:
    """Graph inputs, the batch axis first; free axes are named by their place."""
    return [
        helper.make_tensor_value_info(
            name,
            helper.np_dtype_to_tensor_dtype(held.dtype),
            ["batch", *(f"length{place}" if axis is None else axis for place, axis in enumerate(held.shape, 1))],
        )
        for name, held in inputs.items()
    ]


class Normalised(torch.nn.Module):
    """A torch model of NCHW floats, behind uint8 NHWC pictures: (pixel - mean) / deviation, in pixel units."""

    def __init__(self, model: torch.nn.Module, mean: tuple[float, ...], deviation: tuple[float, ...]) -> None:
        super().__init__()
        self.model = model
        self.mean: torch.Tensor
        self.deviation: torch.Tensor
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(deviation).view(1, -1, 1, 1), persistent=False)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """uint8 (B, H, W, 3) to raw features (B, D)."""
        pixels = image.permute(0, 3, 1, 2).to(torch.float32)
        raw: torch.Tensor = self.model((pixels - self.mean) / self.deviation)
        return raw


def member(backbone: Backbone, template: bytes | None = None) -> bytes:
    """The backbone as a member graph; the same bytes each time, with its template (``exporters.template``) or without.

    Raises:
        InvalidInput: torch cannot export the model, or its output is not (batch, D).
    """
    if isinstance(backbone.body, MemberGraph):
        wrapped = at_opset(read(backbone.body.model), backbone.name)
    elif isinstance(backbone.body, OnnxSource):
        wrapped = _wrap(backbone, backbone.body)
    else:
        traced = template or trace(backbone.body, backbone.inputs, backbone.name)
        wrapped = filled(traced, backbone.body)
    graph = wrapped.graph
    if {value.name for value in graph.input} != set(backbone.inputs) or [o.name for o in graph.output] != ["raw"]:
        raise InvalidInput(
            f"{backbone.name} has inputs {[i.name for i in graph.input]} and outputs {[o.name for o in graph.output]}",
            f"give a model that takes {', '.join(backbone.inputs)} and has one feature output",
        )
    del graph.input[:], graph.output[:], graph.value_info[:]
    graph.input.extend(infos(backbone.inputs))
    graph.output.append(helper.make_tensor_value_info("raw", TensorProto.FLOAT, ["batch", backbone.dimension]))
    anonymous(wrapped)
    data: bytes = wrapped.SerializeToString(deterministic=True)
    return data


def _wrap(backbone: Backbone, source: OnnxSource) -> ModelProto:
    """Nodes before and after a foreign graph, so that it takes ``image`` and gives ``raw``."""
    proto = onnx.compose.add_prefix(at_opset(read(source.model), backbone.name), "body/")
    graph = proto.graph
    stored = {tensor.name for tensor in graph.initializer}
    given = next(value for value in graph.input if value.name == f"body/{source.input}")
    others = [value.name for value in graph.input if value.name not in stored and value.name != given.name]
    if others:
        raise InvalidInput(f"{backbone.name} also needs {others}", "give a model of one picture input")
    before, constants = _entry(source, given.name, given.type.tensor_type.elem_type)
    after, more = _pool(source)
    body = list(graph.node)
    del graph.node[:], graph.input[:], graph.output[:]
    graph.node.extend([*before, *body, *after])
    graph.initializer.extend([*constants, *more])
    graph.input.append(helper.make_tensor_value_info("image", TensorProto.UINT8, None))
    graph.output.append(helper.make_tensor_value_info("raw", TensorProto.FLOAT, None))
    return proto


def _entry(source: OnnxSource, name: str, element: int) -> tuple[list[NodeProto], list[TensorProto]]:
    made: list[NodeProto] = []
    constants: list[TensorProto] = []
    pixels = "image"
    if source.mean is not None and source.deviation is not None:
        made = [
            helper.make_node("Cast", ["image"], ["entry/float"], to=TensorProto.FLOAT),
            helper.make_node("Sub", ["entry/float", "entry/mean"], ["entry/centred"]),
            helper.make_node("Div", ["entry/centred", "entry/deviation"], ["entry/normal"]),
        ]
        pairs = (("entry/mean", source.mean), ("entry/deviation", source.deviation))
        constants = [numpy_helper.from_array(np.array(value, np.float32), key) for key, value in pairs]
        pixels = "entry/normal"
    if source.layout == "NCHW":
        made.append(helper.make_node("Transpose", [pixels], ["entry/planes"], perm=[0, 3, 1, 2]))
        pixels = "entry/planes"
    made.append(helper.make_node("Cast", [pixels], [name], to=element))
    return made, constants


def _pool(source: OnnxSource) -> tuple[list[NodeProto], list[TensorProto]]:
    """The chosen output averaged over the stated axes, as float32."""
    cast = helper.make_node("Cast", [f"body/{source.output}"], ["exit/float"], to=TensorProto.FLOAT)
    if not source.pooled:
        return [cast, helper.make_node("Identity", ["exit/float"], ["raw"])], []
    mean = helper.make_node("ReduceMean", ["exit/float", "exit/axes"], ["raw"], keepdims=0)
    return [cast, mean], [numpy_helper.from_array(np.array(source.pooled, np.int64), "exit/axes")]
