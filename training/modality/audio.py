"""Sounds while data are prepared: copies in whatever format, near copies by their course, and a player in a report.

Promises that a sound coded again, resampled for a telephone or made louder is nearly always found beside its original,
and that another word, or the same by another voice, is not taken for it. A copy whose ends are buried in noise may be
missed. Knows nothing of labels or splits.

Legend: N sounds, S samples, W windows, F frames, B bands, T points of a course, V = (T - 1) B.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from core.modality.audio import Windows, decode, sniff
from core.preprocess import Limits
from core.types import Floats
from training.kinds import Look
from training.report import Finding
from training.zoo import Setting

NOUNS = ("sound", "sounds")
WANTED = "give WAV or FLAC files, each in the folder of its class or in a line"
SUFFIXES = frozenset({".wav", ".flac"})

LARGEST_SHOWN = 200_000  # bytes of a sound that a report takes in
ALIKE = 0.75  # correlation of two courses from which sounds are near copies; another word stays below 0.5
STRETCH = 1.1  # by which near copies may differ in length

_FRAME, _HOP, _POINTS = 512, 160, 32  # samples, samples, points of a course
_BANDS_HZ = np.geomspace(150.0, 3_400.0, 18)  # what a telephone lets through
_QUIET = 1e-3  # of a band's power: below it lies nothing that is heard
_SOUNDING = 0.01  # of an amplitude, between the ends of what sounds
_BLOCK = 1024


@dataclass(frozen=True, eq=False)
class Course:
    """How the bands of a sound rise and fall from point to point, of unit length (or zero), and how many samples."""

    changes_V: Floats
    samples: int


def look(data: bytes, limits: Limits) -> Look:
    """The digest of what is heard: a FLAC of a WAV is a copy of it. Raises as ``core.modality.audio.decode``."""
    windows_WS, _ = decode(data, Windows(), limits)
    return Look(hashlib.sha256(windows_WS.tobytes()).hexdigest(), _course(windows_WS.reshape(-1)))


def near(looks: Sequence[Look]) -> list[tuple[int, int]]:
    """Pairs i < j of near copies. Some 10 s for 20,000 sounds on one core; memory grows with the block alone."""
    if len(looks) < 2:
        return []
    changes_NV = np.stack([held.trace.changes_V for held in looks])
    samples_N = np.array([held.trace.samples for held in looks], np.float64)
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(looks), _BLOCK):
        near_MN = changes_NV[start : start + _BLOCK] @ changes_NV[start:].T >= ALIKE
        left, right = np.nonzero(np.triu(near_MN, 1))
        ratios = samples_N[left + start] / np.maximum(samples_N[right + start], 1.0)
        fitting = (ratios <= STRETCH) & (ratios >= 1 / STRETCH)
        pairs += zip((left[fitting] + start).tolist(), (right[fitting] + start).tolist(), strict=True)
    return pairs


def remarks(contents: Sequence[bytes], labels: Sequence[str]) -> list[Finding]:
    """None: a sound is judged by itself."""
    del contents, labels
    return []


def setting(contents: Sequence[bytes], others: Sequence[bytes], side: float, seconds: float) -> Setting:
    """Nothing: windows come with the backbone."""
    del contents, others, side, seconds
    return Setting()


def tile(data: bytes) -> str:
    """A player with the sound inside, where it is short."""
    media = sniff(data)
    if len(data) > LARGEST_SHOWN:
        return f'<span class="soft">{len(data)} bytes</span>'
    return f'<audio controls src="data:{media};base64,{base64.b64encode(data).decode()}"></audio>'


def _course(sound_S: Floats) -> Course:
    """Of what sounds between the first and the last sample that can be heard."""
    loud = np.flatnonzero(np.abs(sound_S) > _SOUNDING)
    heard_S = sound_S[loud[0] : loud[-1] + 1] if len(loud) else sound_S[:0]
    width = (_POINTS - 1) * (len(_BANDS_HZ) - 1)
    if len(heard_S) < 2 * _FRAME:
        return Course(np.zeros(width, np.float32), len(heard_S))
    levels_FB = np.log(_powers(heard_S) + _QUIET)
    at_T = np.linspace(0, len(levels_FB) - 1, _POINTS)
    points_TB = np.stack([np.interp(at_T, np.arange(len(levels_FB)), level_F) for level_F in levels_FB.T], axis=1)
    changes_V = np.diff(points_TB - points_TB.mean(axis=1, keepdims=True), axis=0).reshape(-1)
    changes_V -= changes_V.mean()
    length = float(np.linalg.norm(changes_V)) or 1.0
    return Course((changes_V / length).astype(np.float32), len(heard_S))


def _powers(heard_S: Floats) -> NDArray[np.float64]:
    """(F, B) power of each band in each frame."""
    frames = np.lib.stride_tricks.sliding_window_view(heard_S, _FRAME)[::_HOP] * np.hanning(_FRAME)
    spectrum = np.square(np.abs(np.fft.rfft(frames, axis=1)))
    edges = np.searchsorted(np.fft.rfftfreq(_FRAME, 1 / Windows().rate), _BANDS_HZ)
    parts = [spectrum[:, low:high].sum(axis=1) for low, high in pairwise(edges)]
    bands: NDArray[np.float64] = np.stack(parts, axis=1)
    return bands
