"""Pictures gone wrong: noise, blur, contrast, brightness, JPEG and coarse pixels.

Promises a picture of the same proportions, and of the same size up to 448 pixels a side; a larger one is reduced to
that first, since no backbone sees more. Strengths are the first, third and fifth of the source's five, those in pixels
for a side of 224. Knows nothing of models.

Source: Hendrycks and Dietterich, "Benchmarking neural network robustness to common corruptions", arXiv 1903.12261.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from core.modality.image import decode, extent
from core.preprocess import Limits

LARGEST = 448  # pixels of the longer side
_STATED = 224  # pixels of the side that strengths in pixels are stated for

Pixels = NDArray[np.uint8]


def corrupt(data: bytes, kind: str, severity: int, random: np.random.Generator) -> bytes:
    """A PNG of the picture gone wrong; the very bytes at severity 0."""
    if severity == 0:
        return data
    change, strengths = _CHANGES[kind]
    height, width = extent(data, Limits())
    share = min(1.0, LARGEST / max(height, width))
    pixels = decode(data, (max(1, round(height * share)), max(1, round(width * share))), Limits())
    out = io.BytesIO()
    Image.fromarray(change(pixels, strengths[severity - 1], random)).save(out, "PNG", compress_level=1)
    return out.getvalue()


def _noise(pixels: Pixels, deviation: float, random: np.random.Generator) -> Pixels:
    return _bytes(pixels + 255.0 * deviation * random.standard_normal(pixels.shape))


def _blur(pixels: Pixels, radius: float, random: np.random.Generator) -> Pixels:
    del random
    reach = radius * max(pixels.shape[:2]) / _STATED
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(reach)))


def _contrast(pixels: Pixels, kept: float, random: np.random.Generator) -> Pixels:
    del random
    means = pixels.mean(axis=(0, 1), keepdims=True)
    return _bytes((pixels - means) * kept + means)


def _brightness(pixels: Pixels, more: float, random: np.random.Generator) -> Pixels:
    del random
    hue = np.asarray(Image.fromarray(pixels).convert("HSV")).astype(np.float64)
    hue[..., 2] += 255.0 * more
    return np.asarray(Image.fromarray(_bytes(hue), "HSV").convert("RGB"))


def _jpeg(pixels: Pixels, quality: float, random: np.random.Generator) -> Pixels:
    del random
    packed = io.BytesIO()
    Image.fromarray(pixels).save(packed, "JPEG", quality=round(quality))
    return np.asarray(Image.open(packed).convert("RGB"))


def _pixelate(pixels: Pixels, share: float, random: np.random.Generator) -> Pixels:
    del random
    height, width = pixels.shape[:2]
    few = (max(1, round(width * share)), max(1, round(height * share)))
    small = Image.fromarray(pixels).resize(few, Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.NEAREST))


def _bytes(values: NDArray[np.float64]) -> Pixels:
    rounded: Pixels = np.rint(values.clip(0, 255)).astype(np.uint8)
    return rounded


_CHANGES: dict[str, tuple[Callable[[Pixels, float, np.random.Generator], Pixels], tuple[float, float, float]]] = {
    "noise": (_noise, (0.08, 0.18, 0.38)),
    "blur": (_blur, (1.0, 3.0, 6.0)),
    "contrast": (_contrast, (0.4, 0.2, 0.05)),
    "brightness": (_brightness, (0.1, 0.3, 0.5)),
    "jpeg": (_jpeg, (25, 15, 7)),
    "pixelate": (_pixelate, (0.6, 0.4, 0.25)),
}
KINDS = tuple(_CHANGES)
