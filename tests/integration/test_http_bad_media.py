"""Texts and sounds that nobody should send: each is refused, or answered as defined, and the service goes on."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from core.config import ServeSettings, Settings
from core.home import open_home
from service.api.application import application
from service.bootstrap import build
from tests import readings, sounds
from tests.asking import refused
from tests.sounds import claiming
from tests.waiting import until

BODY = 4_000_000  # bytes: a megabyte of text is refused for being one, not for its body
SECOND = bytes(2 * sounds.RATE)
RIGHT = {"wishes": {"text": "bright lamp"}, "tones": {"audio": {"b64": base64.b64encode(sounds.wav(1)).decode()}}}
NAN = claiming(np.array([0.1, np.nan], "<f4").tobytes(), tag=3, bits=32)
HOURS = sounds.encoded(np.zeros(36_000 * 16, np.uint8).astype(np.int16), rate=16, kind="WAV")  # ten, at 16 Hz
LONG = sounds.encoded(np.zeros(1_200 * 1_000, np.int16), rate=1_000, kind="FLAC")  # twenty minutes


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    settings = Settings(home=tmp_path_factory.mktemp("home"), serve=ServeSettings(max_body_bytes=BODY))
    opened = open_home(settings)
    readings.register_texts(opened)
    readings.register_sounds(opened)
    with TestClient(application(lambda: build(settings), BODY), raise_server_exceptions=False) as made:
        until(lambda: made.get("/readyz").status_code == 200)
        yield made
    opened.close()


def still_right(client: TestClient, scene: str) -> None:
    answer = client.post(f"/v1/scenes/{scene}/predict", json={"instances": [RIGHT[scene]]})
    assert answer.status_code == 200
    assert "label" in answer.json()["predictions"][0]


@pytest.mark.parametrize(
    ("data", "status", "code", "words"),
    [
        (claiming(b""), 422, "invalid_input", "0 samples"),
        (claiming(bytes(9_600), channels=96), 413, "too_large", "96 channels"),
        (HOURS, 422, "invalid_input", "rate of 16 Hz"),
        (LONG, 413, "too_large", "1200 seconds"),
        (NAN, 422, "invalid_input", "not finite"),
        (sounds.flac(1)[:3_000], 422, "invalid_input", "cannot be decoded"),
    ],
    ids=["no samples", "96 channels", "a rate of nothing", "twenty minutes of silence", "no number", "half a file"],
)
def test_a_sound_that_cannot_be_heard_is_refused_raw_and_in_json(
    client: TestClient, data: bytes, status: int, code: str, words: str
) -> None:
    kind = "audio/flac" if data[:4] == b"fLaC" else "audio/wav"
    path = "/v1/scenes/tones/predict"
    refused(client.post(path, content=data, headers={"content-type": kind}), status, code, words)
    bad = {"audio": {"b64": base64.b64encode(data).decode()}}
    first, second = client.post(path, json={"instances": [bad, RIGHT["tones"]]}).json()["predictions"]
    assert first["error"]["code"] == code
    assert "label" in second
    still_right(client, "tones")


def test_a_wav_that_claims_four_gigabytes_is_what_it_holds(client: TestClient) -> None:
    data = claiming(SECOND[:-2] + b"\x10\x10", claim=0xFFFFFFFF)
    answer = client.post("/v1/scenes/tones/predict", content=data, headers={"content-type": "audio/wav"})
    assert answer.status_code == 200, answer.text
    assert "incomplete" in answer.json()["predictions"][0]["flags"]


def test_ten_hours_of_silence_are_refused_before_they_are_decoded(client: TestClient) -> None:
    data = sounds.encoded(np.zeros(36_000 * 1_000, np.int16), rate=1_000, kind="FLAC")
    assert len(data) < BODY
    answer = client.post("/v1/scenes/tones/predict", content=data, headers={"content-type": "audio/flac"})
    refused(answer, 413, "too_large", "36000 seconds")
    still_right(client, "tones")


@pytest.mark.parametrize(
    ("content", "kind", "status", "code", "words"),
    [
        (b"\xff\xfe\x00a", "text/plain", 422, "invalid_input", "UTF-8"),
        (b'{"instances": [{"text": "half \\ud800"}]}', "application/json", 400, "malformed_request", ""),
        (b"a" * 1_000_000, "text/plain", 413, "too_large", "1000000 characters"),
        (b'{"instances": [{"text": 5}]}', "application/json", 422, "invalid_input", "not a text"),
        (b'{"instances": [{"text": " \\u0000 "}]}', "application/json", 422, "invalid_input", "empty"),
    ],
    ids=["not UTF-8", "half a surrogate pair", "a megabyte without a space", "a number", "nothing to be seen"],
)
def test_a_text_that_cannot_be_read_is_refused(
    client: TestClient, content: bytes, kind: str, status: int, code: str, words: str
) -> None:
    answer = client.post("/v1/scenes/wishes/predict", content=content, headers={"content-type": kind})
    refused(answer, status, code, words)
    still_right(client, "wishes")


def test_a_long_word_without_a_space_within_the_limit_is_answered(client: TestClient) -> None:
    told: dict[str, Any] = {"instances": [{"text": "a" * 100_000}]}
    (found,) = client.post("/v1/scenes/wishes/predict", json=told).json()["predictions"]
    assert "label" in found or found["flags"] == {"truncated": ["text"]}
