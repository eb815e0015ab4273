"""Small pictures that tests draw themselves: each number gives its own picture, unlike all others."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image


def png(number: int, side: int = 24) -> bytes:
    """The PNG bytes of picture ``number``: coloured blocks."""
    blocks = np.random.default_rng(number).integers(0, 256, (6, 6, 3), np.uint8)
    return _packed(Image.fromarray(blocks).resize((side, side), Image.Resampling.NEAREST), "PNG")


def twin(number: int, quality: int = 80) -> bytes:
    """Picture ``number`` again, scaled and as JPEG: other bytes, the same to the eye."""
    image = Image.open(io.BytesIO(png(number, side=48)))
    return _packed(image, "JPEG", quality=quality, subsampling=0)


def put(folder: Path, name: str, data: bytes) -> Path:
    """Write ``data`` to ``folder / name``, making what folders it needs."""
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return file


def class_folders(folder: Path, classes: dict[str, int]) -> Path:
    """A folder of class folders with so many different pictures each."""
    number = 0
    for label, count in classes.items():
        for i in range(count):
            put(folder, f"{label}/{i:03}.png", png(number))
            number += 1
    return folder


def _packed(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()
