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

from core.errors import InvalidInput
from core.preprocess import Limits
from core.types import Example, GridRows, Scene
from exporters.backbone import Backbone
from exporters.parity import ROWS
from training import features, zoo
from training.assemble import alone
from training.data import Dataset

SCENE = Scene(name="names", task="classification", modality="text")
_CELLS, _SIDE = 16, 64  # of a pattern, from 2 up; pixels


def rows(reader: Backbone, texts: Sequence[Example], cache: Path, limits: Limits) -> tuple[list[Example], GridRows]:
    """Texts that stand for labels, as names: examples without an input, under digests of their own, and their rows."""
    assembly = alone(reader, SCENE, cache, texts, limits)
    rows_ND = features.extract(assembly.session, assembly.preprocessor, assembly.extractor, texts, cache)
    return [replace(text, digest=_own(text), content=None) for text in texts], rows_ND


def of_pictures(backbones: Sequence[str], modality: str | None) -> bool:
    """Whether names are those of pictures: where the one backbone that is named sees and reads, or as is asked.

    Raises:
        InvalidInput: names of pictures are asked for, and no backbone that does both is named.
    """
    if modality == "text":
        return False
    if modality == "image":
        if len(backbones) != 1:
            remedy = "name one that sees and reads (transformers_clip:FOLDER)"
            raise InvalidInput("names of pictures need one backbone", remedy)
        zoo.reader(backbones[0])
    return len(backbones) == 1 and zoo.reads(backbones[0])


def named(dataset: Dataset, backbone: str, cache: Path, limits: Limits) -> tuple[Dataset, dict[str, GridRows]]:
    """Texts that were read as names of labels become names of pictures, with a row each."""
    examples, rows_ND = rows(zoo.reader(backbone), dataset.examples, cache, limits)
    titles = {new.digest: dataset.names[old.digest] for new, old in zip(examples, dataset.examples, strict=True)}
    told = {example.digest: row for example, row in zip(examples, rows_ND, strict=True)}
    return replace(dataset, examples=tuple(examples), names=titles), told


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
