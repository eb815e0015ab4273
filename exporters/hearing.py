"""Around an encoder of sounds in torch: windows become rows, spectra are convolutions, and filling up does not count.

Promises what ``exporters.sound`` promises of graphs, for modules that torch exports. Knows nothing of where an encoder
comes from.

Legend: B batch, W windows of a sound, N = B W, S samples of a window, L samples of a frame, T frames, F frequencies,
M mel bands, D features.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from core.modality.audio import Windows
from core.types import Doubles, Input

Reals = NDArray[np.floating[Any]]

_LEAST = 1e-9  # what is divided by where there is nothing but silence


def inputs(windows: Windows) -> dict[str, Input]:
    """The input of a backbone that hears: any number of windows."""
    return {"audio": Input((None, windows.samples), np.dtype(np.float32))}


class Windowed(torch.nn.Module):
    """An encoder of windows, (N, S) to (N, D), as one of sounds: the mean of the windows that are not all zeros."""

    def __init__(self, encoder: torch.nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        """(B, W, S) to (B, D)."""
        batch, windows, samples = audio.shape
        each_BWD = self.encoder(audio.reshape(-1, samples)).reshape(batch, windows, -1)
        held_BW1 = (audio.abs().amax(dim=2, keepdim=True) > 0).to(audio.dtype)
        out: torch.Tensor = (each_BWD * held_BW1).sum(dim=1) / held_BW1.sum(dim=1).clamp(min=_LEAST)
        return out


class Waves(torch.nn.Module):
    """wav2vec 2.0 and its kin: samples of unit power in, the mean of the states that see sound out."""

    def __init__(self, model: Any, normalised: bool) -> None:
        super().__init__()
        self.model = model
        self.normalised = normalised
        self.reach, self.stride = 1, 1  # samples that a state sees, and from state to state
        for kernel, stride in zip(model.config.conv_kernel, model.config.conv_stride, strict=True):
            self.reach += (kernel - 1) * self.stride
            self.stride *= stride

    def forward(self, wave_NS: torch.Tensor) -> torch.Tensor:
        """(N, S) to (N, D)."""
        loud_NS = wave_NS.abs()
        seen_NT1 = _seen(loud_NS, self.reach, self.stride)
        if self.normalised:
            held_N1 = (loud_NS > 0).to(wave_NS.dtype).sum(dim=1, keepdim=True).clamp(min=1)
            wave_NS = wave_NS / ((wave_NS * wave_NS).sum(dim=1, keepdim=True) / held_N1 + 1e-7).sqrt()
        return _mean(self.model(input_values=wave_NS, return_dict=True).last_hidden_state, seen_NT1)


class Bands(torch.nn.Module):
    """Power in mel bands, frame by frame: (N, S) to (N, T, M)."""

    def __init__(self, cosines_FL: Reals, sines_FL: Reals, bands_FM: Reals, hop: int) -> None:
        super().__init__()
        self.hop = hop
        self.bases: torch.Tensor
        self.bands: torch.Tensor
        bases = np.concatenate([cosines_FL, sines_FL])[:, None].astype(np.float32)
        self.register_buffer("bases", torch.from_numpy(bases), persistent=False)
        self.register_buffer("bands", torch.from_numpy(np.asarray(bands_FM, np.float32)), persistent=False)

    def forward(self, wave_NS: torch.Tensor) -> torch.Tensor:
        """See above."""
        parts = functional.conv1d(wave_NS.unsqueeze(1), self.bases, stride=self.hop)
        cosine_NFT, sine_NFT = parts.chunk(2, dim=1)
        power_NFT = cosine_NFT * cosine_NFT + sine_NFT * sine_NFT
        return power_NFT.transpose(1, 2) @ self.bands


class Pictures(torch.nn.Module):
    """A model of pictures, NCHW from -1 to 1, that looks at the logarithms of bands: time runs right, pitch upwards."""

    def __init__(self, model: torch.nn.Module, bands: Bands, floor: float, ceiling: float) -> None:
        super().__init__()
        self.model, self.bands = model, bands
        self.floor, self.range = floor, float(np.log(ceiling / floor))

    def forward(self, wave_NS: torch.Tensor) -> torch.Tensor:
        """(N, S) to (N, D)."""
        levels_NTM = (self.bands(wave_NS) / self.floor + 1).log() / self.range
        grey_NMT = 2 * levels_NTM.clamp(max=1).transpose(1, 2).flip(1) - 1
        out: torch.Tensor = self.model(grey_NMT.unsqueeze(1).expand(-1, 3, -1, -1))
        return out


class Patches(torch.nn.Module):
    """The audio spectrogram transformer: normalised logarithms of bands in, its own pooled output out."""

    def __init__(self, model: Any, bands: Bands, mean: float, deviation: float) -> None:
        super().__init__()
        self.model, self.bands = model, bands
        self.mean, self.deviation = mean, deviation

    def forward(self, wave_NS: torch.Tensor) -> torch.Tensor:
        """(N, S) to (N, D); silence that fills up is what the model was shown for it: zeros before normalising."""
        size = self.bands.bases.shape[2]
        levels_NTM = self.bands(wave_NS).clamp(min=torch.finfo(torch.float32).eps).log()
        levels_NTM = levels_NTM * _seen(wave_NS.abs(), size, self.bands.hop)
        normal_NTM = (levels_NTM - self.mean) / (2 * self.deviation)
        out: torch.Tensor = self.model(input_values=normal_NTM, return_dict=True).pooler_output
        return out


class Frames(torch.nn.Module):
    """Whisper's encoder: its log-mel bands in, the mean of the states that see sound out."""

    def __init__(self, encoder: Any, bands: Bands) -> None:
        super().__init__()
        self.encoder, self.bands = encoder, bands
        self.margin = bands.bases.shape[2] // 2

    def forward(self, wave_NS: torch.Tensor) -> torch.Tensor:
        """(N, S) to (N, D)."""
        padded_NS = functional.pad(wave_NS.unsqueeze(1), (self.margin, self.margin), mode="reflect").squeeze(1)
        levels_NTM = self.bands(padded_NS)[:, :-1].clamp(min=1e-10).log10()
        loudest_N11 = levels_NTM.amax(dim=(1, 2), keepdim=True)
        levels_NTM = (torch.maximum(levels_NTM, loudest_N11 - 8) + 4) / 4
        states_NTD = self.encoder(levels_NTM.transpose(1, 2), return_dict=True).last_hidden_state
        step = 2 * self.bands.hop  # two frames become one state
        return _mean(states_NTD, _seen(wave_NS.abs(), step, step))


