"""Names of labels as the first rows of a scene of pictures, by a backbone that sees and reads.

The reading half takes a text to the place in the shared space near which pictures of the same meaning lie. There it
becomes a row of the head, a name (core.statistics): with nothing but names the head is the nearest name, as zero-shot
classification with CLIP is, and labels of pictures take over from it, row by row, exactly.

Promises rows that depend on the words and the weights alone, so that nothing of anybody is in them. A name has no
picture: under a later backbone it does not stand, until the names are given again. Knows nothing of files of labels.

Source: Radford et al., arXiv 2103.00020, section 3.1.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from core.preprocess import Limits
from core.types import Example, GridRows, Scene
from exporters.backbone import Backbone
from exporters.parity import ROWS
from training import features
from training.assemble import alone

SCENE = Scene(name="names", task="classification", modality="text")
_CELLS, _SIDE = 16, 64  # of a pattern, from 2 up; pixels


def rows(reader: Backbone, texts: Sequence[Example], cache: Path, limits: Limits) -> tuple[list[Example], GridRows]:
    """Texts that stand for labels, as names: examples without an input, under digests of their own, and their rows."""
    assembly = alone(reader, SCENE, cache, texts, limits)
    rows_ND = features.extract(assembly.session, assembly.preprocessor, assembly.extractor, texts, cache)
    return [replace(text, digest=_own(text), content=None) for text in texts], rows_ND


def patterns() -> list[Example]:
    """Seeded pictures of nothing, coarse and fine: where there are none yet, the graph is checked on them."""
    rng = np.random.default_rng(0)
    made = []
    for number in range(ROWS):
        cells = 2 + number % (_CELLS - 1)
        coarse = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), np.uint8))
        out = io.BytesIO()
        coarse.resize((_SIDE, _SIDE), Image.Resampling.BICUBIC).save(out, "PNG")
        data = out.getvalue()
        made.append(Example(digest=hashlib.sha256(data).hexdigest(), path="", split="train", content=data))
    return made


def _own(text: Example) -> str:
    """Not the digest of its bytes: the same words may be an input of a scene of texts."""
    return hashlib.sha256(b"the name of a picture\0" + text.digest.encode()).hexdigest()
