"""Bytes of a sound to windows of samples, the same in training and in serving.

Promises that any bytes whatever give windows or a LeptonError; that the bytes alone, never a name or a content type,
choose the decoder; and that the caps hold before memory is taken, for what a header claims and again for what comes.
Every modality file offers the names of ``core.preprocess``. Knows nothing of models, files or HTTP.

What is defined: WAV (integers, floats, A-law, mu-law; plain, extensible, RF64) and FLAC; the mean of the channels; the
model's sampling rate, by a polyphase filter; no constant offset; quiet ends cut off (40 dB under the loudest tenth of
a second, but for a margin of as much); the loudest tenth of a second at -20 dB of full scale, so that loudness says
nothing. A sound shorter than a window is centred in zeros; a longer one has windows one hop apart or less; one that
needs more windows than the model takes has them spread evenly over the whole.

Flags: ``silent`` (under -80 dB: all zeros), ``clipped`` (1 % or more of the samples at full scale), ``truncated``
(longer than its windows cover), ``incomplete`` (a WAV shorter than its header says: what is there counts).

Legend: W windows, S samples of a window, F frames (one sample of each channel), C channels.
"""

from __future__ import annotations

import functools
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import soundfile
from scipy.signal import firwin, resample_poly

from core.errors import BrokenBundle, InvalidInput, LeptonError, TooLarge, UnsupportedMedia
from core.preprocess import Inputs, Limits, Row, from_base64, to_base64
from core.types import Doubles, Floats, Input

# Names what `decode` does in cache keys and manifests: count it up with any change of a sample.
PREPROCESSING = "audio/1"
KEY = "audio"
MEDIA = ("audio/wav", "audio/flac", "audio/x-wav", "audio/wave", "audio/vnd.wave", "audio/x-flac")
FILE = "audio.json"  # in the bundle: a `Windows`

_FORMATS = ("WAV", "WAVEX", "RF64", "FLAC")
_CODINGS = ("PCM_S8", "PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")
_RATES = (1_000, 768_000)  # Hz
_MOST_CHANNELS = 16
_MOST_SAMPLES = 96_000  # in a second of the limit, over all channels: 48 kHz in stereo for as long as the limit says
_LARGEST = 1e9  # of a float sample: far from what overflows in a filter
_BLOCK = 65_536  # samples, over all channels, that are decoded at once
_COARSEST = 1_000  # denominator of the ratio of two rates; of common rates all are exact
_LOUD_S, _EDGE_S = 0.1, 0.01  # seconds: what loudness is measured over, and the steps in which ends are cut
_LEVEL, _SILENCE, _QUIET = 0.1, 1e-4, 0.01  # root mean squares: as served, of silence; of quiet ends to the loudest
_FULL, _CLIPPED = 0.999, 0.01


@dataclass(frozen=True, kw_only=True)
class Windows:
    """What a model hears of a sound; ``audio.json`` in the bundle.

    Attributes:
        rate: samples a second. samples: of a window. hop: between the starts of two windows, at most.
        most: windows of one sound.
    """

    rate: int = 16_000
    samples: int = 32_000
    hop: int = 16_000
    most: int = 8

    def __post_init__(self) -> None:
        """Check types and ranges: the values may come from a file."""
        for name, value in asdict(self).items():
            if type(value) is not int or not 1 <= value <= 10_000_000:
                raise ValueError(f"{name} is {value!r}; expected a whole number from 1 to 10000000")
        if not _RATES[0] <= self.rate <= _RATES[1]:
            raise ValueError(f"rate is {self.rate}; expected {_RATES[0]} to {_RATES[1]}")
        if self.hop > self.samples:
            raise ValueError(f"hop is {self.hop}; expected at most the {self.samples} samples of a window")

    def to_bytes(self) -> bytes:
        """As the bundle's file."""
        return json.dumps(asdict(self), sort_keys=True).encode()


