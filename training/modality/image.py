"""Pictures while data are prepared: thumbnails, near twins, picture size, and how one is shown in a report.

Promises memory of about 4 kB a picture. Near twins are found by a 64-bit difference hash and confirmed on thumbnails,
so that a flat hash (plain or tiny pictures) convicts nobody. Knows nothing of labels or splits.

Legend: N pictures, S side of a thumbnail, P pairs.
"""

from __future__ import annotations

import base64
import hashlib
import io
import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.modality.image import decode
from core.preprocess import Limits
from training.kinds import Look
from training.report import Finding
from training.zoo import Setting

NOUNS = ("picture", "pictures")
WANTED = "give JPEG, PNG or WebP files, each in the folder of its class or in a line"
SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp"})

SIDE = 32  # pixels of the thumbnails that stand for a picture
HASH_BITS = 6  # of 64: difference hashes further apart are never twins
TWIN_MEAN = 4.0  # mean difference of two thumbnails, in steps of 255; re-encoding and resizing stay below 3
TWIN_PEAK = 48.0  # largest difference of two 2 x 2 patches: a local change (a scratch, a digit) makes no twin
PYRAMID = (1, 4, 16)  # patches a side at which thumbnails are compared, cheapest first
BLOCK, CHUNK = 256, 4096
FORMATS = ("JPEG", "PNG", "WEBP")
SHOWN = 112  # longer side of a picture in a report, pixels

_SIZES = (96, 128, 160, 224)
_SECONDS_AT_224 = 0.015  # EfficientNet-Lite0, one thread; other sizes by their area

Bytes = NDArray[np.uint8]


def look(data: bytes, limits: Limits) -> Look:
    """The (S, S, 3) thumbnail and the side of a picture. Raises as ``core.modality.image.decode``."""
    thumbnail = decode(data, (SIDE, SIDE), limits)
    return Look(hashlib.sha256(data).hexdigest(), thumbnail, _side(data))


def near(looks: Sequence[Look]) -> list[tuple[int, int]]:
    """Pairs i < j of near twins."""
    return twin_pairs(np.stack([held.trace for held in looks])) if looks else []


def remarks(contents: Sequence[bytes], labels: Sequence[str]) -> list[Finding]:
    """None: a picture is judged by itself."""
    del contents, labels
    return []


def setting(contents: Sequence[bytes], others: Sequence[bytes], side: float, seconds: float) -> Setting:
    """The size at which backbones should see the pictures."""
    del contents, others
    return Setting(size=input_size(side, seconds))


def tile(data: bytes) -> str:
    """An image element, a thumbnail in the proportions that the header states."""
    decode(data, (8, 8), Limits())  # refuses what may not be opened
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        width, height = image.size
    scale = SHOWN / max(width, height)
    pixels = decode(data, (max(1, round(height * scale)), max(1, round(width * scale))), Limits())
    packed = io.BytesIO()
    Image.fromarray(pixels).save(packed, "JPEG", quality=82)
    return f'<img alt="" src="data:image/jpeg;base64,{base64.b64encode(packed.getvalue()).decode()}">'


def input_size(median_side: float, seconds_each: float = math.inf) -> int:
    """Side in pixels at which backbones should see pictures whose median side is ``median_side``.

    The smallest of 96, 128, 160 and 224 that loses nothing (224 for all that is larger), or the largest below it for
    which ``seconds_each`` a picture suffice; never below 96.

    >>> input_size(28), input_size(600), input_size(600, seconds_each=0.005)
    (96, 224, 128)
    """
    wanted = next((size for size in _SIZES if size >= median_side), _SIZES[-1])
    fitting = [s for s in _SIZES if s <= wanted and _SECONDS_AT_224 * (s / _SIZES[-1]) ** 2 <= seconds_each]
    return max(fitting, default=_SIZES[0])


def _side(data: bytes) -> int:
    """Geometric mean of the sides of a picture that was decoded before, from its header."""
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        return round(math.sqrt(image.width * image.height))


def difference_hash(thumbnails_NSS3: Bytes) -> NDArray[np.uint64]:
    """(N,) 64-bit hashes: is a cell of the 8 x 9 grey picture brighter than its neighbour? (dHash, Krawetz 2013)."""
    grey_NSS = thumbnails_NSS3.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    n, side = len(grey_NSS), grey_NSS.shape[1]
    rows_N8S = grey_NSS.reshape(n, 8, side // 8, side).mean(axis=2)
    edges = np.linspace(0, side, 10).round().astype(int)
    cells = np.stack([rows_N8S[:, :, a:b].mean(axis=2) for a, b in pairwise(edges)], axis=2)
    bits_N64 = (cells[:, :, 1:] > cells[:, :, :-1]).reshape(n, 64)
    return np.packbits(bits_N64, axis=1).view(np.uint64)[:, 0]


def twin_pairs(thumbnails_NSS3: Bytes) -> list[tuple[int, int]]:
    """Pairs i < j of near twins. About 3 s for 20,000 pictures on one core; memory grows with the block alone."""
    if len(thumbnails_NSS3) < 2:
        return []
    hashes_N = difference_hash(thumbnails_NSS3)
    levels = [_reduced(thumbnails_NSS3, cells) for cells in PYRAMID]
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(hashes_N), BLOCK):
        distance = np.bitwise_count(hashes_N[start : start + BLOCK, None] ^ hashes_N[None, start:])
        near, other = np.nonzero(distance <= HASH_BITS)
        later = other > near
        left_P, right_P = near[later] + start, other[later] + start
        for level in levels:
            close = _closer(level, left_P, right_P)
            left_P, right_P = left_P[close], right_P[close]
        pairs += zip(left_P.tolist(), right_P.tolist(), strict=True)
    return pairs


def _reduced(thumbnails_NSS3: Bytes, cells: int) -> NDArray[np.float32]:
    """(N, cells * cells * 3) means of square patches."""
    n, patch = len(thumbnails_NSS3), SIDE // cells
    patches = thumbnails_NSS3.reshape(n, cells, patch, cells, patch, 3)
    means: NDArray[np.float32] = patches.mean(axis=(2, 4), dtype=np.float32)
    return means.reshape(n, -1)


def _closer(level: NDArray[np.float32], left_P: NDArray[np.intp], right_P: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Which of the pairs agree at this level.

    Means of patches differ by no more than the patches themselves: the coarse levels, which are cheap, lose no twin.
    """
    close_P = np.empty(len(left_P), np.bool_)
    for start in range(0, len(left_P), CHUNK):
        part = slice(start, start + CHUNK)
        change = np.abs(level[left_P[part]] - level[right_P[part]])
        close_P[part] = (change.mean(axis=1) <= TWIN_MEAN) & (change.max(axis=1) <= TWIN_PEAK)
    return close_P
