"""Real labelled pictures that packages ship, as folders of class folders under ``.bench/``; nothing is committed.

Promises the same files at every call, made once: a scene appears complete or not at all. Needs ``apt-get`` and
``dpkg``. Knows nothing of models.

* photo: cut-out photographs, Debian ``tuxpaint-stamps-default`` (GPL-2), nine classes of 20 and more.
* clip art: drawings, Debian ``openclipart-png`` (public domain), eleven classes; copies, contradictions,
  near twins and files beyond our limits are taken out. Five classes occur in both.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from core.errors import BadConfiguration
from core.preprocess import Limits
from lepton import samples
from training.clean import clusters, read_all, twin_pairs
from training.copies import one_of_each
from training.listing import read

BENCH = Path(".bench")
SMALLEST = 20  # pictures a class

# class → folders below the package's root, read with all their subfolders
PHOTO: dict[str, tuple[str, ...]] = {
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
CLIP_ART: dict[str, tuple[str, ...]] = {
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


def photo(bench: Path = BENCH) -> Path:
    """The photo scene, without mirrored and flipped copies, cartoons and what was drawn as SVG."""
    root = bench / "debian" / "tuxpaint-stamps-default"
    return _once(bench / "scenes" / "photo", lambda out: _collect(root, "tuxpaint/stamps", PHOTO, _photograph, out))


def clip_art(bench: Path = BENCH) -> Path:
    """The clip-art scene, one picture of every set of copies and near twins."""

    def make(out: Path) -> None:
        _collect(bench / "debian" / "openclipart-png", "openclipart/png", CLIP_ART, lambda file: True, out)
        _drop_copies(out)

    return _once(bench / "scenes" / "clip_art", make)


def mnist(out: Path, exclude: Collection[str] = ()) -> Path:
    """MNIST's 5,000 digits in ``out``, without the classes in ``exclude``."""
    return _once(out, lambda folder: samples.mnist(folder, exclude))


def digits(out: Path) -> Path:
    """scikit-learn's 1,797 digits in ``out``."""
    return _once(out, samples.small_digits)


def _once(out: Path, make: Callable[[Path], object]) -> Path:
    """``out``, filled by ``make`` if it is not there: built beside it, then renamed."""
    if out.is_dir():
        return out
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".new-") as folder:
        made = Path(folder) / "scene"
        made.mkdir()
        make(made)
        made.rename(out)
    return out


def _collect(
    package: Path, folder: str, classes: dict[str, tuple[str, ...]], wanted: Callable[[Path], bool], out: Path
) -> None:
    """Copy the wanted pictures of a Debian package into class folders."""
    root = _once(package, lambda into: _unpack(package.name, into)) / "usr" / "share" / folder
    for label, sources in classes.items():
        (out / label).mkdir()
        files = [file for source in sources for file in sorted((root / source).rglob("*.png")) if wanted(file)]
        if len(files) < SMALLEST:
            message = f"{package.name} holds {len(files)} pictures of {label}; expected at least {SMALLEST}"
            raise BadConfiguration(message, "this release of the package was laid out otherwise: adapt the folders")
        for file in files:
            shutil.copyfile(file, out / label / "-".join(file.relative_to(root).parts))


def _photograph(file: Path) -> bool:
    drawn = file.with_suffix(".svg").exists() or "cartoon" in str(file)
    return not drawn and "_mirror" not in file.stem and "_flip" not in file.stem


def _drop_copies(folder: Path) -> None:
    rows = read(folder).rows
    pictures, _ = read_all(rows, Limits())
    kept, _ = one_of_each(pictures, "classification")
    groups = clusters(twin_pairs(np.stack([picture.thumbnail for picture in kept])))
    spare = {i for group in groups for i in group[1:]}
    names = {picture.row.path for i, picture in enumerate(kept) if i not in spare}
    for row in rows:
        if row.path not in names:
            row.path.unlink()


def _unpack(package: str, into: Path) -> None:
    """Download a Debian package and unpack it into ``into``; nothing is installed."""
    if not shutil.which("apt-get") or not shutil.which("dpkg"):
        raise BadConfiguration(f"{package} needs apt-get and dpkg", "run this benchmark on Debian or Ubuntu")
    with tempfile.TemporaryDirectory() as place, _report(f"{package} cannot be downloaded"):
        if _run("apt-get", "download", package, folder=place).returncode:
            _run("apt-get", "update", folder=place)
            _run("apt-get", "download", package, folder=place).check_returncode()
        (archive,) = Path(place).glob("*.deb")
        _run("dpkg", "-x", str(archive), str(into.absolute()), folder=place).check_returncode()


@contextmanager
def _report(message: str) -> Iterator[None]:
    try:
        yield
    except subprocess.CalledProcessError as error:
        said = (error.stderr or "").strip().splitlines()[-1:]
        raise BadConfiguration(f"{message}: {' '.join(said)}", "check apt's sources, run apt-get update") from error


def _run(*command: str, folder: str) -> subprocess.CompletedProcess[str]:
    plain = {**os.environ, "LC_ALL": "C"}
    return subprocess.run(command, cwd=folder, env=plain, capture_output=True, text=True, check=False)
