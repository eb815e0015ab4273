"""One task in three looks: photographs, clip art and emoji of four coarse kinds of thing, as folders of class folders.

Five times the pictures that the classes of ``benchmarks/scenes.py`` have in common, most out of the same packages: a
gate needs hundreds of rows, and a stream the five hundred labels after which a scene is retrained by itself, several
times. Promises the same files at every call, made once, without copies and near twins among the drawings of one source;
emoji of several makers are called by what they show, so that none has to be known before it is asked. Knows nothing of
models.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from benchmarks import scenes
from benchmarks.debian import BENCH, once
from benchmarks.scenes import EMOJI_PACKAGE, Classes, packed

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


# npm package of a maker's drawings, and the folder that has them: Apache-2.0, CC BY 4.0 and CC BY 4.0.
MAKERS = {
    "google": (EMOJI_PACKAGE, "img/google/64"),
    "twitter": ("emoji-datasource-twitter@16.0.0", "img/twitter/64"),
    "emojione": ("emojione@2.2.7", "assets/png"),
}


def photo(bench: Path = BENCH) -> Path:
    """Cut-out photographs of Debian's ``tuxpaint-stamps-default``."""
    return once(bench / "scenes" / "look_photo", lambda out: scenes.stamps_of(PHOTO, bench, out))


def clip_art(bench: Path = BENCH) -> Path:
    """Drawings of Debian's ``openclipart-png``."""
    return once(bench / "scenes" / "look_clip_art", lambda out: scenes.drawings_of(CLIP_ART, bench, out))


def emoji(bench: Path = BENCH) -> Path:
    """What three makers have drawn of the same things, 64 px; 1,118 pictures of 416 things."""
    return once(bench / "scenes" / "look_emoji_of_makers", _drawn)


def shown(file: str) -> str:
    """What a picture shows, by its name: makers draw the same emoji, which teach or test together.

    >>> shown("scenes/emoji/animals/google_1f415.png") == shown("scenes/emoji/animals/twitter_1f415.png")
    True
    """
    return Path(file).stem.rpartition("_")[2] if Path(file).stem.startswith(tuple(MAKERS)) else file


def _drawn(out: Path) -> None:
    with tempfile.TemporaryDirectory() as place:
        for maker, (package, folder) in MAKERS.items():
            root = packed(package, Path(place) / maker)
            if maker == "google":
                listed = json.loads((root / "emoji.json").read_text(encoding="utf-8"))
            for label, wanted in EMOJI.items():
                (out / label).mkdir(exist_ok=True)
                for code in (Path(each["image"]).stem for each in listed if each["subcategory"] in wanted):
                    names = (f"{code}.png", f"{code.replace('-fe0f', '')}.png")
                    found = next((root / folder / name for name in names if (root / folder / name).exists()), None)
                    if found is not None:
                        shutil.copyfile(found, out / label / f"{maker}_{code}.png")
