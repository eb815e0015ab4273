"""Tensors on the wire: what is written can be read, and whatever else comes is refused, never misread."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from core.errors import InvalidInput, LeptonError, MalformedRequest, TooLarge
from service.api.tensors import Content, Tensor, cut, read_bytes, read_numbers, split, write

SHAPE = array_shapes(min_dims=1, max_dims=4, max_side=4)
PIXELS = arrays(np.uint8, SHAPE)
FILES = st.lists(st.binary(max_size=20), min_size=1, max_size=5)
LEAF = st.one_of(
    st.integers(), st.floats(), st.text(max_size=5), st.booleans(), st.none(), st.just(10**400), st.just({})
)
JUNK: st.SearchStrategy[list[Any]] = st.lists(st.recursive(LEAF, lambda inner: st.lists(inner, max_size=4)), max_size=6)
MOST = 100
UINT8 = np.dtype(np.uint8)


def packed(files: list[bytes]) -> memoryview:
    return memoryview(b"".join(struct.pack("<I", len(file)) + file for file in files))


@given(PIXELS)
def test_pixels_are_read_from_bytes_from_flat_and_from_nested_lists(pixels: np.ndarray) -> None:
    contents: list[Content] = [memoryview(pixels.tobytes()), pixels.ravel().tolist(), pixels.tolist()]
    for content in contents:
        read = read_numbers("image", content, pixels.shape, UINT8)
        assert (str(read.dtype), read.shape, read.tobytes()) == ("uint8", pixels.shape, pixels.tobytes())


@given(FILES)
def test_files_are_read_from_bytes_and_from_base64(files: list[bytes]) -> None:
    assert read_bytes("files", packed(files), len(files), MOST) == files
    assert read_bytes("files", [base64.b64encode(file).decode() for file in files], len(files), MOST) == files


@given(st.one_of(JUNK, st.binary(max_size=40)), st.lists(st.integers(0, 2**62), min_size=1, max_size=4))
def test_whatever_comes_as_pixels_is_read_as_stated_or_refused(junk: Any, shape: list[int]) -> None:
    content = memoryview(junk) if isinstance(junk, bytes) else junk
    try:
        read = read_numbers("image", content, shape, UINT8)
    except InvalidInput:
        return
    assert list(read.shape) == shape
    flat = list(junk) if isinstance(junk, bytes) else np.array(junk, dtype=object).ravel().tolist()
    assert flat == read.ravel().tolist()


@given(st.one_of(JUNK, st.binary(max_size=40)), st.integers(1, 2**62))
def test_whatever_comes_as_files_is_read_as_stated_or_refused(junk: Any, count: int) -> None:
    content = memoryview(junk) if isinstance(junk, bytes) else junk
    try:
        read = read_bytes("files", content, count, MOST)
    except LeptonError:
        return
    assert len(read) == count
    if isinstance(junk, bytes):
        assert bytes(packed(read)) == junk


@given(FILES, st.data())
def test_files_with_a_byte_too_few_or_too_many_are_refused(files: list[bytes], data: st.DataObject) -> None:
    whole = bytes(packed(files))
    shorter = whole[: data.draw(st.integers(0, len(whole) - 1))]
    for wrong in (shorter, whole + b"\0"):
        with pytest.raises(InvalidInput):
            read_bytes("files", memoryview(wrong), len(files), MOST)


def test_a_file_beyond_the_cap_is_refused_before_it_is_copied_or_decoded() -> None:
    with pytest.raises(TooLarge, match="more than 100 bytes"):
        read_bytes("files", packed([b"x" * 101]), 1, MOST)
    with pytest.raises(TooLarge, match="more than 100 bytes"):
        read_bytes("files", [base64.b64encode(b"x" * 104).decode()], 1, MOST)
    assert read_bytes("files", [base64.b64encode(b"x" * 100).decode()], 1, MOST) == [b"x" * 100]


@given(st.binary(max_size=30), st.text(max_size=6))
def test_a_stated_length_is_kept_to_or_refused(body: bytes, stated: str) -> None:
    try:
        text, rest = split(body, [stated])
    except MalformedRequest:
        return
    assert len(text) == int(stated) and text + bytes(rest) == body


@given(st.binary(min_size=1, max_size=30), st.data())
def test_a_body_is_split_where_its_header_says(body: bytes, data: st.DataObject) -> None:
    length = data.draw(st.integers(1, len(body)))
    text, rest = split(body, [str(length)])
    assert (text, bytes(rest)) == (body[:length], body[length:])


@pytest.mark.parametrize("lengths", [["0"], ["-1"], ["5"], ["+3"], ["3", "3"], ["²"], [""], ["1" * 5000], ["1.0"]])
def test_lengths_that_cannot_be_are_refused(lengths: list[str]) -> None:
    with pytest.raises(MalformedRequest):
        split(b"body", lengths)


@given(st.binary(max_size=30), st.lists(st.one_of(st.none(), st.integers(0, 40)), min_size=1, max_size=4))
def test_binary_data_is_cut_exactly_or_refused(rest: bytes, sizes: list[int | None]) -> None:
    wanted = sum(size for size in sizes if size is not None)
    if wanted != len(rest):
        with pytest.raises(MalformedRequest, match=f"state {wanted} bytes"):
            cut(memoryview(rest), sizes)
        return
    pieces = cut(memoryview(rest), sizes)
    assert [None if piece is None else len(piece) for piece in pieces] == sizes
    assert b"".join(bytes(piece) for piece in pieces if piece is not None) == rest


@given(arrays(np.float32, SHAPE, elements=st.floats(allow_nan=False, allow_infinity=False, width=32)))
def test_numbers_are_written_to_the_last_bit_in_both_forms(values: np.ndarray) -> None:
    tensor = Tensor("probabilities", "FP32", values.shape, values)
    told, none = write(tensor, binary=False)
    assert none == b""
    assert np.array(json.loads(json.dumps(told))["data"], np.float32).tobytes() == values.tobytes()
    told, data = write(tensor, binary=True)
    assert told["parameters"] == {"binary_data_size": len(data)}
    assert (told["shape"], "data" in told) == (list(values.shape), False)
    assert np.frombuffer(data, "<f4").tobytes() == values.tobytes()


@given(st.lists(st.text(max_size=10), min_size=1, max_size=5))
def test_texts_are_written_as_they_are_read(texts: list[str]) -> None:
    tensor = Tensor("label", "BYTES", (len(texts),), texts)
    assert write(tensor, binary=False)[0]["data"] == texts
    _, data = write(tensor, binary=True)
    assert [element.decode() for element in read_bytes("label", memoryview(data), len(texts), MOST)] == texts
