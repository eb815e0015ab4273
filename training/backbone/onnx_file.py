"""Any ONNX file as a frozen backbone.

When to use: a company's own model, or one that torch cannot export. Limit: it stays frozen; one picture input; a
weights file beside the model is refused, because one digest can vouch for the bytes of one file only. Promises that
pictures enter as the file and its sidecar say. Knows nothing of selection or export.

A name is the path of the file. What the file does not say stands in an optional ``<file>.json``:

    {"layout": "NCHW", "size": 224, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
     "output": "features", "output_layout": "NCHW", "licence": "MIT"}

``mean`` and ``std`` are for pixels from 0 to 1 (default for float inputs: those of ImageNet, as above; none for uint8).
``output`` may be any tensor inside: feature maps are averaged over height and width (in ``output_layout``, by default
that of the input), (batch, tokens, D) over tokens. A picture size that is fixed in the file overrules every other.

>>> names()
()
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from core.errors import InvalidInput, LeptonError, NotFound
from training.onnx_trial import output_shape
from training.zoo import Row, Setting

if TYPE_CHECKING:
    from onnx import ModelProto, ValueInfoProto

    from exporters.backbone import Backbone, OnnxSource

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_PIXEL = 255.0
_FLOATS = (1, 10)  # TensorProto.FLOAT, FLOAT16
_UINT8 = 2
_ELEMENTS = {1: np.float32, 10: np.float16, _UINT8: np.uint8}


@dataclass(frozen=True, kw_only=True)
class Sidecar:
    """What ``<file>.json`` may say; None where the file itself, or the default, decides."""

    layout: str | None = None
    size: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    output: str | None = None
    output_layout: str | None = None
    licence: str = "unknown"

    def __post_init__(self) -> None:
        for layout in (self.layout, self.output_layout):
            if layout not in (None, "NCHW", "NHWC"):
                raise ValueError(f"a layout is {layout!r}; expected NCHW or NHWC")
        for name, value in (("mean", self.mean), ("std", self.std)):
            if value is not None and len(value) != 3:
                raise ValueError(f"{name} has {len(value)} values; expected three")
        if self.std is not None and not all(value > 0 for value in self.std):
            raise ValueError(f"std is {self.std}; expected values above 0")
        if self.size is not None and self.size < 1:
            raise ValueError(f"size is {self.size}; expected at least 1")


def names() -> tuple[Row, ...]:
    """None: files are named by their paths."""
    return ()


def examples(folder: Path) -> tuple[tuple[str, Setting], ...]:
    """Two small seeded networks, written to ``folder``: NCHW floats to feature maps, and NHWC uint8 to a vector."""
    from onnx import TensorProto, helper, numpy_helper

    kernel = np.random.default_rng(0).standard_normal((32, 3, 5, 5)).astype(np.float32) / 8
    conv = helper.make_node("Conv", ["planes", "kernel"], ["maps"], strides=[4, 4])
    relu = helper.make_node("Relu", ["maps"], ["features"])
    weights = [numpy_helper.from_array(kernel, "kernel")]
    plain = helper.make_graph(
        [conv, relu],
        "maps",
        [helper.make_tensor_value_info("planes", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, None)],
        weights,
    )
    entry = [
        helper.make_node("Cast", ["bytes"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["cast"], ["planes"], perm=[0, 3, 1, 2]),
    ]
    pooled = helper.make_node("GlobalAveragePool", ["features"], ["pooled"])
    flat = helper.make_node("Flatten", ["pooled"], ["vector"])
    whole = helper.make_graph(
        [*entry, conv, relu, pooled, flat],
        "vector",
        [helper.make_tensor_value_info("bytes", TensorProto.UINT8, ["n", 48, 64, 3])],
        [helper.make_tensor_value_info("vector", TensorProto.FLOAT, None)],
        weights,
    )
    made = []
    for graph, size in ((plain, 40), (whole, 48)):
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        path = folder / f"{graph.name}.onnx"
        path.write_bytes(model.SerializeToString())
        made.append((str(path), Setting(size=size)))
    return tuple(made)


def load(name: str, setting: Setting) -> Backbone:
    """The backbone in the file at path ``name``, for pictures of ``setting.size`` unless the file fixes its own.

    Raises:
        NotFound: no such file; InvalidInput: not a usable model, or a sidecar that does not fit it.
    """
    from exporters.backbone import Backbone, pictures

    path = Path(name)
    if not path.is_file():
        raise NotFound(f"there is no ONNX file {path}", "give the path of an existing .onnx file")
    data = path.read_bytes()
    beside = path.with_name(f"{path.name}.json")
    stated = beside.read_bytes() if beside.is_file() else b"{}"
    sidecar = _sidecar(stated, beside.name)
    proto = _read(data, path.name)
    entry = _picture_input(proto, path.name)
    layout = sidecar.layout or _layout(entry, path.name)
    shape = _picture_size(entry, layout, sidecar.size or setting.side)
    source, dimension = _source(proto, entry, layout, shape, sidecar, path.name)
    return Backbone(
        name=f"onnx_file:{path.name}",
        source=f"file {path.name}",
        modality="image",
        digest=hashlib.sha256(hashlib.sha256(data).digest() + stated).hexdigest(),
        licence=sidecar.licence,
        parameters=sum(int(np.prod(tensor.dims)) for tensor in proto.graph.initializer if tensor.data_type in _FLOATS),
        dimension=dimension,
        inputs=pictures(shape),
        body=source,
    )


def _sidecar(stated: bytes, name: str) -> Sidecar:
    try:
        parsed = json.loads(stated)
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in parsed.items()}
        return Sidecar(**fields)
    except (ValueError, TypeError, AttributeError) as error:
        raise InvalidInput(
            f"{name} cannot be used: {error}", f"write a JSON object of {', '.join(Sidecar.__dataclass_fields__)}"
        ) from error


def _read(data: bytes, name: str) -> ModelProto:
    from onnx.external_data_helper import uses_external_data

    from exporters.compose import read

    try:
        proto = read(data)
    except LeptonError as error:
        raise InvalidInput(f"{name}: {error.message}", "give a complete ONNX file") from error
    outside = [tensor.name for tensor in proto.graph.initializer if uses_external_data(tensor)]
    if outside:
        raise InvalidInput(
            f"{name} keeps weights in another file ({outside[0]} and {len(outside) - 1} more)",
            "save it with its weights inside: onnx.save(onnx.load(PATH), PATH, save_as_external_data=False)",
        )
    return proto


def _picture_input(proto: ModelProto, name: str) -> ValueInfoProto:
    stored = {tensor.name for tensor in proto.graph.initializer}
    entries = [value for value in proto.graph.input if value.name not in stored]
    if len(entries) != 1 or len(entries[0].type.tensor_type.shape.dim) != 4:
        raise InvalidInput(
            f"{name} has inputs {[value.name for value in entries]}; expected one of rank 4, a picture",
            "give a model that takes pictures alone",
        )
    if entries[0].type.tensor_type.elem_type not in (*_FLOATS, _UINT8):
        raise InvalidInput(f"{name} takes neither floats nor uint8", "export it with float32 or uint8 pictures")
    entry: ValueInfoProto = entries[0]
    return entry


def _layout(entry: ValueInfoProto, name: str) -> str:
    channels = [axis.dim_value for axis in entry.type.tensor_type.shape.dim]
    fits = [layout for layout, axis in (("NCHW", 1), ("NHWC", 3)) if channels[axis] == 3]
    if len(fits) != 1:
        raise InvalidInput(f"{name} does not say which axis of {channels} is colour", f'state "layout" in {name}.json')
    return fits[0]


def _picture_size(entry: ValueInfoProto, layout: str, size: int) -> tuple[int, int]:
    first = 2 if layout == "NCHW" else 1
    height, width = (axis.dim_value or size for axis in entry.type.tensor_type.shape.dim[first : first + 2])
    return height, width


def _source(
    proto: ModelProto, entry: ValueInfoProto, layout: str, shape: tuple[int, int], sidecar: Sidecar, name: str
) -> tuple[OnnxSource, int]:
    """The model cut to the one output that is used, and its width, found by running it once."""
    from onnx import helper

    from exporters.backbone import OnnxSource

    output = sidecar.output or proto.graph.output[0].name
    del proto.graph.output[:]
    proto.graph.output.append(helper.make_empty_tensor_value_info(output))
    model = proto.SerializeToString(deterministic=True)
    element = entry.type.tensor_type.elem_type
    axes = (3, *shape) if layout == "NCHW" else (*shape, 3)
    out = _run_once(model, entry.name, (1, *axes), np.dtype(_ELEMENTS[element]).name, output, name)
    maps = (2, 3) if (sidecar.output_layout or layout) == "NCHW" else (1, 2)
    pooled = {2: (), 3: (1,), 4: maps}[len(out)]
    normal = element in _FLOATS or sidecar.mean is not None or sidecar.std is not None
    source = OnnxSource(
        model=model,
        input=entry.name,
        output=output,
        pooled=pooled,
        layout=layout,
        mean=_pixels(sidecar.mean or _MEAN) if normal else None,
        deviation=_pixels(sidecar.std or _STD) if normal else None,
    )
    return source, [length for axis, length in enumerate(out) if axis not in pooled][1]


def _run_once(
    model: bytes, entry: str, shape: tuple[int, ...], element: str, output: str, name: str
) -> tuple[int, ...]:
    """The shape of what comes out, found in a limited process: the file may be anybody's."""
    out, reason = output_shape(model, entry, shape, element, output)
    if reason:
        raise InvalidInput(
            f"{name} does not run on a picture of {shape} up to {output!r}: {reason}",
            f"state the right size, layout and output in {name}.json",
        )
    if len(out) not in (2, 3, 4):
        raise InvalidInput(f"{output!r} of {name} has shape {out}; expected rank 2, 3 or 4", "choose another output")
    return out


def _pixels(values: tuple[float, ...]) -> tuple[float, float, float]:
    red, green, blue = (value * _PIXEL for value in values)
    return red, green, blue
