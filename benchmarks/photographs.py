"""JPEG files of 0.3 to 1 MB, as telephones make them: cut-out photographs of the photo scene, enlarged, with grain.

Promises the same files at every call, made once under ``.bench/``. Knows nothing of what is done with them.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks import scenes
from benchmarks.debian import BENCH

PLACE = BENCH / "serving" / "photographs"
COUNT = 24
PIXELS = 3_000_000
GRAIN = 5.0  # standard deviation of the noise, of 255; without it an enlarged picture is smaller than any photograph
LEAST, MOST = 300_000, 1_000_000  # bytes
QUALITIES = (92, 85, 78, 70, 60)


def photographs(place: Path = PLACE) -> list[bytes]:
    """The files."""
    if not place.is_dir():
        fresh = place.with_name(place.name + ".new")
        fresh.mkdir(parents=True, exist_ok=True)
        for number, file in enumerate(_sources()):
            (fresh / f"{number:02}.jpg").write_bytes(_photograph(file, number))
        fresh.rename(place)
    return [file.read_bytes() for file in sorted(place.glob("*.jpg"))]


def _sources() -> list[Path]:
    """The largest pictures of the scene: those that are enlarged least."""
    return sorted(scenes.photo().glob("*/*.png"), key=lambda file: (-file.stat().st_size, file.name))[:COUNT]


def _photograph(file: Path, seed: int) -> bytes:
    with Image.open(file) as opened:
        cut = opened.convert("RGBA")
    white = Image.alpha_composite(Image.new("RGBA", cut.size, "white"), cut).convert("RGB")
    scale = (PIXELS / (white.width * white.height)) ** 0.5
    large = white.resize((round(white.width * scale), round(white.height * scale)), Image.Resampling.BICUBIC)
    noise = np.random.default_rng(seed).normal(0.0, GRAIN, (large.height, large.width, 1))
    grainy = Image.fromarray((np.asarray(large) + noise).clip(0, 255).astype(np.uint8))
    for quality in QUALITIES:
        out = io.BytesIO()
        grainy.save(out, "JPEG", quality=quality)
        if out.tell() <= MOST:
            break
    assert LEAST <= out.tell() <= MOST, f"{file.name} became {out.tell()} bytes"
    return out.getvalue()
