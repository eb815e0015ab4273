"""Requests of the Open Inference Protocol, version 2, from their bytes to our own words.

Promises that a request is either read completely or refused with a reason. Parameters that mean nothing here are passed
over, because the protocol may be extended. Pure functions; knows nothing of routes or of who answers.

Legend: B batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from core.errors import InvalidInput, MalformedRequest, TooLarge
from core.preprocess import Row
from core.types import Scene
from service.api.outputs import default, encoded, on_demand, tensor_inputs
from service.api.schemas import parse
from service.api.tensors import Content, cut, read_bytes, read_numbers, read_texts, split
from service.engine.snapshot import Snapshot

FILES = ("image", "audio")  # modalities whose examples are files: base64 in JSON
SIZE = "binary_data_size"
MOST_AXES = 8

Length = Annotated[int, Field(ge=0, lt=2**63)]
Given = tuple["InputIn", Sequence[Any] | memoryview | None]  # an input and its content


class Lenient(BaseModel):
    """Unknown fields are passed over: the protocol may be extended."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False, strict=True)


class InputIn(Lenient):
    """An input tensor: ``data``, or ``binary_data_size`` among its parameters."""

    name: str
    datatype: str
    shape: list[Length] = Field(min_length=1, max_length=MOST_AXES)
    parameters: dict[str, Any] | None = None
    data: list[Any] | None = None


class OutputIn(Lenient):
    """An output to be answered; ``binary_data`` among its parameters asks for bytes."""

    name: str
    parameters: dict[str, Any] | None = None


class InferIn(Lenient):
    """The JSON of a request."""

    id: str | None = None
    parameters: dict[str, Any] | None = None
    inputs: list[InputIn] = Field(min_length=1)
    outputs: list[OutputIn] | None = None


@dataclass(frozen=True)
class Asked:
    """A request.

    Attributes:
        name: of the client, echoed; None where it gave none.
        instances: B whole examples as bytes, or B rows of the model's own tensors.
        outputs: names, and whether each is to be answered as bytes.
    """

    name: str | None
    instances: Sequence[Any]
    outputs: dict[str, bool]


def read(body: bytes, lengths: Sequence[str], snapshot: Snapshot, most: int, most_bytes: int) -> Asked:
    """The request in ``body``; ``lengths`` are the values of its header Inference-Header-Content-Length.

    Args:
        snapshot: what the inputs must fit.
        most: instances in one request.
        most_bytes: of one file.

    Raises:
        MalformedRequest: it cannot be taken apart. InvalidInput: a tensor that does not fit, or an unknown output.
        TooLarge: more instances, or a larger file.
    """
    text, rest = split(body, lengths)
    told = parse(InferIn, text)
    pieces = cut(rest, [_stated_size(each) for each in told.inputs])
    contents = [
        (given, given.data if piece is None else piece) for given, piece in zip(told.inputs, pieces, strict=True)
    ]
    return Asked(told.id, _instances(contents, snapshot, most, most_bytes), _outputs(told, snapshot.scene))


def _stated_size(given: InputIn) -> int | None:
    """The size of an input's binary data; None where its data stands in the JSON."""
    size = (given.parameters or {}).get(SIZE)
    if (size is None) == (given.data is None):
        both = "both data and" if size is not None else "neither data nor"
        raise MalformedRequest(
            f"input {given.name[:80]!r} has {both} {SIZE}", "send one of the two; shared memory is not offered"
        )
    if size is not None and (type(size) is not int or not 0 <= size < 2**63):
        raise MalformedRequest(f"{SIZE} of input {given.name[:80]!r} is no number of bytes", "send a whole number")
    return size


def _instances(contents: Sequence[Given], snapshot: Snapshot, most: int, most_bytes: int) -> Sequence[Any]:
    """Whole examples as bytes, or rows of the model's own tensors."""
    tensors = tensor_inputs(snapshot)
    name, _ = encoded(snapshot.scene)
    choices = f"send {' and '.join(tensors)}, or {name} alone"
    for given, _ in contents:
        if given.name != name and given.name not in tensors:
            raise InvalidInput(f"there is no input {given.name[:80]!r}", choices)
    named = sorted(given.name for given, _ in contents)
    if named not in ([name], sorted(tensors)):
        raise InvalidInput(f"the request has {len(named)} inputs, {', '.join(named)[:200]}", choices)
    batch = contents[0][0].shape[0]
    for given, _ in contents:
        _check(given, *tensors.get(given.name, ("BYTES", [-1])), batch, name)
    if batch > most:
        raise TooLarge(f"the request has {batch} instances, of {most} at most", "send several requests")
    if named == [name]:
        texts = snapshot.scene.modality not in FILES
        return (read_texts if texts else read_bytes)(name, _content(contents[0]), batch, most_bytes)
    dtypes = {key: given.dtype for key, given in snapshot.session.inputs.items()}
    gaps = snapshot.scene.modality == "tabular"  # NaN is a cell without a value
    arrays = {
        each[0].name: read_numbers(each[0].name, _content(each), each[0].shape, dtypes[each[0].name], gaps)
        for each in contents
    }
    return [Row({key: array[b] for key, array in arrays.items()}) for b in range(batch)]


def _check(given: InputIn, datatype: str, shape: list[int], batch: int, name: str) -> None:
    """Whether an input is of the type and shape that the metadata tells, and of the same batch as the others."""
    wanted = [batch if axis == 0 else length for axis, length in enumerate(shape)]
    fits = len(given.shape) == len(wanted) and all(w in (-1, g) for w, g in zip(wanted, given.shape, strict=True))
    if given.datatype != datatype or not fits or 0 in given.shape:
        told = ", ".join(["B", *("any" if length < 0 else str(length) for length in shape[1:])])
        raise InvalidInput(
            f"input {given.name} is {given.datatype[:40]} {given.shape}; expected {datatype} [{told}], of one B",
            f"the model's metadata says what it takes; whole examples go into {name}",
        )


def _content(each: Given) -> Content:
    assert each[1] is not None, "one of the two is there, as _stated_size says"
    return each[1]


def _outputs(told: InferIn, scene: Scene) -> dict[str, bool]:
    """Names of outputs, and which are to be bytes; those that stand for themselves where none is named."""
    usual = _flag(told.parameters, "binary_data_output", False)
    if not told.outputs:
        return dict.fromkeys(default(scene), usual)
    known = default(scene) + on_demand(scene)
    asked: dict[str, bool] = {}
    for output in told.outputs:
        if output.name not in known:
            raise InvalidInput(f"there is no output {output.name[:80]!r}", f"choose from {', '.join(known)}")
        if output.name in asked:
            raise InvalidInput(f"output {output.name} is asked for twice", "ask for it once")
        if (output.parameters or {}).get("classification"):
            raise InvalidInput("the classification extension is not offered", "ask for label and labels")
        asked[output.name] = _flag(output.parameters, "binary_data", usual)
    return asked


def _flag(parameters: dict[str, Any] | None, name: str, usual: bool) -> bool:
    value = (parameters or {}).get(name, usual)
    if not isinstance(value, bool):
        raise InvalidInput(f"parameter {name} is a {type(value).__name__}", "send true or false")
    return value
