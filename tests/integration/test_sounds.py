"""Sounds on the whole road by the command line, and what is served: the very features that were learned from."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from core import config
from core.home import open_home
from core.session import Session
from lepton.main import run
from tests import sounds

CLASSES = {"low": 14, "middle": 14, "high": 14}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LEPTON_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Class folders of WAV files, one of them broken, and a FLAC of two windows."""
    folder = sounds.class_folders(tmp_path / "data", CLASSES)
    (folder / "low" / "broken.wav").write_bytes(sounds.wav(1)[:30])
    wave = np.concatenate([sounds.tone(number, 2) for number in range(900, 904)])
    (folder / "high" / "long.flac").write_bytes(sounds.encoded(wave, kind="FLAC"))
    return folder


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    assert run([*arguments, "--json"]) == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def test_a_folder_of_sounds_becomes_a_served_version(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = told(capsys, "adapt", "tones", str(data), "--backbone", "logmel")
    assert done["labels"] == sorted(CLASSES)
    assert done["parity"]["rows"] >= 64
    assert done["metrics"]["balanced_accuracy"]["value"] > 0.9
    page = Path(done["data"]["page"]).read_text(encoding="utf-8")
    assert "broken.wav" in page
    answers = told(capsys, "predict", "tones", *(str(data / label / "003.wav") for label in CLASSES))
    assert [answer["label"] for answer in answers] == list(CLASSES)
    assert told(capsys, "evaluate", "tones", str(data))["metrics"]["accuracy"]["value"] > 0.9


def test_what_is_served_reads_and_computes_to_the_bit_what_was_learned_from(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = told(capsys, "adapt", "tones", str(data), "--backbone", "logmel", "--backbone", "openwakeword")
    opened = open_home(config.load())
    held = opened.bundle(done["version"])
    session = Session(held.model)
    reader = opened.preprocessor(held, session)
    files = {hashlib.sha256(file.read_bytes()).hexdigest(): file for file in data.rglob("*.*")}
    kept = opened.evidence.features(held.manifest.extractor, files)
    assert len(kept) >= 30
    for example, features_D in kept.items():
        row = reader.read(files[example].read_bytes())
        assert np.array_equal(session.features(reader.batch([row]))[0], features_D)
    opened.close()


def test_a_flac_of_a_wav_counts_once(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wave, rate = soundfile.read(data / "low" / "003.wav", dtype="int16")
    (data / "low" / "copy.flac").write_bytes(sounds.encoded(wave, rate, kind="FLAC"))
    done = told(capsys, "adapt", "tones", str(data), "--backbone", "logmel")
    assert (done["data"]["seen"], done["data"]["kept"]) == (45, 43)  # one is broken, one a copy
