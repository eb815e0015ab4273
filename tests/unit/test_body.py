"""Bytes to a JSON value: what has one meaning is read as every reader reads it, and nothing else is read at all."""

from __future__ import annotations

import json
import random
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from core.errors import MalformedRequest, TooLarge, UnsupportedMedia
from service.api import body

MARKS = st.sampled_from(
    ['"', "\\", '\\"', ":", "{", "}", "[", "a:b", '"a":', "é", "\n", "\u2028", "😀", "\\\\", "\\u0022"]
)
TEXTS = st.lists(st.one_of(MARKS, st.text(max_size=5)), max_size=6).map("".join)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63), st.floats(allow_nan=False, allow_infinity=False), TEXTS
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=20,
)


@given(value=VALUES, ascii_only=st.booleans(), spaced=st.booleans())
def test_every_value_is_read_as_it_was_written(value: Any, ascii_only: bool, spaced: bool) -> None:
    separators = (" , ", " : ") if spaced else (",", ":")
    assert body.parse(json.dumps(value, ensure_ascii=ascii_only, separators=separators).encode()) == value


@given(objects=st.lists(st.dictionaries(TEXTS, VALUES, min_size=1, max_size=4), min_size=1, max_size=4), data=st.data())
def test_a_key_that_comes_twice_in_one_object_is_refused_wherever_it_is(
    objects: list[dict[str, Any]], data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(objects) - 1))
    key = data.draw(st.sampled_from(sorted(objects[place])))
    escaped = data.draw(st.booleans())
    again = "".join(f"\\u{ord(c):04x}" if escaped and ord(c) < 2**16 else json.dumps(c)[1:-1] for c in key)
    written = [json.dumps(each) for each in objects]
    written[place] = f'{written[place][:-1]}, "{again}": 0}}'
    wrap = data.draw(st.sampled_from(["[%s]", '{"a": [%s]}', '{"a": {"b": "x:{"}, "c": [[%s]]}']))
    with pytest.raises(MalformedRequest, match="twice"):
        body.parse((wrap % ", ".join(written)).encode())


@given(data=st.binary(max_size=60))
def test_any_bytes_are_a_value_that_json_reads_too_or_are_refused(data: bytes) -> None:
    try:
        value = body.parse(data)
    except MalformedRequest:
        return
    assert value == json.loads(data.decode())


@pytest.mark.parametrize("size", [body.WINDOW - 1, body.WINDOW, body.WINDOW + 1, 3 * body.WINDOW])
def test_strings_that_reach_over_a_window_are_taken_apart_rightly(size: int) -> None:
    dice = random.Random(size)
    text = "".join(dice.choices('a:{}\\"', k=size))
    value = {"a": text, "b": [{"c": text, "d": text[:1]}], "e": {}}
    assert body.parse(json.dumps(value).encode()) == value
    doubled = json.dumps(value).replace('"d"', '"c"').encode()
    with pytest.raises(MalformedRequest, match="twice"):
        body.parse(doubled)


@pytest.mark.parametrize(
    "text",
    [
        "NaN",
        "Infinity",
        "-Infinity",
        "1e999",
        "-1e999",
        "9" * 10**6,
        '"\\ud800"',
        '"\\udc00x"',
        "[" * 10**5,
        "01",
        "[1,]",
    ],
    ids=str.__len__,
)
def test_what_json_readers_differ_on_is_refused(text: str) -> None:
    for written in (text, f"[{text}]", f'{{"a": {text}}}'):
        with pytest.raises(MalformedRequest, match="not valid JSON"):
            body.parse(written.encode())


@pytest.mark.parametrize("part", ["[]", "{}", '{"a":0}', '""', '"ab"', "[[[]]]"])
def test_a_body_that_would_take_many_times_its_length_to_hold_is_refused_unread(part: str) -> None:
    text = f"[{','.join([part] * (body.MOST_TEXTS + 1))}]".encode()
    with pytest.raises(TooLarge, match="more than"):
        body.parse(text)
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            body.parse(text)
        assert tracemalloc.get_traced_memory()[1] < 4 * 2**20
    finally:
        tracemalloc.stop()


def test_a_large_tensor_and_a_text_full_of_brackets_are_read() -> None:
    value = {"data": [255] * 10**6, "text": "[{" * body.MOST_PARTS}
    assert body.parse(json.dumps(value).encode()) == value


def test_a_content_type_is_compared_without_case_and_parameters() -> None:
    body.check_type(Headers({"content-type": "Application/JSON; charset=utf-8"}), body.JSON)
    twice = Headers(raw=[(b"content-type", b"application/json"), (b"content-type", b"application/json")])
    for headers in (Headers({}), Headers({"content-type": "text/json"}), twice):
        with pytest.raises(UnsupportedMedia, match="content type"):
            body.check_type(headers, body.JSON)
