"""Bytes of a picture to an array of fixed shape, the same in training and in serving.

Promises that any bytes whatever give a (H, W, 3) uint8 RGB array or a LeptonError; that the bytes alone, never a name
or a content type, choose the decoder; and that the caps hold before memory is taken. Every modality file offers the
names of ``core.preprocess``. Knows nothing of models, files or HTTP.

What is defined: the first frame of an animation; EXIF orientation is applied; alpha is composited on white; 16-bit
samples keep their high byte; CMYK, grey and palette become RGB; the whole picture is resized (bicubic, antialiased, no
crop), because a corner that is cut off may hold what the scene is about.

Legend: H height, W width.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from core.errors import BrokenBundle, InvalidInput, LeptonError, TooLarge, UnsupportedMedia
from core.preprocess import BOMB, Inputs, Limits, Row, from_base64, to_base64
from core.types import Input

# Names what `decode` does in cache keys and manifests: count it up with any change of a pixel.
PREPROCESSING = "image/1"
KEY = "image"
MEDIA = ("image/jpeg", "image/png", "image/webp")

_FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/webp": "WEBP"}
_GAP = 3.0  # JPEG scaling and box reduction stop at 3 times the target: indistinguishable from a full bicubic resize
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112  # the EXIF tag

warnings.filterwarnings("error", category=Image.DecompressionBombWarning)


def sniff(data: bytes) -> str:
    """The media type that the first bytes show: ``image/jpeg``, ``image/png`` or ``image/webp``.

    Raises:
        UnsupportedMedia: anything else.

    >>> sniff(bytes.fromhex("89504e470d0a1a0a"))
    'image/png'
    """
    if data[:3] == b"\xff\xd8\xff":
        return "image/jpeg"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "image/png"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    raise UnsupportedMedia(
        f"the {len(data)} bytes beginning {data[:8]!r} are not a picture in an accepted format",
        f"send one of: {', '.join(_FORMATS)}",
    )


def decode(data: bytes, size: tuple[int, int], limits: Limits) -> NDArray[np.uint8]:
    """The picture as (H, W, 3) uint8 RGB, where ``size`` is (H, W).

    Raises:
        TooLarge: more bytes or pixels than ``limits``; UnsupportedMedia: another format; InvalidInput: broken bytes.
    """
    with _opened(data, limits) as image:
        return _pixels(image, size)


def from_json(content: object, limits: Limits) -> bytes:
    """The file in ``{"b64": …}``. Raises as ``core.preprocess.from_base64``."""
    return from_base64(content, KEY, limits)


def to_json(data: bytes) -> object:
    """The file as ``{"b64": …}``."""
    return to_base64(data)


class PicturePreprocessor:
    """Pictures of one size, (H, W), as the input ``image``, (B, H, W, 3) uint8."""

    def __init__(self, size: tuple[int, int], limits: Limits) -> None:
        self.size = size
        self.key = f"{PREPROCESSING}/{size[0]}x{size[1]}"
        self.files: Mapping[str, bytes] = {}
        self._limits = limits

    def read(self, data: bytes) -> Row:
        """One picture. Raises as ``decode``."""
        return Row({KEY: decode(data, self.size, self._limits)})

    def batch(self, rows: Sequence[Row]) -> Inputs:
        """Pictures side by side."""
        return {KEY: np.stack([row.arrays[KEY] for row in rows])}

    def blank(self) -> Row:
        """A black picture."""
        return Row({KEY: np.zeros((*self.size, 3), np.uint8)})


def preprocessor(inputs: Mapping[str, Input], files: Mapping[str, bytes], limits: Limits) -> PicturePreprocessor:
    """The preprocessor of a model whose input ``image`` has a fixed size; ``files`` are not needed.

    Raises:
        BrokenBundle: the model takes no picture of a fixed size.
    """
    shape = inputs[KEY].shape if KEY in inputs else ()
    if len(shape) != 3 or shape[0] is None or shape[1] is None:
        raise BrokenBundle(
            f"the model takes {sorted(inputs)}; expected {KEY} of a fixed size", "use a model.onnx of lepton export"
        )
    return PicturePreprocessor((shape[0], shape[1]), limits)


def extent(data: bytes, limits: Limits) -> tuple[int, int]:
    """(height, width) of the stored picture, from its header alone and before any rotation. Raises as ``decode``."""
    with _opened(data, limits) as image:
        return image.height, image.width


@contextlib.contextmanager
def _opened(data: bytes, limits: Limits) -> Iterator[Image.Image]:
    """The picture behind its caps, nothing decoded yet; what goes wrong inside becomes a LeptonError."""
    if len(data) > limits.max_bytes:
        raise TooLarge(
            f"the picture has {len(data)} bytes; at most {limits.max_bytes} are accepted",
            "send a smaller picture, or raise max_bytes",
        )
    media = sniff(data)
    try:
        if media == "image/webp":  # libwebp takes memory for the canvas on opening
            _check_pixels(*_webp_canvas(data), limits)
        with Image.open(io.BytesIO(data), formats=(_FORMATS[media],)) as image:
            _check_pixels(image.width, image.height, limits)
            yield image
    except LeptonError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_many_pixels(f"over {BOMB}", limits) from error
    except Exception as error:  # Pillow's decoders raise whatever broken bytes lead them into, also in the with body
        raise InvalidInput(
            f"the {media} picture of {len(data)} bytes cannot be decoded: {error}",
            "send the complete, undamaged file",
        ) from error


def _pixels(image: Image.Image, size: tuple[int, int]) -> NDArray[np.uint8]:
    if not isinstance(image, JpegImageFile):  # PNG may carry its EXIF behind the pixels
        image.load()
    turn = _orientation(image)
    height, width = size
    target = (height, width) if turn >= 5 else (width, height)
    if isinstance(image, JpegImageFile):
        image.draft(None, (round(target[0] * _GAP), round(target[1] * _GAP)))
    resized = _rgb(image).resize(target, Image.Resampling.BICUBIC, reducing_gap=_GAP)
    if turn in _TURNS:
        resized = resized.transpose(_TURNS[turn])
    return np.asarray(resized, dtype=np.uint8)


def _check_pixels(width: int, height: int, limits: Limits) -> None:
    if width * height > limits.max_pixels:
        raise _too_many_pixels(f"{width} x {height}", limits)


def _too_many_pixels(seen: str, limits: Limits) -> TooLarge:
    return TooLarge(
        f"the picture has {seen} pixels; at most {limits.max_pixels} are accepted",
        "send a smaller picture, or raise max_pixels",
    )


def _webp_canvas(data: bytes) -> tuple[int, int]:
    """Width and height from the first chunk of a WebP file (RFC 9649, sections 2.5 to 2.7)."""
    chunk, body = data[12:16], data[20:30].ljust(10, b"\0")
    if chunk == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if chunk == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; broken EXIF counts as upright, because the pixels are still good."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # EXIF is parsed as TIFF, and fails in as many ways
        return 1
    return value if isinstance(value, int) and value in _TURNS else 1


def _rgb(image: Image.Image) -> Image.Image:
    image.load()
    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion would clip at 255
        return Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if "transparency" in image.info or image.mode in ("RGBA", "LA", "PA"):
        over = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", over.size, "white"), over).convert("RGB")
    return image.convert("RGB")
