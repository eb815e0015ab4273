"""Sounds that are louder, noisier, a little earlier or later, and with holes in their spectrum: the same to the ear.

When to use: other microphones and rooms than those of the labels. Limit: the spectrum can be masked only where the body
makes it by ``exporters.hearing.Bands``; one that hears the wave itself (wav2vec 2.0) gets the rest. Promises samples
from -1 to 1 of the same shape; what is silent stays silent, because silence says where a sound ends. Knows nothing of
labels.

Reference: Park et al., SpecAugment, arXiv 1904.08779.

Legend: B batch, W windows, S samples, N = B W, T frames, M bands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch.utils.hooks import RemovableHandle

from exporters.hearing import Bands

KEY = "audio"
_DECIBELS = 6.0
_QUIETEST, _LOUDEST = 50.0, 15.0  # signal to noise in dB, at strength 0 and 1
_SHIFT = 0.1  # of a window
_STRIPE = 0.2  # of the frames, and of the bands


def rewrite(data: bytes, strength: float, chance: np.random.Generator) -> bytes:
    """Files stay as they are."""
    del strength, chance
    return data


def vary(inputs: Mapping[str, torch.Tensor], strength: float, chance: np.random.Generator) -> dict[str, torch.Tensor]:
    """Shifted, noisier, louder or softer."""
    wave = inputs[KEY]
    if strength > 0:
        wave = louder(noisier(shifted(wave, strength, chance), strength, chance), strength, chance)
    return {**inputs, KEY: wave}


def attach(body: torch.nn.Module, strength: float, chance: np.random.Generator) -> Sequence[RemovableHandle]:
    """Holes in the spectrum of every ``Bands`` in the body, while it trains."""

    def masked(module: torch.nn.Module, _: object, bands_NTM: torch.Tensor) -> torch.Tensor:
        return striped(bands_NTM, strength, chance) if module.training else bands_NTM

    spectra = [module for module in body.modules() if isinstance(module, Bands)] if strength > 0 else []
    return [module.register_forward_hook(masked) for module in spectra]


def shifted(wave_BWS: torch.Tensor, strength: float, chance: np.random.Generator) -> torch.Tensor:
    """Every window of a sound by the same few samples; what is left free is silent."""
    samples = wave_BWS.shape[2]
    most = int(_SHIFT * strength * samples)
    found = torch.zeros_like(wave_BWS)
    for place, by in enumerate(chance.integers(-most, most + 1, len(wave_BWS))):
        found[place, :, max(0, by) : samples + min(0, by)] = wave_BWS[place, :, max(0, -by) : samples - max(0, by)]
    return found


def noisier(wave_BWS: torch.Tensor, strength: float, chance: np.random.Generator) -> torch.Tensor:
    """White noise where there is sound."""
    ratio_B = _QUIETEST - (_QUIETEST - _LOUDEST) * strength * chance.random(len(wave_BWS))
    noise = torch.from_numpy(chance.standard_normal(tuple(wave_BWS.shape)).astype(np.float32))
    heard = (wave_BWS != 0).to(wave_BWS.dtype)
    power_B11 = wave_BWS.square().sum(dim=(1, 2), keepdim=True) / heard.sum(dim=(1, 2), keepdim=True).clamp(min=1)
    level_B11 = torch.from_numpy(10 ** (-ratio_B / 20)).to(wave_BWS.dtype)[:, None, None]
    return (wave_BWS + noise * heard * power_B11.sqrt() * level_B11).clamp(-1.0, 1.0)


def louder(wave_BWS: torch.Tensor, strength: float, chance: np.random.Generator) -> torch.Tensor:
    """A gain of some decibels up or down."""
    gain_B = 10 ** (_DECIBELS * strength * chance.uniform(-1, 1, len(wave_BWS)) / 20)
    return (wave_BWS * torch.from_numpy(gain_B).to(wave_BWS.dtype)[:, None, None]).clamp(-1.0, 1.0)


def striped(bands_NTM: torch.Tensor, strength: float, chance: np.random.Generator) -> torch.Tensor:
    """One stripe of frames and one of bands without power, in every window its own."""
    count, frames, bands = bands_NTM.shape
    time_NT, pitch_NM = (_stripes(count, size, _STRIPE * strength, chance) for size in (frames, bands))
    kept = ~(time_NT[:, :, None] | pitch_NM[:, None, :])
    return bands_NTM * torch.from_numpy(kept).to(bands_NTM)


def _stripes(
    count: int, size: int, share: float, chance: np.random.Generator
) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    width_N = chance.integers(0, int(share * size) + 1, count)
    start_N = (chance.random(count) * (size - width_N + 1)).astype(np.intp)
    at_S = np.arange(size)
    return (at_S >= start_N[:, None]) & (at_S < (start_N + width_N)[:, None])
