"""Texts while data are prepared: copies once they are normalised, near copies by their shingles, a line in a report.

Promises near copies in time that grows with the number of texts, not with its square. Knows nothing of labels or
splits.

Reference: Broder, "On the resemblance and containment of documents" (1997).

Legend: N texts, S shingles of a text, H hashes of a sketch.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from core.look.html import shown
from core.modality.text import decode
from core.preprocess import Limits
from training.kinds import Look
from training.report import Finding
from training.zoo import Setting

NOUNS = ("text", "texts")
WANTED = "give texts in UTF-8 that are not empty, in a column text or as .txt files in the folders of their classes"
SUFFIXES = frozenset({".txt"})

SHINGLE = 5  # letters
NEAR = 0.9  # share of shingles that two near copies have in common
SHOWN = 300  # letters of a text in a report

_LOOKED_AT = 20_000  # letters that near copies are told by
_BANDS, _ROWS = 16, 4  # hashes of a sketch: texts alike by 0.9 share a band with probability above 0.9999
_FACTORS_H = np.random.default_rng(0).integers(1, 2**63, _BANDS * _ROWS, np.uint64) | np.uint64(1)


def look(data: bytes, limits: Limits) -> Look:
    """The digest of the normalised text, and its shingles. Raises as ``core.modality.text.decode``."""
    text = decode(data, limits)
    return Look(hashlib.sha256(text.encode()).hexdigest(), _shingles(text))


def near(looks: Sequence[Look]) -> list[tuple[int, int]]:
    """Pairs i < j of near copies; a large group of them comes as pairs with its first members."""
    sketches = [_sketch(held.trace) for held in looks]
    found: set[tuple[int, int]] = set()
    for band in range(_BANDS):
        firsts: dict[bytes, int] = {}
        for place, sketch_H in enumerate(sketches):
            key = sketch_H[band * _ROWS : (band + 1) * _ROWS].tobytes()
            first = firsts.setdefault(key, place)
            if first != place and (first, place) not in found and _alike(looks[first].trace, looks[place].trace):
                found.add((first, place))
    return sorted(found)


def remarks(contents: Sequence[bytes], labels: Sequence[str]) -> list[Finding]:
    """None: a text is judged by itself."""
    del contents, labels
    return []


def setting(contents: Sequence[bytes], others: Sequence[bytes], side: float, seconds: float) -> Setting:
    """Nothing: the tokenizer comes with the backbone."""
    del contents, others, side, seconds
    return Setting()


def tile(data: bytes) -> str:
    """The beginning of the text."""
    text = decode(data, Limits())
    return f"<q>{escape(shown(text[:SHOWN]))}{'…' if len(text) > SHOWN else ''}</q>"


def _shingles(text: str) -> NDArray[np.uint64]:
    """(S,) different checksums of runs of letters, sorted; case does not count."""
    letters = text[:_LOOKED_AT].casefold()
    count = max(1, len(letters) - SHINGLE + 1)
    return np.array(sorted({zlib.crc32(letters[i : i + SHINGLE].encode()) for i in range(count)}), np.uint64)


def _sketch(shingles_S: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """(H,) the least of the shingles under each of H orders."""
    mixed_HS = (shingles_S[None, :] + np.uint64(1)) * _FACTORS_H[:, None]
    least_H: NDArray[np.uint64] = ((mixed_HS ^ (mixed_HS >> np.uint64(29))) * _FACTORS_H[::-1, None]).min(axis=1)
    return least_H


def _alike(a_S: NDArray[np.uint64], b_S: NDArray[np.uint64]) -> bool:
    common = len(np.intersect1d(a_S, b_S, assume_unique=True))
    return common >= NEAR * (len(a_S) + len(b_S) - common)
