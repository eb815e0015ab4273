"""Sounds while data are prepared: readable or not, copies in whatever format, and a player in a report.

Knows nothing of labels or splits. Near copies are not looked for.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

from core.modality.audio import Windows, decode, sniff
from core.preprocess import Limits
from training.kinds import Look
from training.report import Finding
from training.zoo import Setting

NOUNS = ("sound", "sounds")
WANTED = "give WAV or FLAC files, each in the folder of its class or in a line"
SUFFIXES = frozenset({".wav", ".flac"})

LARGEST_SHOWN = 200_000  # bytes of a sound that a report takes in


def look(data: bytes, limits: Limits) -> Look:
    """The digest of what is heard: a FLAC of a WAV is a copy of it. Raises as ``core.modality.audio.decode``."""
    windows_WS, _ = decode(data, Windows(), limits)
    return Look(hashlib.sha256(windows_WS.tobytes()).hexdigest())


def near(looks: Sequence[Look]) -> list[tuple[int, int]]:
    """None: they are not looked for."""
    del looks
    return []


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
