"""The graph of an architecture without its weights: torch traces a module once, and fills it for others in no time.

Promises the same bytes whether a module is traced or a template of it is filled, since tracing is making a template and
filling it; and that a template holds no weight, so that it tells nothing of what a module has learned. What is folded
into weights (normalisation, transposition) is folded after they are filled in. Knows nothing of where modules are from.

Torch takes 5 to 7 s to trace a network, and filling and folding take half a second.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import onnx
import onnx_ir
import torch
from numpy.typing import NDArray
from onnx import ModelProto, helper
from onnx_ir.passes.common import NameFixPass
from torch.onnx import ONNXProgram

from core.errors import InvalidInput
from core.types import Input
from exporters.compose import OPSET

_PLACE = "name_or_path"  # of transformers: the folder that weights were read from, which shapes no graph
_LENGTH = 16  # of free axes, where torch is shown an example; any but 0 and 1, which the exporter would freeze


def identity(body: torch.nn.Module) -> str:
    """SHA-256 (hex) of everything in a module that may be in its template: its layers and their settings, the names and
    shapes of its weights, and constants that are no weights."""
    told, state = hashlib.sha256(repr(body).encode()), body.state_dict()
    for name, layer in body.named_modules():
        told.update(f"\n{name} {_settings(layer)}".encode())
    for name, tensor in state.items():
        told.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
    for name, tensor in body.named_buffers():
        if name not in state:
            told.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}".encode() + _array(tensor).tobytes())
    return told.hexdigest()


def _settings(layer: torch.nn.Module) -> list[tuple[str, object]]:
    """What a layer was told and may not print, such as its number of heads."""
    plain = (bool, int, float, str, tuple)
    mute = {"training", _PLACE}
    found = [(name, value) for name, value in vars(layer).items() if isinstance(value, plain) and name not in mute]
    config = getattr(layer, "config", None)
    return [*sorted(found, key=str), ("config", repr(config) if hasattr(config, "to_dict") else "")]


def trace(body: torch.nn.Module, inputs: Mapping[str, Input], named: str) -> bytes:
    """The template of a module that takes the inputs by keyword; ``named`` in messages.

    Raises:
        InvalidInput: torch cannot export it.
    """
    try:
        with _quiet(), _out_of_place(body):
            program = torch.onnx.export(
                body.eval(),
                kwargs={name: _example(held) for name, held in inputs.items()},
                dynamo=True,
                external_data=False,
                opset_version=OPSET,
                dynamic_shapes={name: _free(held) for name, held in inputs.items()},
                input_names=list(inputs),
                output_names=["raw"],
                verbose=False,
                optimize=False,
            )
    except Exception as error:  # the exporter wraps whatever a model's own code raises
        raise InvalidInput(
            f"torch cannot export {named} for {_told(inputs)}: {str(error)[:300]}",
            "choose another backbone, or give an ONNX file of it (onnx_file:PATH)",
        ) from error
    assert program is not None
    state, model = body.state_dict(), program.model
    weights = state.keys() & model.graph.initializers.keys()
    NameFixPass()(model)  # a constant may be called as the output of a node, which no file may have
    proto: ModelProto = program.model_proto
    for tensor in proto.graph.initializer:
        if tensor.name in weights:
            weights.remove(tensor.name)
            tensor.ClearField("raw_data")
    assert not weights, f"{sorted(weights)} of {named} are called as its inputs or its output"
    anonymous(proto)
    data: bytes = proto.SerializeToString(deterministic=True)
    return data


def filled(template: bytes, body: torch.nn.Module) -> ModelProto:
    """The graph of a module of this template, with its weights and what can be folded into them."""
    proto, state = onnx.load_from_string(template), body.state_dict()
    for tensor in proto.graph.initializer:
        if tensor.name in state:
            given = _array(state[tensor.name])
            kind = helper.np_dtype_to_tensor_dtype(given.dtype)
            assert (tuple(tensor.dims), tensor.data_type) == (given.shape, kind), f"{tensor.name} is of another module"
            tensor.raw_data = given.tobytes()
    program = ONNXProgram(onnx_ir.serde.deserialize_model(proto), None)
    with _quiet():
        program.optimize()
    found: ModelProto = program.model_proto
    return found


def anonymous(proto: ModelProto) -> None:
    """Take out what exporters note about source files, so that the bytes are the same on every machine."""
    graph = proto.graph
    proto.producer_name, proto.producer_version, proto.doc_string = "lepton", "", ""
    graph.name, graph.doc_string = "member", ""
    noted = [proto, graph, *graph.node, *graph.initializer, *proto.functions]
    noted += [node for function in proto.functions for node in function.node]
    for part in noted:
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


def _array(tensor: torch.Tensor) -> NDArray[Any]:
    array: NDArray[Any] = tensor.detach().cpu().contiguous().numpy()
    return array


def _example(held: Input) -> torch.Tensor:
    """Two rows of ones (a mask of zeros would leave nothing to average)."""
    return torch.from_numpy(np.ones((2, *(axis or _LENGTH for axis in held.shape)), held.dtype))


def _free(held: Input) -> dict[int, object]:
    places = [0, *(place for place, axis in enumerate(held.shape, 1) if axis is None)]
    return {place: torch.export.Dim.DYNAMIC for place in places}


def _told(inputs: Mapping[str, Input]) -> str:
    return ", ".join(f"{name} {tuple(axis or '?' for axis in held.shape)}" for name, held in inputs.items())


@contextlib.contextmanager
def _out_of_place(body: torch.nn.Module) -> Iterator[None]:
    """Inside, no layer overwrites its input.

    Torch takes such layers apart before it exports them, which is half of the time where a network has many ReLU6, and
    comes to the same graph.
    """
    hasty: list[Any] = [layer for layer in body.modules() if getattr(layer, "inplace", False) is True]
    try:
        for layer in hasty:
            layer.inplace = False
        yield
    finally:
        for layer in hasty:
            layer.inplace = True


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No lines of progress from the exporter; its errors still come as exceptions."""
    level = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
