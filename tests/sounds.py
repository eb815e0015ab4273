"""Small sounds that tests make themselves: each number gives its own sound, unlike all others."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from tests.pictures import put

RATE = 16_000


def samples(number: int, seconds: float = 0.8, rate: int = RATE) -> NDArray[np.float64]:
    """Sound ``number``: three tones that glide, under a hum of noise; the kind follows the number."""
    rng = np.random.default_rng(number)
    time = np.arange(round(seconds * rate)) / rate
    wave = 0.005 * rng.standard_normal(len(time))
    for low, glide, loud in zip(rng.uniform(100, 1500, 3), rng.uniform(-400, 400, 3), (0.3, 0.2, 0.1), strict=True):
        wave += loud * np.sin(2 * np.pi * (low + glide * time) * time)
    envelope = np.sin(np.pi * np.arange(len(time)) / len(time)) ** rng.uniform(0.3, 3)
    sound: NDArray[np.float64] = wave * envelope
    return sound


def encoded(wave: NDArray[np.generic], rate: int = RATE, kind: str = "WAV", coding: str = "PCM_16") -> bytes:
    """A file's bytes."""
    file = io.BytesIO()
    soundfile.write(file, wave, rate, format=kind, subtype=coding)
    return file.getvalue()


def wav(number: int, seconds: float = 0.8) -> bytes:
    """Sound ``number`` as 16-bit WAV."""
    return encoded(_whole(number, seconds))


def claiming(
    data: bytes, tag: int = 1, channels: int = 1, rate: int = 16_000, bits: int = 16, claim: int | None = None
) -> bytes:
    """A WAV that claims what it is told to claim."""
    frame = channels * bits // 8
    told = struct.pack("<HHIIHH", tag, channels, rate, rate * frame & 0xFFFFFFFF, frame, bits)
    length = len(data) if claim is None else claim
    body = b"WAVEfmt " + struct.pack("<I", 16) + told + b"data" + struct.pack("<I", length) + data
    return b"RIFF" + struct.pack("<I", max(len(body), length)) + body


def flac(number: int, seconds: float = 0.8) -> bytes:
    """Sound ``number`` again: other bytes, the same samples."""
    return encoded(_whole(number, seconds), kind="FLAC")


def tone(number: int, label: int) -> NDArray[np.float64]:
    """A sound that a class can be heard in: a tone of the class's height, in noise of its own."""
    rng = np.random.default_rng(number)
    time = np.arange(round(rng.uniform(0.4, 1.2) * RATE)) / RATE
    height = 250 * 2**label * rng.uniform(0.95, 1.05)
    sound: NDArray[np.float64] = 0.3 * np.sin(2 * np.pi * height * time) + 0.02 * rng.standard_normal(len(time))
    return sound


def class_folders(folder: Path, classes: dict[str, int]) -> Path:
    """A folder of class folders with so many different sounds each, which ears can tell apart."""
    number = 0
    for place, (label, count) in enumerate(classes.items()):
        for i in range(count):
            put(folder, f"{label}/{i:03}.wav", encoded(tone(number, place)))
            number += 1
    return folder


def _whole(number: int, seconds: float) -> NDArray[np.int16]:
    """In whole steps: what becomes of fractions is each format's own affair."""
    return np.round(32_767 * samples(number, seconds)).astype(np.int16)
