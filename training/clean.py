"""What is wrong in a set of pictures: damaged files, copies, near twins, labels that look wrong.

Promises answers that depend on contents alone, never on file names or their order, and memory of about 4 kB a picture.
Knows nothing of splits, scenes or reports on paper. Near twins are found by a 64-bit difference hash and confirmed on
thumbnails, so that a flat hash (plain or tiny pictures) convicts nobody.

Legend: N pictures, K classes, S side of a thumbnail.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
import stat
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from core.errors import InvalidInput, LeptonError, TooLarge, UnsupportedMedia
from core.modality.image import decode
from core.preprocess import Limits
from training.listing import Row
from training.report import Finding

SIDE = 32  # pixels of the thumbnails that stand for a picture
HASH_BITS = 6  # of 64: difference hashes further apart are never twins
TWIN_MEAN = 4.0  # mean difference of two thumbnails, in steps of 255; re-encoding and resizing stay below 3
TWIN_PEAK = 48.0  # largest difference of two 2 x 2 patches: a local change (a scratch, a digit) makes no twin
PYRAMID = (1, 4, 16)  # patches a side at which thumbnails are compared, cheapest first
ALIKE_SHARE, ALIKE_MIN = 0.2, 8  # clusters beyond a fifth of their class say that the class looks alike, not copied
BLOCK, CHUNK = 256, 4096
FORMATS = ("JPEG", "PNG", "WEBP")

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Picture:
    """A readable picture: its row, SHA-256, (S, S, 3) thumbnail and the geometric mean of its sides in pixels."""

    row: Row
    digest: str
    thumbnail: Bytes
    side: int


@dataclass(frozen=True, kw_only=True)
class LabelError:
    """A label that the model doubts: ``index`` of the example, columns ``given`` and ``suggested``, P(given)."""

    index: int
    given: int
    suggested: int
    probability: float


def read_all(
    rows: Sequence[Row], limits: Limits, progress: Callable[[int, int], None] | None = None
) -> tuple[list[Picture], list[Finding]]:
    """Every row either as a picture or as the finding that says why not, in the order of the rows."""
    pictures: list[Picture] = []
    findings: list[Finding] = []
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for done, result in enumerate(pool.map(lambda row: read_one(row, limits), rows), start=1):
            if isinstance(result, Picture):
                pictures.append(result)
            else:
                findings.append(result)
            if progress:
                progress(done, len(rows))
    return pictures, findings


def read_one(row: Row, limits: Limits) -> Picture | Finding:
    """The picture of ``row``, or why it cannot be read."""
    try:
        kind, detail = _unfit(row.path.stat(), limits)
        if not kind:
            data = row.path.read_bytes()
            thumbnail = decode(data, (SIDE, SIDE), limits)
            return Picture(row, hashlib.sha256(data).hexdigest(), thumbnail, _side(data))
    except FileNotFoundError:
        kind, detail = "missing", "no such file"
    except OSError as error:
        kind, detail = "unreadable", f"cannot be opened: {error.strerror}"
    except LeptonError as error:
        kind, detail = _kind(error), error.message
    return Finding(kind=kind, path=row.name, dropped=True, detail=detail, label=row.label)


def _unfit(status: os.stat_result, limits: Limits) -> tuple[str, str]:
    """Why a file is not even opened; empty strings where it may be."""
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        return "not_a_file", "is a folder, a pipe or a device"
    if status.st_size == 0:
        return "empty", "has no bytes"
    if status.st_size > limits.max_bytes:
        return "too_large", f"has {status.st_size} bytes; at most {limits.max_bytes} are accepted"
    return "", ""


def _side(data: bytes) -> int:
    """Geometric mean of the sides of a picture that was decoded before, from its header."""
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        return round(math.sqrt(image.width * image.height))


def _kind(error: LeptonError) -> str:
    kinds: dict[type[LeptonError], str] = {UnsupportedMedia: "not_a_picture", TooLarge: "too_large"}
    return kinds.get(type(error), "corrupt")


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


def clusters(pairs: Sequence[tuple[int, int]]) -> list[list[int]]:
    """Near twins as groups around a first member, so that likeness does not chain from picture to picture.

    >>> clusters([(0, 1), (1, 2), (3, 4)])
    [[0, 1], [3, 4]]
    """
    near: dict[int, list[int]] = {}
    for i, j in sorted(pairs):
        near.setdefault(i, []).append(j)
    taken: set[int] = set()
    groups: list[list[int]] = []
    for first, others in near.items():
        free = [other for other in others if other not in taken]
        if first not in taken and free:
            groups.append([first, *free])
            taken.update(groups[-1])
    return groups


def looks_alike(group: Sequence[int], labels: Sequence[str]) -> bool:
    """Whether a cluster is so large a share of its class that its pictures are a look (one camera), not copies."""
    sizes = Counter(labels)
    largest = max(sizes[labels[i]] for i in group)
    return len(group) > max(ALIKE_MIN, ALIKE_SHARE * largest)


def label_errors(probabilities_NK: NDArray[np.floating], labels_N: Sequence[int]) -> tuple[LabelError, ...]:
    """Labels that look wrong, worst first: confident learning (Northcutt, Jiang, Chuang 2021) by cleanlab.

    Args:
        probabilities_NK: of models that did not see the row they judge (leave-one-out or cross-validated).
        labels_N: column of the given label of each row.

    Raises:
        InvalidInput: shapes that do not fit, or probabilities that are not finite.
    """
    given_N = np.asarray(labels_N, np.int64)
    proper = probabilities_NK.ndim == 2 and len(probabilities_NK) == len(given_N) and len(given_N) > 0
    if not proper or not np.isfinite(probabilities_NK).all() or given_N.max() >= probabilities_NK.shape[1]:
        message = f"probabilities of shape {probabilities_NK.shape} do not fit {len(given_N)} labels, or are not finite"
        raise InvalidInput(message, "give one row of finite probabilities for each label")
    present = np.unique(given_N)  # cleanlab wants every column to occur
    probabilities = probabilities_NK[:, present].astype(np.float64)
    probabilities /= np.maximum(probabilities.sum(axis=1, keepdims=True), 1e-12)
    if len(present) < 2:
        return ()
    from cleanlab.filter import find_label_issues

    local = np.searchsorted(present, given_N)
    worst = find_label_issues(local, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1)
    suggested_N = present[probabilities.argmax(axis=1)]
    return tuple(
        LabelError(
            index=int(i),
            given=int(given_N[i]),
            suggested=int(suggested_N[i]),
            probability=float(probabilities[i, local[i]]),
        )
        for i in worst
        if suggested_N[i] != given_N[i]
    )
