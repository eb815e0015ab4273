"""Pictures of every accepted kind decode as defined; everything else is refused by name, whatever the bytes."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from core.errors import InvalidInput, LeptonError, TooLarge, UnsupportedMedia
from core.modality.image import decode, extent, sniff
from core.preprocess import Limits

LIMITS = Limits()


def gradient(height: int = 60, width: int = 80) -> np.ndarray:
    rows, columns = np.mgrid[0:height, 0:width]
    return np.stack([rows * 255 // height, columns * 255 // width, (rows + columns) % 256], axis=2).astype(np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))


PICTURE = Image.fromarray(gradient())
SEEDS = [
    encoded(PICTURE, "PNG"),
    encoded(PICTURE, "JPEG"),
    encoded(PICTURE, "WEBP"),
    encoded(PICTURE.convert("P"), "PNG"),
    encoded(PICTURE.convert("CMYK"), "JPEG"),
    encoded(PICTURE.convert("LA"), "PNG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"),
]


@pytest.mark.parametrize(("kind", "media"), [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("WEBP", "image/webp")])
def test_accepted_formats_are_told_by_their_bytes_and_keep_their_colours(kind: str, media: str) -> None:
    data = encoded(PICTURE, kind, quality=95)
    assert sniff(data) == media
    pixels = decode(data, (60, 80), LIMITS)
    assert pixels.shape == (60, 80, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - gradient()).mean() < 6
    assert extent(data, LIMITS) == (60, 80)


def test_a_png_at_its_own_size_comes_back_to_the_pixel() -> None:
    assert np.array_equal(decode(encoded(PICTURE, "PNG"), (60, 80), LIMITS), gradient())


@pytest.mark.parametrize("kind", ["BMP", "GIF", "TIFF"])
def test_other_formats_are_unsupported_whatever_they_call_themselves(kind: str) -> None:
    with pytest.raises(UnsupportedMedia, match="image/webp"):
        decode(encoded(PICTURE, kind), (8, 8), LIMITS)


@pytest.mark.parametrize("data", [b"", b"a text file named .jpg", b"<svg/>", b"RIFF1234WAVE"])
def test_text_and_emptiness_are_unsupported(data: bytes) -> None:
    with pytest.raises(UnsupportedMedia):
        decode(data, (8, 8), LIMITS)


@pytest.mark.parametrize("side", [30_000, 9_000, 2**31 - 1])
def test_too_many_pixels_are_refused_from_the_header_alone(side: int) -> None:
    with pytest.raises(TooLarge, match="pixels"):
        decode(png_header(side, side), (8, 8), LIMITS)


def test_a_webp_canvas_is_refused_before_the_decoder_sees_it() -> None:
    canvas = (16_382).to_bytes(3, "little") * 2
    data = b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + canvas
    with pytest.raises(TooLarge, match="16383 x 16383"):
        decode(data, (8, 8), LIMITS)


@pytest.mark.parametrize("lossless", [True, False])
def test_every_kind_of_webp_states_its_canvas(lossless: bool) -> None:
    with pytest.raises(TooLarge, match="80 x 60"):
        decode(encoded(PICTURE, "WEBP", lossless=lossless), (8, 8), Limits(max_pixels=80 * 60 - 1))


def test_too_many_bytes_are_refused() -> None:
    with pytest.raises(TooLarge, match="bytes"):
        decode(encoded(PICTURE, "PNG"), (8, 8), Limits(max_bytes=100))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_truncated_pictures_are_invalid(kind: str) -> None:
    data = encoded(PICTURE, kind)
    with pytest.raises(InvalidInput, match="cannot be decoded"):
        decode(data[: len(data) // 2], (8, 8), LIMITS)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    ("orientation", "corner"),
    [(1, (0, 0)), (2, (0, 1)), (3, (1, 1)), (4, (1, 0)), (5, (0, 0)), (6, (0, 1)), (8, (1, 0))],
)
def test_exif_orientation_is_applied(kind: str, orientation: int, corner: tuple[int, int]) -> None:
    pixels = np.zeros((64, 96, 3), np.uint8)
    pixels[:32, :48] = 255  # the upper left quarter, as stored
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = decode(encoded(Image.fromarray(pixels), kind, exif=exif), (64, 64), LIMITS)
    quarters = upright.reshape(2, 32, 2, 32, 3).mean(axis=(1, 3, 4))
    assert np.unravel_index(quarters.argmax(), (2, 2)) == corner
    assert quarters.max() > 240


def test_transparent_parts_become_white() -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)
    pixels[:, 4:, 3] = 255
    flat = decode(encoded(Image.fromarray(pixels), "PNG"), (8, 8), LIMITS)
    assert (flat[:, :4] == 255).all()
    assert (flat[:, 4:] == 0).all()


def test_a_transparent_palette_entry_becomes_white() -> None:
    image = Image.fromarray(np.zeros((4, 4), np.uint8), "L").convert("P")
    assert (decode(encoded(image, "PNG", transparency=0), (4, 4), LIMITS) == 255).all()


def test_sixteen_bit_grey_is_scaled_and_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    flat = decode(encoded(Image.fromarray(ramp), "PNG"), (16, 16), LIMITS)
    assert np.array_equal(flat[..., 0], (ramp >> 8).astype(np.uint8))


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_grey_bilevel_and_palette_become_rgb(mode: str) -> None:
    image = PICTURE.convert(mode)
    assert np.array_equal(decode(encoded(image, "PNG"), (60, 80), LIMITS), np.asarray(image.convert("RGB")))


def test_cmyk_keeps_its_look() -> None:
    red = Image.new("RGB", (16, 16), (220, 20, 20)).convert("CMYK")
    pixels = decode(encoded(red, "JPEG", quality=95), (16, 16), LIMITS)
    assert pixels[..., 0].min() > 200
    assert pixels[..., 1:].max() < 50


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    assert (decode(data, (4, 4), LIMITS) == (255, 0, 0)).all()


def test_a_large_jpeg_read_at_reduced_scale_looks_like_the_full_resize() -> None:
    large = Image.fromarray(gradient(1200, 1600)).resize((1600, 1200), Image.Resampling.BICUBIC)
    data = encoded(large, "JPEG", quality=95)
    full = np.asarray(Image.open(io.BytesIO(data)).resize((96, 96), Image.Resampling.BICUBIC)).astype(int)
    assert np.abs(decode(data, (96, 96), LIMITS) - full).mean() < 1.0


def test_limits_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="max_pixels"):
        Limits(max_pixels=10**9)
    with pytest.raises(ValueError, match="max_bytes"):
        Limits(max_bytes=0)


@settings(max_examples=300, deadline=None)
@given(
    seed=st.sampled_from(SEEDS),
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=12),
    end=st.integers(1, 10_000),
    tail=st.binary(max_size=20),
)
def test_any_bytes_give_a_picture_or_an_error_for_people(
    seed: bytes, changes: list[tuple[int, int]], end: int, tail: bytes
) -> None:
    data = bytearray(seed)
    for place, value in changes:
        data[place % len(data)] = value
    try:
        pixels = decode(bytes(data[:end]) + tail, (24, 16), LIMITS)
    except LeptonError:
        return
    assert pixels.shape == (24, 16, 3)
    assert pixels.dtype == np.uint8
