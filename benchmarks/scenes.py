"""Real labelled pictures that packages ship, as folders of class folders under ``.bench/``; nothing is committed.

Promises the same files at every call, made once: a scene appears complete or not at all. Needs ``apt-get`` and
``dpkg``, and ``npm`` for the emoji. Knows nothing of models.

* photo: cut-out photographs, Debian ``tuxpaint-stamps-default`` (GPL-2), nine classes of 20 and more.
* clip art: drawings, Debian ``openclipart-png`` (public domain), eleven classes; copies, contradictions,
  near twins and files beyond our limits are taken out. Five classes occur in both.
* animals: both as three classes.
* emoji: npm's ``emoji-datasource-google`` (Apache-2.0), 64 px, the five classes that the other two share.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path

from benchmarks.debian import BENCH, once, unpack
from core.errors import BadConfiguration
from core.preprocess import Limits
from lepton.demonstration import digits_data
from training.clean import clusters, read_all
from training.copies import one_of_each
from training.kinds import kind
from training.listing import read

SMALLEST = 20  # pictures a class
EMOJI_PACKAGE = "emoji-datasource-google@16.0.0"

Classes = dict[str, tuple[str, ...]]

# class → folders below the package's root, read with all their subfolders
PHOTO: Classes = {
    "birds": ("animals/birds",),
    "mammals": ("animals/mammals",),
    "flowers": ("plants/flowers",),
    "fruit": ("food/fruit",),
    "vegetables": ("food/vegetables", "food/nuts", "food/spices"),
    "household": ("household",),
    "road signs": ("town/roadsigns",),
    "money": ("symbols/money",),
    "vehicles": ("vehicles", "military/vehicles"),
}
CLIP_ART: Classes = {
    "birds": ("animals/birds",),
    "mammals": ("animals/mammals",),
    "fish": ("animals/fish",),
    "bugs": ("animals/bugs",),
    "flowers": ("plants/flowers",),
    "fruit": ("food/fruit",),
    "desserts": ("food/desserts",),
    "buildings": ("buildings",),
    "tools": ("tools",),
    "vehicles": ("transportation/vehicles",),
    "boats": ("transportation/boating",),
}
EMOJI: Classes = {
    "birds": ("animal-bird",),
    "mammals": ("animal-mammal",),
    "flowers": ("plant-flower",),
    "fruit": ("food-fruit",),
    "vehicles": ("transport-ground", "transport-water", "transport-air"),
}


def photo(bench: Path = BENCH) -> Path:
    """The photo scene, without mirrored and flipped copies, cartoons and what was drawn as SVG."""
    return once(bench / "scenes" / "photo", lambda out: stamps_of(PHOTO, bench, out))


def stamps_of(classes: Classes, bench: Path, out: Path) -> None:
    """Photographs of such classes in ``out``."""
    root = bench / "debian" / "tuxpaint-stamps-default"
    _collect(root, "tuxpaint/stamps", classes, _photograph, out)


def stamps(bench: Path = BENCH) -> dict[str, list[Path]]:
    """The photo scene where it lies in its package, each picture beside its caption (``.txt``)."""
    root = bench / "debian" / "tuxpaint-stamps-default"
    return _listed(root, "tuxpaint/stamps", PHOTO, _photograph)


def clip_art(bench: Path = BENCH) -> Path:
    """The clip-art scene, one picture of every set of copies and near twins."""
    return once(bench / "scenes" / "clip_art", lambda out: drawings_of(CLIP_ART, bench, out))


def drawings_of(classes: Classes, bench: Path, out: Path) -> None:
    """Clip art of such classes in ``out``, one picture of every set of copies and near twins."""
    _collect(bench / "debian" / "openclipart-png", "openclipart/png", classes, lambda file: True, out)
    drop_copies(out)


def animals(bench: Path = BENCH) -> Path:
    """Both scenes as mammals, birds and everything else, one picture of every set of copies and near twins."""

    def make(out: Path) -> None:
        for scene in (photo(bench), clip_art(bench)):
            for file in sorted(scene.glob("*/*.png")):
                name = file.parent.name
                label = name.removesuffix("s") if name in {"mammals", "birds"} else "other"
                (out / label).mkdir(exist_ok=True)
                shutil.copyfile(file, out / label / f"{scene.name}-{name}-{file.name}")
        drop_copies(out)

    return once(bench / "scenes" / "animals", make)


def emoji(bench: Path = BENCH) -> Path:
    """The emoji scene: what subcategories of the Unicode standard hold, as one maker draws it."""
    return once(bench / "scenes" / "emoji", lambda out: emoji_of(EMOJI, out))


def emoji_of(classes: Classes, out: Path) -> None:
    """Emoji of such classes, named by their subcategories, in ``out``."""
    with tempfile.TemporaryDirectory() as place:
        command = ["npm", "pack", "--silent", EMOJI_PACKAGE]
        subprocess.run(command, cwd=place, check=True, stdout=subprocess.DEVNULL)
        with tarfile.open(next(Path(place).glob("*.tgz"))) as packed:
            packed.extractall(place, filter="data")
        root = Path(place) / "package"
        listed = json.loads((root / "emoji.json").read_text(encoding="utf-8"))
        for label, wanted in classes.items():
            (out / label).mkdir()
            for each in listed:
                if each["subcategory"] in wanted and each["has_img_google"]:
                    shutil.copyfile(root / "img" / "google" / "64" / each["image"], out / label / each["image"])


def mnist(out: Path, exclude: Collection[str] = ()) -> Path:
    """MNIST's 5,000 digits in ``out``, without the classes in ``exclude``."""
    return once(out, lambda folder: digits_data.mnist(folder, exclude))


def digits(out: Path) -> Path:
    """scikit-learn's 1,797 digits in ``out``."""
    return once(out, digits_data.small_digits)


def _collect(package: Path, folder: str, classes: Classes, wanted: Callable[[Path], bool], out: Path) -> None:
    """Copy the wanted pictures of a Debian package into class folders."""
    root = package / "usr" / "share" / folder
    for label, files in _listed(package, folder, classes, wanted).items():
        (out / label).mkdir()
        for file in files:
            shutil.copyfile(file, out / label / "-".join(file.relative_to(root).parts))


def _listed(package: Path, folder: str, classes: Classes, wanted: Callable[[Path], bool]) -> dict[str, list[Path]]:
    """The wanted pictures of a Debian package by class."""
    root = once(package, lambda into: unpack(package.name, into)) / "usr" / "share" / folder
    found: dict[str, list[Path]] = {}
    for label, sources in classes.items():
        found[label] = [file for source in sources for file in sorted((root / source).rglob("*.png")) if wanted(file)]
        if len(found[label]) < SMALLEST:
            message = f"{package.name} holds {len(found[label])} pictures of {label}; expected at least {SMALLEST}"
            raise BadConfiguration(message, "this release of the package was laid out otherwise: adapt the folders")
    return found


def _photograph(file: Path) -> bool:
    drawn = file.with_suffix(".svg").exists() or "cartoon" in str(file)
    return not drawn and "_mirror" not in file.stem and "_flip" not in file.stem


def drop_copies(folder: Path) -> None:
    rows, pictures = read(folder).rows, kind("image")
    readable, _ = read_all(rows, pictures, Limits())
    kept, _ = one_of_each(readable, ["classification"])
    groups = clusters(pictures.near([item.look for item in kept]))
    spare = {i for group in groups for i in group[1:]}
    names = {item.row.path for i, item in enumerate(kept) if i not in spare}
    for row in rows:
        if row.path is not None and row.path not in names:
            row.path.unlink()