def sniff(data: bytes) -> str:
    """The media type that the first bytes show: ``audio/wav`` or ``audio/flac``.

    Raises:
        UnsupportedMedia: anything else.

    >>> sniff(b"RIFF....WAVEfmt ")
    'audio/wav'
    """
    if data[:4] in (b"RIFF", b"RF64") and data[8:12] == b"WAVE":
        return "audio/wav"
    if data[:4] == b"fLaC":
        return "audio/flac"
    raise UnsupportedMedia(
        f"the {len(data)} bytes beginning {data[:8]!r} are not a sound in an accepted format",
        "send one of: audio/wav, audio/flac",
    )


def decode(data: bytes, windows: Windows, limits: Limits) -> tuple[Floats, tuple[str, ...]]:
    """The sound as (W, S) float32, and its flags.

    Raises:
        TooLarge: more bytes, seconds, channels or samples than accepted; UnsupportedMedia: another format or coding;
        InvalidInput: broken bytes, no samples, samples that are no numbers, an impossible rate.
    """
    sound, clipped = _mono(data, windows.rate, limits)
    flags = ["clipped"] if clipped else []
    if data[:4] == b"RIFF" and int.from_bytes(data[4:8], "little") + 8 > len(data) + 1:  # 1: a pad byte left out
        flags.append("incomplete")
    powers = _powers(sound, windows.rate)
    level = _loudest(powers)
    if level < _SILENCE:
        return np.zeros((1, windows.samples), np.float32), (*flags, "silent")
    sound = _centred(_trimmed(sound, powers, windows.rate, level))
    needed = -(-max(0, len(sound) - windows.samples) // windows.hop) + 1
    if needed > windows.most:
        flags.append("truncated")
    cut_WS = _cut(sound, windows, min(needed, windows.most))
    return cut_WS * np.float32(_LEVEL / level), tuple(sorted(flags))


def from_json(content: object, limits: Limits) -> bytes:
    """The file in ``{"b64": …}``. Raises as ``core.preprocess.from_base64``."""
    return from_base64(content, KEY, limits)


def to_json(data: bytes) -> object:
    """The file as ``{"b64": …}``."""
    return to_base64(data)


class SoundPreprocessor:
    """Sounds as the input ``audio``, (B, W, S) float32; a sound of fewer windows than another has windows of zeros.

    A member's graph must give windows of zeros no weight: see ``exporters.sound``.
    """

    def __init__(self, windows: Windows, limits: Limits) -> None:
        self.windows = windows
        self.key = f"{PREPROCESSING}/{windows.rate}/{windows.samples}/{windows.hop}/{windows.most}"
        self.files: Mapping[str, bytes] = {FILE: windows.to_bytes()}
        self._limits = limits

    def read(self, data: bytes) -> Row:
        """One sound. Raises as ``decode``."""
        windows_WS, flags = decode(data, self.windows, self._limits)
        return Row({KEY: windows_WS}, {flag: (KEY,) for flag in flags})

    def batch(self, rows: Sequence[Row]) -> Inputs:
        """Sounds side by side, as many windows each as the longest has."""
        most = max(len(row.arrays[KEY]) for row in rows)
        audio_BWS = np.zeros((len(rows), most, self.windows.samples), np.float32)
        for audio_WS, row in zip(audio_BWS, rows, strict=True):
            audio_WS[: len(row.arrays[KEY])] = row.arrays[KEY]
        return {KEY: audio_BWS}

    def blank(self) -> Row:
        """One window of silence."""
        return Row({KEY: np.zeros((1, self.windows.samples), np.float32)})


def preprocessor(inputs: Mapping[str, Input], files: Mapping[str, bytes], limits: Limits) -> SoundPreprocessor:
    """The preprocessor of a model whose bundle holds ``audio.json``.

    Raises:
        BrokenBundle: the file is missing or damaged, or the model's input ``audio`` does not fit it.
    """
    remedy = "use a bundle of lepton export"
    if FILE not in files:
        raise BrokenBundle(f"the bundle of a model that hears has no {FILE}", remedy)
    try:
        windows = Windows(**json.loads(files[FILE]))
    except (ValueError, TypeError, RecursionError) as error:
        raise BrokenBundle(f"{FILE} of the bundle cannot be used: {error}", remedy) from None
    shape = inputs[KEY].shape if KEY in inputs else ()
    if shape != (None, windows.samples):
        raise BrokenBundle(
            f"the model takes {sorted(inputs)} of {shape}; expected {KEY} of any windows of {windows.samples} samples",
            remedy,
        )
    return SoundPreprocessor(windows, limits)


def _mono(data: bytes, rate: int, limits: Limits) -> tuple[Floats, bool]:
    """The mean of the channels at ``rate``, no constant offset, and whether it was clipped; bounded in memory."""
    if len(data) > limits.max_bytes:
        raise TooLarge(
            f"the sound has {len(data)} bytes; at most {limits.max_bytes} are accepted",
            "send a shorter sound, or raise max_bytes",
        )
    media, meter = sniff(data), _Meter()
    try:
        with _Stream(io.BytesIO(data)) as file:
            _check_header(file, limits)
            ratio = Fraction(rate, file.samplerate).limit_denominator(_COARSEST)
            parts = [part.astype(np.float32) for part in _resampled(_blocks(file, limits, meter), ratio)]
    except LeptonError:
        raise
    except Exception as error:  # soundfile raises RuntimeError, ValueError and kinds of its own
        told = getattr(error, "error_string", type(error).__name__)  # the whole message names an address in memory
        raise InvalidInput(
            f"the {media} sound of {len(data)} bytes cannot be decoded: {told}", "send the complete, undamaged file"
        ) from error
    if not meter.frames:
        raise InvalidInput(f"the {media} sound of {len(data)} bytes has 0 samples", "send a sound with samples")
    sound: Floats = np.concatenate(parts)
    return _centred(sound), meter.full >= _CLIPPED * meter.frames


class _Stream(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A file that is read from its start to its end: no seeking, in which a FLAC of unstated length fails."""

    def seekable(self) -> bool:
        return False


@dataclass
class _Meter:
    """What is counted while samples pass by."""

    frames: int = 0
    full: int = 0


def _check_header(file: soundfile.SoundFile, limits: Limits) -> None:
    """Refuse by what the header says alone; no sample has been read."""
    if file.format not in _FORMATS or file.subtype not in _CODINGS:
        raise UnsupportedMedia(
            f"the sound is {file.format} coded as {file.subtype}; accepted are {', '.join(_CODINGS)} in WAV, and FLAC",
            "send 16-bit PCM WAV, or FLAC",
        )
    if file.channels > _MOST_CHANNELS:
        raise TooLarge(
            f"the sound has {file.channels} channels; at most {_MOST_CHANNELS} are accepted", "mix it down to one"
        )
    if not _RATES[0] <= file.samplerate <= _RATES[1]:
        raise InvalidInput(
            f"the sound has a rate of {file.samplerate} Hz; expected {_RATES[0]} to {_RATES[1]}",
            "send it at 16000 Hz",
        )
    if 0 <= file.frames < 2**62:  # a FLAC that was piped states no length: it is counted as it comes
        _check_length(file.frames, file, limits)


def _check_length(frames: int, file: soundfile.SoundFile, limits: Limits) -> None:
    seconds = frames / file.samplerate
    if seconds > limits.max_seconds:
        raise TooLarge(
            f"the sound lasts {seconds:.0f} seconds or more; at most {limits.max_seconds:g} are accepted",
            "send a shorter sound, or raise max_audio_seconds",
        )
    if frames * file.channels > limits.max_seconds * _MOST_SAMPLES:
        raise TooLarge(
            f"the sound has {frames * file.channels} samples over all channels or more; "
            f"at most {limits.max_seconds * _MOST_SAMPLES:.0f} are accepted",
            "send one channel at 16000 Hz",
        )


def _blocks(file: soundfile.SoundFile, limits: Limits, meter: _Meter) -> Iterator[Doubles]:
    """The mean of the channels, block by block, counted again: a header may say anything."""
    step = max(1, _BLOCK // file.channels)
    while True:
        block_FC: Doubles = file.read(step, dtype="float64", always_2d=True)
        if not len(block_FC):
            return
        meter.frames += len(block_FC)
        _check_length(meter.frames, file, limits)
        if not (np.abs(block_FC) <= _LARGEST).all():  # NaN compares false
            raise InvalidInput("the sound has samples that are not finite numbers", "send samples from -1 to 1")
        meter.full += int((np.abs(block_FC) >= _FULL).any(axis=1).sum())
        yield block_FC.mean(axis=1)


def _resampled(blocks: Iterator[Doubles], ratio: Fraction) -> Iterator[Doubles]:
    """As ``scipy.signal.resample_poly`` of the whole, in pieces that overlap by more than the filter reaches."""
    up, down = ratio.numerator, ratio.denominator
    if up == down:
        yield from blocks
        return
    taps = _filter(up, down)
    reach = -(-(len(taps) // 2) // (up * down)) * down + down  # of the filter, in samples; a multiple of `down`
    step = -(-_BLOCK // down) * down
    held: Doubles = np.zeros(reach)
    for block in blocks:
        held = np.concatenate([held, block])
        while len(held) >= reach + step + reach:
            yield _piece(held[: reach + step + reach], up, down, taps)[reach // down * up :][: step // down * up]
            held = held[step:]
    rest = len(held) - reach
    if rest > 0:
        yield _piece(np.concatenate([held, np.zeros(reach)]), up, down, taps)[reach // down * up :][
            : -(-rest * up // down)
        ]


def _piece(samples: Doubles, up: int, down: int, taps: Any) -> Doubles:  # scipy's stubs leave arrays of taps out
    out: Doubles = resample_poly(samples, up, down, window=taps)
    return out


@functools.lru_cache(maxsize=32)
def _filter(up: int, down: int) -> Doubles:
    """The low pass of ``scipy.signal.resample_poly``, made once."""
    widest = max(up, down)
    taps: Doubles = firwin(20 * widest + 1, 1 / widest, window=("kaiser", 5.0))
    return taps


def _centred(sound: Floats) -> Floats:
    """Without its constant offset; changed in place, because a long sound is large."""
    sound -= np.float32(sound.mean(dtype=np.float64))
    return sound


def _loudest(powers: Doubles) -> float:
    """Largest root mean square over a tenth of a second, or over all of a shorter sound."""
    width = min(len(powers), round(_LOUD_S / _EDGE_S))
    return float(np.sqrt(np.convolve(powers, np.full(width, 1 / width), mode="valid").max()))


def _powers(sound: Floats, rate: int) -> Doubles:
    """Mean square of each hundredth of a second; the last one filled up with zeros in a sound longer than that."""
    step = min(_step(rate), len(sound))
    whole_TS = sound[: len(sound) // step * step].reshape(-1, step)
    rest = sound[whole_TS.size :]
    squares = np.append(np.einsum("ts,ts->t", whole_TS, whole_TS), [np.dot(rest, rest)] if len(rest) else [])
    return squares.astype(np.float64) / step


def _step(rate: int) -> int:
    return max(1, round(rate * _EDGE_S))


def _trimmed(sound: Floats, powers: Doubles, rate: int, level: float) -> Floats:
    """Without its quiet ends; a margin stays, because words begin and end softly."""
    step, margin = _step(rate), round(rate * _LOUD_S)
    loud = np.flatnonzero(powers >= (_QUIET * level) ** 2)
    return sound[max(0, loud[0] * step - margin) : (loud[-1] + 1) * step + margin]


def _cut(sound: Floats, windows: Windows, count: int) -> Floats:
    """(W, S): one window around a short sound, or ``count`` windows spread evenly from its start to its end."""
    cut_WS = np.zeros((count, windows.samples), np.float32)
    spare = len(sound) - windows.samples
    if spare <= 0:
        cut_WS[0, -spare // 2 : -spare // 2 + len(sound)] = sound
        return cut_WS
    for number, window_S in enumerate(cut_WS):
        start = spare * number // max(1, count - 1) if count > 1 else spare // 2
        window_S[:] = sound[start : start + windows.samples]
    return cut_WS
