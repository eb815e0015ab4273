"""Pictures as a form: what ``curl -F instances=@a.jpg`` sends is answered as instances in JSON are."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InvalidInput, LeptonError, MalformedRequest, TooLarge
from service.api.multipart import TYPE, read
from tests import pico
from tests.asking import MOST, bomb, instance, refused

PREDICT = "/v1/scenes/shapes/predict"
BOUNDARY = "x1y2"
KIND = f"{TYPE}; boundary={BOUNDARY}"


def part(name: str, content: bytes, more: str = '; filename="a.jpg"\r\nContent-Type: image/jpeg') -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'
    return head.encode() + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def post(client: TestClient, body: bytes, kind: str = KIND) -> Any:
    return client.post(PREDICT, content=body, headers={"content-type": kind})


def test_files_of_a_form_are_answered_as_instances_in_json_are(client: TestClient) -> None:
    files = [pico.picture("square", 70), b"no picture", pico.picture("circle", 70), b""]
    answer = client.post(PREDICT, files=[("instances", file) for file in files], data={"top_k": "2"})
    told = client.post(PREDICT, json={"instances": [instance(file) for file in files], "top_k": 2}).json()
    assert answer.status_code == 200
    assert without(answer.json(), "predictions") == without(told, "predictions")
    for one, other in zip(answer.json()["predictions"], told["predictions"], strict=True):
        assert one.get("error") == other.get("error")
        assert one.get("probabilities", {}) == pytest.approx(other.get("probabilities", {}), abs=1e-5)
    assert [each.get("label") for each in answer.json()["predictions"]] == ["square", None, "circle", None]
    assert len(answer.json()["predictions"][0]["probabilities"]) == 2


def without(body: dict[str, Any], field: str) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key != field}


def test_neither_name_nor_type_of_a_file_is_looked_at(client: TestClient) -> None:
    file = pico.picture("triangle", 71)
    for more in (
        "",
        '; filename="../../etc/passwd"\r\nContent-Type: text/html',
        '; filename=""\r\nContent-Type: application/x-python-pickle',
    ):
        (first,) = post(client, form(part("instances", file, more))).json()["predictions"]
        assert first["label"] == "triangle"


def test_one_file_alone_that_is_bad_answers_with_its_own_status(client: TestClient) -> None:
    refused(post(client, form(part("instances", b"no picture"))), 415, "unsupported_media", "not a picture")
    refused(post(client, form(part("instances", bomb()))), 413, "too_large", "at most 50000000")
    refused(post(client, form(part("instances", b""))), 422, "invalid_input", "empty")


PICTURE = pico.picture("circle", 1)
BAD: list[tuple[bytes, str, int, str, str]] = [
    (form(part("file", PICTURE)), KIND, 422, "invalid_input", "no field 'file'"),
    (form(part("instances", PICTURE), part("label", b"circle", "")), KIND, 422, "invalid_input", "no field 'label'"),
    (form(part("top_k", b"2", "")), KIND, 422, "invalid_input", "no file named instances"),
    (form(), KIND, 422, "invalid_input", "no file named instances"),
    (form(part("instances", PICTURE), part("top_k", b"0", "")), KIND, 422, "invalid_input", "top_k"),
    (form(part("instances", PICTURE), part("top_k", b"1.5", "")), KIND, 422, "invalid_input", "top_k"),
    (form(part("instances", PICTURE), part("top_k", b"9" * 99, "")), KIND, 422, "invalid_input", "top_k"),
    (form(part("instances", PICTURE), *[part("top_k", b"1", "")] * 2), KIND, 422, "invalid_input", "twice"),
    (form(*[part("instances", b"x")] * 5), KIND, 413, "too_large", "more than 4 files"),
    (part("instances", PICTURE), KIND, 400, "malformed_request", "last boundary"),
    (form(part("instances", PICTURE))[:-40], KIND, 400, "malformed_request", "last boundary"),
    (form(part("instances", PICTURE)), TYPE, 400, "malformed_request", "no boundary"),
    (form(part("instances", PICTURE)), f"{TYPE}; boundary=other", 400, "malformed_request", "cannot be read"),
    (form(part("instances", PICTURE)), f"{TYPE}; boundary={'x' * 999}", 400, "malformed_request", "cannot be read"),
    (form(part("instances", PICTURE, "\r\nX: " + "y" * 9999)), KIND, 400, "malformed_request", "cannot be read"),
    (form(part("instances", PICTURE, "\r\nX: y" * 99)), KIND, 400, "malformed_request", "cannot be read"),
    (b"", KIND, 400, "malformed_request", "last boundary"),
    (form(part("instances", b"x" * MOST)), KIND, 413, "too_large", "more than"),
]


@pytest.mark.parametrize(("body", "kind", "status", "code", "words"), BAD)
def test_a_form_that_cannot_be_used_says_why(
    client: TestClient, body: bytes, kind: str, status: int, code: str, words: str
) -> None:
    refused(post(client, body, kind), status, code, words)


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=4), st.one_of(st.none(), st.integers(1, 10**9)))
def test_every_file_arrives_byte_by_byte(files: list[bytes], top_k: int | None) -> None:
    files = [file.replace(BOUNDARY.encode(), b"") for file in files]
    fields = [] if top_k is None else [part("top_k", str(top_k).encode(), "")]
    told = read(form(*fields, *(part("instances", file) for file in files)), KIND, 4)
    assert (told.instances, told.top_k) == (files, top_k)


@settings(max_examples=200)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=10),
            st.sampled_from([b"\r\n", b"--", BOUNDARY.encode(), b": ", b"Content-Disposition", b'form-data; name="'])
            | st.just(part("instances", b"a")),
        )
    ),
    st.one_of(st.just(KIND), st.text(max_size=20).map(lambda text: f"{TYPE};{text}")),
)
def test_any_bytes_are_a_form_or_refused(pieces: list[bytes], kind: str) -> None:
    with_end = b"".join(pieces) + f"\r\n--{BOUNDARY}--\r\n".encode()
    for body in (b"".join(pieces), with_end):
        try:
            told = read(body, kind.encode("latin-1", "ignore").decode("latin-1"), 4)
        except (InvalidInput, MalformedRequest, TooLarge) as error:
            assert isinstance(error, LeptonError) and error.remedy
        else:
            assert 1 <= len(told.instances) <= 4
