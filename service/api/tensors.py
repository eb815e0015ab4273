"""Tensors as the Open Inference Protocol writes them: numbers in JSON, or bytes behind it (binary tensor extension).

Promises that lengths which lie, ragged lists and numbers out of range are refused, and that what is read has exactly
the shape that it states. Pure functions; knows nothing of models or HTTP.

In JSON the content is flat or nested in row-major order. In binary it is row-major and little-endian; an element of
BYTES is its length, four bytes, and then its bytes.
Source: KServe, Open Inference Protocol (REST); Triton Inference Server, binary tensor data extension.
"""

from __future__ import annotations

import binascii
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput, MalformedRequest, TooLarge
from core.types import Floats

DATATYPES: Mapping[str, str] = {"uint8": "UINT8", "int64": "INT64", "float32": "FP32"}  # of numpy, of the protocol
PREFIX = struct.Struct("<I")  # before every element of BYTES
BASE64 = "send a list of base64 texts, or the bytes as a binary tensor"

Content = Sequence[Any] | memoryview


@dataclass(frozen=True)
class Tensor:
    """An output: FP32 of any shape, or BYTES, one text an element."""

    name: str
    datatype: Literal["FP32", "BYTES"]
    shape: tuple[int, ...]
    values: Floats | Sequence[str]


def split(body: bytes, lengths: Sequence[str]) -> tuple[bytes, memoryview]:
    """The JSON part of a body and the bytes behind it; ``lengths`` are the values of Inference-Header-Content-Length.

    Raises:
        MalformedRequest: several values, no number, or more than the body has.
    """
    if not lengths:
        return body, memoryview(b"")
    stated = lengths[0]
    if len(lengths) > 1 or not (stated.isascii() and stated.isdigit()) or len(stated) > 18:
        raise MalformedRequest(
            f"Inference-Header-Content-Length is {', '.join(lengths)[:80]!r}", "send it once, as a number of bytes"
        )
    length = int(stated)
    if not 0 < length <= len(body):
        raise MalformedRequest(
            f"Inference-Header-Content-Length is {length}, and the body has {len(body)} bytes",
            "send the length of the JSON part, which comes first and is never empty",
        )
    return body[:length], memoryview(body)[length:]


def cut(rest: memoryview, sizes: Sequence[int | None]) -> list[memoryview | None]:
    """The bytes behind the JSON, input by input, for those that state a size.

    Raises:
        MalformedRequest: the sizes are not those of the bytes that came.
    """
    wanted = sum(size for size in sizes if size is not None)
    if wanted != len(rest):
        raise MalformedRequest(
            f"the inputs state {wanted} bytes of binary data, and {len(rest)} came behind the JSON",
            "correct binary_data_size, or Inference-Header-Content-Length",
        )
    pieces: list[memoryview | None] = []
    start = 0
    for size in sizes:
        pieces.append(None if size is None else rest[start : start + size])
        start += size or 0
    return pieces


def read_numbers(
    name: str, content: Content, shape: Sequence[int], dtype: np.dtype[Any], gaps: bool = False
) -> NDArray[Any]:
    """The tensor ``name``, read-only, of ``shape`` and one of ``DATATYPES``, without a copy where it came as bytes.

    ``gaps``: whether NaN may stand for what is missing.

    Raises:
        InvalidInput: another number of elements, elements of another kind or out of range, or no finite numbers.
    """
    if isinstance(content, memoryview):
        array = np.frombuffer(_measured(name, content, shape, dtype), dtype.newbyteorder("<")).reshape(shape)
    else:
        array = _array(name, _flat(name, content, shape), dtype).reshape(shape)
    if dtype.kind == "f" and not np.isfinite(array if not gaps else array[~np.isnan(array)]).all():
        raise InvalidInput(f"input {name} has numbers that are not finite", "send finite numbers")
    return array


def read_bytes(name: str, content: Content, count: int, most: int) -> list[bytes]:
    """The ``count`` elements of the BYTES tensor ``name``, of at most ``most`` bytes each; in JSON they are base64.

    Raises:
        InvalidInput: another number of elements, or no base64. TooLarge: an element that is longer.
    """
    if isinstance(content, memoryview):
        return _elements(name, content, count, most)
    return [_decoded(name, value, most) for value in _flat(name, content, (count,))]


def read_texts(name: str, content: Content, count: int, most: int) -> list[bytes]:
    """As ``read_bytes``, but in JSON the elements are the texts themselves; answered as UTF-8."""
    if isinstance(content, memoryview):
        return _elements(name, content, count, most)
    return [_encoded(name, value, most) for value in _flat(name, content, (count,))]


