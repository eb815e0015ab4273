"""Sounds of every accepted kind decode as defined; everything else is refused by name, whatever the bytes."""

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from core.errors import BrokenBundle, InvalidInput, LeptonError, MalformedRequest, TooLarge, UnsupportedMedia
from core.modality import audio
from core.modality.audio import FILE, Windows, decode, preprocessor, sniff
from core.preprocess import Limits, modality
from core.types import Input
from tests import sounds
from tests.sounds import claiming as wav

LIMITS = Limits()
WINDOWS = Windows()
INPUTS = {"audio": Input((None, WINDOWS.samples), np.dtype(np.float32))}


def tone(seconds: float, rate: int = 16_000, height: float = 440.0) -> np.ndarray:
    return 0.3 * np.sin(2 * np.pi * height * np.arange(round(seconds * rate)) / rate)


SEEDS = [
    sounds.wav(1, 0.1),
    sounds.flac(1, 0.1),
    sounds.encoded(np.stack([tone(0.1), tone(0.1)], axis=1), kind="WAVEX", coding="PCM_24"),
    sounds.encoded(tone(0.1), coding="FLOAT"),
    sounds.encoded(tone(0.1), kind="RF64"),
    sounds.encoded(tone(0.1), coding="ULAW"),
]


@pytest.mark.parametrize(
    ("kind", "coding"),
    [("WAV", c) for c in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW")]
    + [("WAVEX", "PCM_24"), ("RF64", "PCM_16"), ("FLAC", "PCM_S8"), ("FLAC", "PCM_16"), ("FLAC", "PCM_24")],
)
def test_every_accepted_coding_gives_the_same_sound(kind: str, coding: str) -> None:
    data = sounds.encoded(sounds.samples(3), kind=kind, coding=coding)
    assert sniff(data) == ("audio/flac" if kind == "FLAC" else "audio/wav")
    windows_WS, flags = decode(data, WINDOWS, LIMITS)
    exact_WS, _ = decode(sounds.encoded(sounds.samples(3), coding="DOUBLE"), WINDOWS, LIMITS)
    assert windows_WS.shape == (1, 32_000)
    assert windows_WS.dtype == np.float32
    assert flags == ()
    off = 20 if "8" in coding or "LAW" in coding else 1000  # 8 bits are coarse
    assert np.abs(windows_WS - exact_WS).max() < 1 / off


def test_flac_and_wav_of_the_same_samples_are_the_same_to_the_bit() -> None:
    assert np.array_equal(decode(sounds.wav(5), WINDOWS, LIMITS)[0], decode(sounds.flac(5), WINDOWS, LIMITS)[0])


def test_a_short_sound_stands_in_the_middle_of_zeros_at_minus_twenty_decibels() -> None:
    (window_S,), _ = decode(sounds.encoded(tone(0.5)), WINDOWS, LIMITS)
    held = np.flatnonzero(window_S)
    assert (held[0], held[-1]) == (pytest.approx(12_000, abs=2), pytest.approx(19_999, abs=2))
    assert np.sqrt(np.mean(window_S[held[0] : held[-1]] ** 2)) == pytest.approx(0.1, rel=1e-2)


@pytest.mark.parametrize("gain", [1e-3, 0.1, 3e4])
def test_loudness_says_nothing(gain: float) -> None:
    plain, _ = decode(sounds.encoded(sounds.samples(2), coding="DOUBLE"), WINDOWS, LIMITS)
    louder, _ = decode(sounds.encoded(gain * sounds.samples(2), coding="DOUBLE"), WINDOWS, LIMITS)
    assert np.allclose(plain, louder, atol=1e-5)


def test_quiet_ends_and_a_constant_offset_say_nothing() -> None:
    wave = sounds.samples(2)
    padded = np.concatenate([np.zeros(20_000), wave, np.zeros(12_000)]) + 0.25
    plain, _ = decode(sounds.encoded(wave, coding="DOUBLE"), WINDOWS, LIMITS)
    found, flags = decode(sounds.encoded(padded, coding="DOUBLE"), WINDOWS, LIMITS)
    assert flags == ()
    assert len(found) == 1
    spectra = [np.abs(np.fft.rfft(window_S)) for window_S in (plain[0], found[0])]  # the place of the middle may differ
    assert np.abs(spectra[0] - spectra[1]).max() < 0.02 * spectra[0].max()


def test_channels_are_averaged() -> None:
    left, right = tone(0.5, height=300), tone(0.5, height=700)
    both = decode(sounds.encoded(np.stack([left, right], axis=1), coding="DOUBLE"), WINDOWS, LIMITS)[0]
    assert np.allclose(both, decode(sounds.encoded((left + right) / 2, coding="DOUBLE"), WINDOWS, LIMITS)[0], atol=1e-6)


@pytest.mark.parametrize("rate", [1_000, 8_000, 11_025, 22_050, 44_100, 44_101, 48_000, 96_000, 767_999])
def test_a_tone_keeps_its_height_whatever_the_rate(rate: int) -> None:
    (window_S,), _ = decode(sounds.encoded(tone(1.5, rate, 310.0), rate), WINDOWS, LIMITS)
    assert np.abs(np.fft.rfft(window_S)).argmax() == pytest.approx(620, abs=1)  # half a hertz a step


@pytest.mark.parametrize("rate", [44_100, 48_000, 11_025, 8_000])
@pytest.mark.parametrize("length", [1, 441, 65_536, 200_001])
def test_a_long_sound_is_resampled_in_pieces_as_if_it_were_whole(rate: int, length: int) -> None:
    from fractions import Fraction

    wave = np.random.default_rng(length).standard_normal(length)
    ratio = Fraction(16_000, rate)
    pieces = np.concatenate(list(audio._resampled(iter(np.array_split(wave, min(7, length))), ratio)))
    assert np.array_equal(pieces, resample_poly(wave, ratio.numerator, ratio.denominator))


@pytest.mark.parametrize(("seconds", "count"), [(2.0, 1), (2.1, 2), (3.0, 2), (3.1, 3), (9.0, 8)])
def test_a_longer_sound_has_windows_from_its_start_to_its_end(seconds: float, count: int) -> None:
    wave = tone(seconds) * np.linspace(0.5, 1, round(seconds * 16_000))
    windows_WS, flags = decode(sounds.encoded(wave, coding="DOUBLE"), WINDOWS, LIMITS)
    assert len(windows_WS) == count
    assert flags == ()
    level = np.sqrt((windows_WS**2).mean(axis=1))
    assert (np.diff(level) > 0).all()


def test_a_sound_longer_than_its_windows_is_flagged_and_heard_throughout() -> None:
    wave = np.concatenate([tone(10, height=500), tone(10, height=1_000)])
    windows_WS, flags = decode(sounds.encoded(wave), WINDOWS, LIMITS)
    assert flags == ("truncated",)
    assert windows_WS.shape == (8, 32_000)
    heights = np.abs(np.fft.rfft(windows_WS)).argmax(axis=1) / 2
    assert heights.tolist() == [500.0] * 4 + [1_000.0] * 4


@pytest.mark.parametrize("wave", [np.zeros(16_000), np.full(16_000, 0.5), 1e-5 * tone(1), np.zeros(1)])
def test_silence_is_flagged_and_all_zeros(wave: np.ndarray) -> None:
    windows_WS, flags = decode(sounds.encoded(wave, coding="DOUBLE"), WINDOWS, LIMITS)
    assert flags == ("silent",)
    assert not windows_WS.any()
    assert windows_WS.shape == (1, 32_000)


def test_clipping_is_flagged() -> None:
    assert decode(sounds.encoded(np.clip(8 * tone(0.5), -1, 1)), WINDOWS, LIMITS)[1] == ("clipped",)


@pytest.mark.parametrize("claim", [0xFFFFFFFF, 0xFFFFFFF0, 0x7FFFFFFF, 40_000])
def test_a_wav_that_claims_more_than_it_holds_is_what_it_holds_and_takes_no_memory(claim: int) -> None:
    data = wav((tone(0.5) * 32_767).astype("<i2").tobytes(), claim=claim)
    tracemalloc.start()
    windows_WS, flags = decode(data, WINDOWS, LIMITS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert flags == ("incomplete",)
    assert np.count_nonzero(windows_WS) == pytest.approx(8_000, abs=100)  # a tone has zeros of its own
    assert peak < 8_000_000


def flac_claiming(frames: int) -> bytes:
    """A FLAC whose header states another length (36 bits, RFC 9639, section 8.2)."""
    data = bytearray(sounds.flac(1))
    data[21] = data[21] & 0xF0 | frames >> 32
    data[22:26] = (frames & 0xFFFFFFFF).to_bytes(4, "big")
    return bytes(data)


def test_a_flac_that_claims_days_is_refused_by_its_header() -> None:
    with pytest.raises(TooLarge, match="4294967 seconds"):
        decode(flac_claiming(2**36 - 1), WINDOWS, LIMITS)


def test_a_flac_that_states_no_length_is_heard_to_its_end() -> None:
    assert np.array_equal(decode(flac_claiming(0), WINDOWS, LIMITS)[0], decode(sounds.flac(1), WINDOWS, LIMITS)[0])


def test_a_flac_that_states_no_length_is_still_capped() -> None:
    with pytest.raises(TooLarge, match="seconds or more"):
        decode(flac_claiming(0), WINDOWS, Limits(max_seconds=0.5))


def test_ten_hours_of_silence_are_refused_by_the_header() -> None:
    data = sounds.encoded(np.zeros(8_000 * 3_600, np.int16), rate=800 * 10, kind="FLAC")
    with pytest.raises(TooLarge, match="3600 seconds"):
        decode(data, WINDOWS, LIMITS)


def test_many_channels_at_a_high_rate_are_refused_before_they_are_decoded() -> None:
    data = sounds.encoded(np.zeros((192_000, 8), np.int16), rate=192_000, kind="FLAC")
    with pytest.raises(TooLarge, match="1536000 samples"):
        decode(data, WINDOWS, Limits(max_seconds=2))


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (wav(b""), InvalidInput, "0 samples"),
        (wav(b"\0\1" * 100, claim=0), InvalidInput, "0 samples"),
        (wav(bytes(9_600), channels=96), TooLarge, "96 channels"),
        (wav(bytes(9_600), channels=0), InvalidInput, "cannot be decoded"),
        (wav(bytes(9_600), rate=0), InvalidInput, "cannot be decoded"),
        (wav(bytes(9_600), rate=1), InvalidInput, "rate of 1 Hz"),
        (wav(bytes(9_600), rate=10_000_000), InvalidInput, "rate of 10000000 Hz"),
        (wav(np.array([0.1, np.nan], "<f4").tobytes(), tag=3, bits=32), InvalidInput, "not finite"),
        (wav(np.array([0.1, np.inf], "<f4").tobytes(), tag=3, bits=32), InvalidInput, "not finite"),
        (wav(np.array([0.1, 1e300], "<f8").tobytes(), tag=3, bits=64), InvalidInput, "not finite"),
        (wav(bytes(9_600), tag=0x55), LeptonError, "audio/wav|WAV"),
        (wav(bytes(9_600), tag=0xFFFE), InvalidInput, "cannot be decoded"),
        (b"RIFF\x10\0\0\0WAVEdata\4\0\0\0\1\2\3\4", InvalidInput, "cannot be decoded"),
        (b"fLaC" + bytes(50), InvalidInput, "cannot be decoded"),
        (sounds.flac(1)[:3_000], InvalidInput, "cannot be decoded"),
    ],
)
def test_what_cannot_be_heard_is_refused_by_name(data: bytes, error: type[LeptonError], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        decode(data, WINDOWS, LIMITS)
    assert caught.value.remedy
    assert "object at" not in caught.value.message
    assert 400 <= caught.value.status < 500


@pytest.mark.parametrize("coding", ["IMA_ADPCM", "MS_ADPCM", "GSM610", "G721_32"])
def test_codings_nobody_needs_are_unsupported(coding: str) -> None:
    with pytest.raises(UnsupportedMedia, match="16-bit PCM"):
        decode(sounds.encoded(tone(0.5, 8_000), 8_000, coding=coding), WINDOWS, LIMITS)


@pytest.mark.parametrize(
    "data",
    [b"", b"a text named .wav", b"ID3\4", b"OggS" + bytes(40), b"RIFF1234WEBP", b"FORM1234AIFF", b"RIFX1234WAVE"],
)
def test_other_formats_are_unsupported_whatever_they_call_themselves(data: bytes) -> None:
    with pytest.raises(UnsupportedMedia, match="audio/flac"):
        decode(data, WINDOWS, LIMITS)


def test_too_many_bytes_are_refused() -> None:
    with pytest.raises(TooLarge, match="bytes"):
        decode(sounds.wav(1), WINDOWS, Limits(max_bytes=100))


def test_a_client_writes_a_sound_as_base64_and_nothing_else() -> None:
    assert audio.from_json(audio.to_json(sounds.wav(1)), LIMITS) == sounds.wav(1)
    contents: list[object] = ["http://example.org/a.wav", {"url": "file:///etc/passwd"}, {"b64": "%"}, None, 5, []]
    for content in contents:
        with pytest.raises((InvalidInput, MalformedRequest)):
            audio.from_json(content, LIMITS)


@given(numbers=st.lists(st.integers(0, 5), min_size=1, max_size=6), seconds=st.floats(0.05, 5))
@settings(max_examples=30, deadline=None)
def test_a_batch_is_its_rows_and_zeros(numbers: list[int], seconds: float) -> None:
    hears = preprocessor(INPUTS, {FILE: WINDOWS.to_bytes()}, LIMITS)
    rows = [hears.read(sounds.wav(number, seconds * (1 + number))) for number in numbers]
    batch_BWS = hears.batch(rows)["audio"]
    assert len(batch_BWS) == len(rows)
    for row, audio_WS in zip(rows, batch_BWS, strict=True):
        count = len(row.arrays["audio"])
        assert np.array_equal(audio_WS[:count], row.arrays["audio"])
        assert not audio_WS[count:].any()


def test_what_a_bundle_holds_builds_the_same_preprocessor_again() -> None:
    assert modality("audio").KEY == "audio"
    first = preprocessor(INPUTS, {FILE: WINDOWS.to_bytes()}, LIMITS)
    again = preprocessor(INPUTS, first.files, LIMITS)
    assert (again.key, again.files) == (first.key, first.files)
    assert again.batch([again.blank()])["audio"].shape == (1, 1, 32_000)
    assert first.read(sounds.wav(0)).flags == {}
    assert first.read(sounds.encoded(np.zeros(100))).flags == {"silent": ("audio",)}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b'{"rate": "fast"}',
        b'{"rate": 5}',
        b'{"hop": 0}',
        b'{"hop": 99999}',
        b'{"more": 1}',
        b"[" * 9999,
        json.dumps({"samples": 100, "hop": 50}).encode(),
        json.dumps({"samples": 1e9}).encode(),
    ],
)
def test_a_bundle_whose_windows_are_damaged_is_refused(content: bytes) -> None:
    with pytest.raises(BrokenBundle, match=r"audio"):
        preprocessor(INPUTS, {FILE: content}, LIMITS)


