"""Damage to inputs: every kind of every modality, found by listing the folder."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from core import plugins
from core.errors import InvalidInput
from core.modality.image import decode
from core.preprocess import Limits
from tests import pico
from training import robustness
from training.robustness import CORRUPTIONS, SEVERITIES

WORDS = "the quick brown fox jumps over the lazy dog near the quiet river bank this evening"


def picture(seed: int) -> bytes:
    return pico.picture("circle", seed, side=40)


def text(seed: int) -> bytes:
    words = WORDS.split()
    return " ".join(np.random.default_rng(seed).permutation(words)).encode()


def sound(seed: int) -> bytes:
    random = np.random.default_rng(seed)
    times = np.arange(4000) / 8000
    tone = sum(random.uniform(0.05, 0.2) * np.sin(2 * np.pi * random.uniform(100, 3900) * times) for _ in range(6))
    out = io.BytesIO()
    soundfile.write(out, tone, 8000, format="WAV", subtype="PCM_16")
    return out.getvalue()


INPUTS: dict[str, Callable[[int], bytes]] = {"image": picture, "text": text, "audio": sound}
CASES = [(name, kind) for name in plugins.names(CORRUPTIONS) for kind in robustness.corruption(name).KINDS]


def hurt(name: str, kind: str, severity: int, seed: int) -> bytes:
    return robustness.hurt(INPUTS[name](seed), str(seed), robustness.corruption(name), kind, severity, seed=0)


def shape(name: str, data: bytes) -> object:
    if name == "image":
        with Image.open(io.BytesIO(data)) as opened:
            return opened.size, opened.convert("RGB").mode
    if name == "audio":
        held = soundfile.info(io.BytesIO(data))
        return held.frames, held.channels, held.samplerate
    return bool(data.decode().strip())


def distance(name: str, one: bytes, other: bytes) -> float:
    if name == "text":
        a, b = one.decode(), other.decode()
        return sum(x != y for x, y in zip(a.ljust(200), b.ljust(200), strict=True)) + abs(len(a) - len(b))
    if name == "image":
        first, second = (decode(data, (40, 40), Limits()).astype(float) for data in (one, other))
    else:
        first, second = (soundfile.read(io.BytesIO(data))[0] for data in (one, other))
    return float(np.abs(first - second).mean())


@pytest.mark.parametrize(("name", "kind"), CASES)
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 1000))
def test_severity_zero_changes_nothing_and_every_other_something(name: str, kind: str, seed: int) -> None:
    assert hurt(name, kind, 0, seed) == INPUTS[name](seed)
    assert distance(name, hurt(name, kind, 3, seed), INPUTS[name](seed)) > 0


@pytest.mark.parametrize(("name", "kind"), CASES)
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 1000), severity=st.sampled_from(SEVERITIES))
def test_the_shape_is_kept_and_the_same_seed_gives_the_same_bytes(
    name: str, kind: str, seed: int, severity: int
) -> None:
    made = hurt(name, kind, severity, seed)
    assert shape(name, made) == shape(name, INPUTS[name](seed))
    assert made == hurt(name, kind, severity, seed)


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_damage_grows_with_severity(name: str, kind: str) -> None:
    """In the mean over inputs: one input may be spared."""
    means = [
        np.mean([distance(name, hurt(name, kind, severity, seed), INPUTS[name](seed)) for seed in range(6)])
        for severity in (0, *SEVERITIES)
    ]
    assert means == sorted(means)
    assert means[0] == 0 < means[1] < means[3]


def test_a_text_of_one_letter_and_a_sound_of_one_sample_survive() -> None:
    random = np.random.default_rng(0)
    for kind in robustness.corruption("text").KINDS:
        robustness.corruption("text").corrupt(b"a", kind, 3, random).decode()
    out = io.BytesIO()
    soundfile.write(out, np.array([0.5]), 8000, format="WAV", subtype="PCM_16")
    for kind in robustness.corruption("audio").KINDS:
        assert shape("audio", robustness.corruption("audio").corrupt(out.getvalue(), kind, 3, random)) == (1, 1, 8000)


def test_a_modality_without_damage_is_told_with_those_that_have_some() -> None:
    with pytest.raises(InvalidInput, match="audio, image, text"):
        robustness.corruption("tabular")