def write(tensor: Tensor, binary: bool) -> tuple[dict[str, Any], bytes]:
    """An output as JSON, and the bytes that follow the JSON where it is binary."""
    told: dict[str, Any] = {"name": tensor.name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
    values = tensor.values
    if not binary:
        return told | {"data": values.ravel().tolist() if isinstance(values, np.ndarray) else list(values)}, b""
    if isinstance(values, np.ndarray):
        data = values.astype("<f4").tobytes()
    else:
        texts = [value.encode() for value in values]
        data = b"".join(chain.from_iterable((PREFIX.pack(len(text)), text) for text in texts))
    return told | {"parameters": {"binary_data_size": len(data)}}, data


def _measured(name: str, content: memoryview, shape: Sequence[int], dtype: np.dtype[Any]) -> memoryview:
    expected = math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        raise InvalidInput(
            f"input {name} of shape {list(shape)} has {len(content)} bytes; expected {expected}",
            f"send {dtype.itemsize} to an element, and the shape that they have",
        )
    return content


def _array(name: str, values: Sequence[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    kinds = set(map(type, values))
    if dtype.kind == "f":
        if not kinds <= {int, float}:
            raise InvalidInput(f"input {name} has elements that are no numbers", "send numbers")
        try:
            with np.errstate(over="ignore"):  # what becomes infinite is refused as such
                return np.array(values, np.float64).astype(dtype)
        except OverflowError:
            raise InvalidInput(f"input {name} has numbers that are not finite", "send finite numbers") from None
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    if kinds != {int}:
        raise InvalidInput(
            f"input {name} has elements that are no whole numbers", f"send whole numbers from {low} to {high}"
        )
    if min(values) < low or max(values) > high:
        raise InvalidInput(f"input {name} has numbers outside {low} to {high}", f"send {DATATYPES[dtype.name]} data")
    array: NDArray[Any] = np.array(values, dtype)
    array.flags.writeable = False
    return array


def _flat(name: str, content: Sequence[Any], shape: Sequence[int]) -> Sequence[Any]:
    """The elements in row-major order, of content that is flat or nested as ``shape`` says."""
    level: Sequence[Any] = content
    if content and isinstance(content[0], list):
        level = [content]
        for length in shape:
            if not all(isinstance(row, list) and len(row) == length for row in level):
                raise InvalidInput(f"input {name} is not nested as its shape {list(shape)} says", "send it flat")
            level = list(chain.from_iterable(level))
    if len(level) != math.prod(shape):
        raise InvalidInput(
            f"input {name} of shape {list(shape)} has {len(level)} elements; expected {math.prod(shape)}",
            "correct the shape, or the data",
        )
    return level


def _elements(name: str, content: memoryview, count: int, most: int) -> list[bytes]:
    found: list[bytes] = []
    place = 0
    for number in range(count):
        left = len(content) - place - PREFIX.size
        length = PREFIX.unpack_from(content, place)[0] if left >= 0 else 0
        if left < length:
            raise InvalidInput(
                f"element {number} of input {name} reaches beyond its {len(content)} bytes",
                "send every element as its length, four bytes little-endian, and its bytes",
            )
        _check_length(name, length, most)
        place += PREFIX.size
        found.append(bytes(content[place : place + length]))
        place += length
    if place != len(content):
        raise InvalidInput(
            f"input {name} has {len(content) - place} bytes after its {count} elements",
            "correct the shape, or the data",
        )
    return found


def _decoded(name: str, value: Any, most: int) -> bytes:
    if not isinstance(value, str):
        raise InvalidInput(f"input {name} has an element that is no text", BASE64)
    _check_length(name, len(value) // 4 * 3 - 2, most)
    try:
        return binascii.a2b_base64(value, strict_mode=True)
    except ValueError as error:  # binascii.Error, or a letter that is not ASCII
        raise InvalidInput(f"input {name} has an element that is not base64: {error}", BASE64) from None


def _encoded(name: str, value: Any, most: int) -> bytes:
    if not isinstance(value, str):
        raise InvalidInput(f"input {name} has an element that is no text", "send a list of texts")
    data = value.encode("utf-8", "surrogatepass")  # a lone half is refused where the text is read
    _check_length(name, len(data), most)
    return data


def _check_length(name: str, length: int, most: int) -> None:
    if length > most:
        raise TooLarge(f"an element of input {name} has more than {most} bytes", "send a smaller file")