def kaldi(size: int, length: int, emphasis: float) -> tuple[Doubles, Doubles]:
    """Cosines and sines (F, L) that also take out a frame's mean, raise its high tones and lay a Hann window over it.

    All of these are linear, so they are one with the Fourier transform of ``size``.
    """
    phase_FL = 2 * np.pi * np.outer(np.arange(size // 2 + 1), np.arange(length)) / size
    raised_LL = np.eye(length) - emphasis * np.eye(length, k=-1)
    raised_LL[0, 0] = 1 - emphasis
    before_LL = np.hanning(length)[:, None] * raised_LL @ (np.eye(length) - 1 / length)
    return np.cos(phase_FL) @ before_LL, np.sin(phase_FL) @ before_LL


def _seen(loud_NS: torch.Tensor, size: int, hop: int) -> torch.Tensor:
    """(N, T, 1): 1 for ``size`` samples among which one is not 0."""
    peaks_N1T = functional.max_pool1d(loud_NS.unsqueeze(1), size, hop)
    return (peaks_N1T > 0).to(loud_NS.dtype).transpose(1, 2)


def _mean(states_NTD: torch.Tensor, seen_NT1: torch.Tensor) -> torch.Tensor:
    return (states_NTD * seen_NT1).sum(dim=1) / seen_NT1.sum(dim=1).clamp(min=_LEAST)
