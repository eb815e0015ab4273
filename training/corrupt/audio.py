"""Sounds gone wrong: noise, a quiet recording, clipping and a narrow band.

Promises a sound of as many samples, channels and the same rate, as a WAV of 16 bits, so that what is quiet is coarse,
too. Ratios are of the whole sound's power. Knows nothing of models.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import soundfile

from core.modality.audio import sniff
from core.types import Doubles


def corrupt(data: bytes, kind: str, severity: int, random: np.random.Generator) -> bytes:
    """A WAV of the sound gone wrong; the very bytes at severity 0."""
    if severity == 0:
        return data
    sniff(data)
    change, strengths = _CHANGES[kind]
    sound_FC, rate = soundfile.read(io.BytesIO(data), always_2d=True)
    out = io.BytesIO()
    changed_FC = change(sound_FC, strengths[severity - 1], random)
    soundfile.write(out, changed_FC.clip(-1.0, 1.0), rate, format="WAV", subtype="PCM_16")
    return out.getvalue()


def _noise(sound_FC: Doubles, decibels: float, random: np.random.Generator) -> Doubles:
    """White noise, so many dB below the sound."""
    power = float(np.mean(np.square(sound_FC)))
    deviation = np.sqrt(power * 10 ** (-decibels / 10))
    noisy_FC: Doubles = sound_FC + deviation * random.standard_normal(sound_FC.shape)
    return noisy_FC


def _gain(sound_FC: Doubles, decibels: float, random: np.random.Generator) -> Doubles:
    del random
    return sound_FC * 10 ** (decibels / 20)


def _clipping(sound_FC: Doubles, share: float, random: np.random.Generator) -> Doubles:
    """All above a share of the peak is lost."""
    del random
    most = share * float(np.abs(sound_FC).max(initial=0.0))
    return sound_FC.clip(-most, most)


def _low_pass(sound_FC: Doubles, share: float, random: np.random.Generator) -> Doubles:
    """Nothing is left above a share of the highest frequency."""
    del random
    if not len(sound_FC):
        return sound_FC
    spectrum = np.fft.rfft(sound_FC, axis=0)
    spectrum[round(share * (len(spectrum) - 1)) + 1 :] = 0.0
    kept_FC: Doubles = np.fft.irfft(spectrum, len(sound_FC), axis=0)
    return kept_FC


_CHANGES: dict[str, tuple[Callable[[Doubles, float, np.random.Generator], Doubles], tuple[float, float, float]]] = {
    "noise": (_noise, (20.0, 10.0, 0.0)),
    "gain": (_gain, (-20.0, -40.0, -60.0)),
    "clipping": (_clipping, (0.5, 0.2, 0.05)),
    "low_pass": (_low_pass, (0.5, 0.25, 0.1)),
}
KINDS = tuple(_CHANGES)