def test_a_bundle_without_windows_is_refused() -> None:
    with pytest.raises(BrokenBundle, match=r"audio\.json"):
        preprocessor(INPUTS, {}, LIMITS)


@settings(max_examples=400, deadline=None)
@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.one_of(st.integers(0, 80), st.integers(0, 5_000)), st.integers(0, 255)), max_size=12),
    end=st.integers(1, 6_000),
    tail=st.binary(max_size=20),
)
def test_any_bytes_give_windows_or_an_error_for_people(
    seed: bytes, changes: list[tuple[int, int]], end: int, tail: bytes
) -> None:
    data = bytearray(seed)
    for place, value in changes:
        data[place % len(data)] = value
    try:
        windows_WS, flags = decode(bytes(data[:end]) + tail, WINDOWS, LIMITS)
    except LeptonError as error:
        assert 400 <= error.status < 500
        return
    assert windows_WS.shape[1:] == (32_000,)
    assert 1 <= len(windows_WS) <= WINDOWS.most
    assert np.isfinite(windows_WS).all()
    assert set(flags) <= {"silent", "clipped", "truncated", "incomplete"}
    assert windows_WS.any() != ("silent" in flags)


@given(data=st.binary(max_size=300), magic=st.sampled_from([b"", b"RIFF\0\1\0\0WAVE", b"fLaC", b"RF64\0\0\0\0WAVE"]))
@settings(deadline=None)
def test_noise_behind_a_magic_number_is_an_error_for_people(data: bytes, magic: bytes) -> None:
    with pytest.raises(LeptonError):
        decode(magic + data, WINDOWS, LIMITS)
