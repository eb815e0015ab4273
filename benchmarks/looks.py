"""One task in three looks: photographs, clip art and emoji of four coarse kinds of thing, as folders of class folders.

Three times the pictures that the classes of ``benchmarks/scenes.py`` have in common, out of the same packages: a gate
needs hundreds of rows, and a stream the five hundred labels after which a scene is retrained by itself. Promises the
same files at every call, made once, without copies and near twins among the drawings. Knows nothing of models.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks import scenes
from benchmarks.debian import BENCH, once
from benchmarks.scenes import Classes

PHOTO: Classes = {
    "animals": ("animals",),
    "plants": ("plants", "food"),
    "traffic": ("vehicles", "military/vehicles", "town/roadsigns"),
    "things": ("household", "clothes", "hobbies"),
}
CLIP_ART: Classes = {
    "animals": ("animals",),
    "plants": ("plants", "food/fruit", "food/vegetables"),
    "traffic": ("transportation/vehicles", "transportation/boating", "transportation/roadsigns"),
    "things": ("tools", "people/clothing", "recreation/music"),
}
EMOJI: Classes = {
    "animals": (
        *("animal-amphibian", "animal-bird", "animal-bug", "animal-mammal"),
        *("animal-marine", "animal-reptile"),
    ),
    "plants": ("plant-flower", "plant-other", "food-fruit", "food-vegetable"),
    "traffic": ("transport-air", "transport-ground", "transport-sign", "transport-water", "warning"),
    "things": ("clothing", "household", "music", "musical-instrument", "tool"),
}


def photo(bench: Path = BENCH) -> Path:
    """Cut-out photographs of Debian's ``tuxpaint-stamps-default``."""
    return once(bench / "scenes" / "look_photo", lambda out: scenes.stamps_of(PHOTO, bench, out))


def clip_art(bench: Path = BENCH) -> Path:
    """Drawings of Debian's ``openclipart-png``."""
    return once(bench / "scenes" / "look_clip_art", lambda out: scenes.drawings_of(CLIP_ART, bench, out))


def emoji(bench: Path = BENCH) -> Path:
    """npm's ``emoji-datasource-google``, 64 px."""
    return once(bench / "scenes" / "look_emoji", lambda out: scenes.emoji_of(EMOJI, out))
