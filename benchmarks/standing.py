"""Homes with many standing labels of a real scene: adapted on digits, filled through the ledger.

Promises that all features come from the champion's own extractor: those of MNIST digits as they are; beyond those,
the same rows with a little noise on the grid, each an example of its own. Everything lies under ``.bench/``; the
export and the features are made once. Knows nothing of processes.

Legend: N examples, D features.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from benchmarks.debian import BENCH
from core.config import Settings
from core.database import revisions
from core.events import TRAINING, Feedback
from core.evidence import Evidence
from core.home import Home, open_home
from core.session import Session
from core.types import Example, GridRows
from lepton.demonstration import digits_data
from training.features import extract

SCENE = "digits"
BACKBONE = "efficientnet_lite0"
PLACE = BENCH / "standing"
EACH = 60  # MNIST digits a class that the scene is adapted on
NOISE = 64.0  # standard deviation of the noise in steps of the grid; features are about 900 steps


@dataclass(frozen=True)
class Picture:
    """A labelled digit, as a PNG file."""

    label: str
    data: bytes = field(repr=False)


def prepare(size: int = 96) -> Path:
    """A home whose scene ``digits`` was adapted on ``EACH`` MNIST digits a class, by the command line."""
    home = (PLACE / f"base-{size}").absolute()
    _clear(home, keep="cache")
    data = _few(home / "data")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LEPTON_")}
    command = [sys.executable, "-m", "lepton.main", "adapt", SCENE, str(data), "--backbone", BACKBONE]
    subprocess.run(
        [*command, "--recipe", "closed_form", "--size", str(size), "--json"],
        env=kept | {"LEPTON_HOME": str(home)},
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return home


def filled(base: Path, examples: int) -> Path:
    """A copy of ``base`` in which ``examples`` labels stand."""
    place = base.with_name(f"{base.name}-{examples}")
    _clear(place)
    shutil.copytree(base, place, dirs_exist_ok=True, ignore=shutil.ignore_patterns("cache", "data"))
    home = open_home(Settings(home=place))
    alias = home.registry.champion(SCENE)
    assert alias is not None, "adapting makes a champion"
    version = home.registry.version(SCENE, alias.version)
    follower = home.follower(home.registry.scene(SCENE), version)
    follower.catch_up()
    missing = examples - len(follower.state.rows)
    assert missing >= 0, f"{len(follower.state.rows)} labels stand after adapting, more than {examples}"
    rows_ND, labels = _rows(home, version.version, str(version.manifest["extractor"]), missing, base / "cache")
    names = [hashlib.sha256(f"standing {n}".encode()).hexdigest() for n in range(missing)]
    extractor = str(version.manifest["extractor"])
    home.evidence.keep([Evidence(example=e, features={extractor: row}) for e, row in zip(names, rows_ND, strict=True)])
    home.ledger.teach(
        SCENE,
        [
            Feedback(scene=SCENE, example=e, label=label, source=TRAINING)
            for e, label in zip(names, labels, strict=True)
        ],
    )
    follower.catch_up()
    assert len(follower.state.rows) == examples, "every label of the filling stands"
    home.close()
    return place


def pictures(seed: int) -> list[Picture]:
    """The digits of the other scene, every picture once, in an order of their own."""
    files = sorted(digits_data.small_digits(PLACE / "digits").glob("*/*.png"))
    found = {file.read_bytes(): file.parent.name for file in files}
    listed = [Picture(label, data) for data, label in found.items()]
    return [listed[n] for n in np.random.default_rng(seed).permutation(len(listed))]


def published_at(place: Path) -> Callable[[int], float]:
    """Gives the moment (seconds since the epoch) at which the first revision with a sequence was published."""
    home = open_home(Settings(home=place))
    with home.registry.database.read() as connection:
        asked = sa.select(revisions.c.sequence, revisions.c.created_at).order_by(revisions.c.sequence)
        told = connection.execute(asked).all()
    home.close()
    sequences = np.array([row.sequence for row in told])
    return lambda sequence: float(told[int(np.searchsorted(sequences, sequence))].created_at)


def _rows(home: Home, version: str, extractor: str, count: int, cache: Path) -> tuple[GridRows, list[str]]:
    """(N, D) features and labels: MNIST first, then the same again with noise."""
    folders = sorted(digits_data.mnist(PLACE / "mnist").iterdir())
    files = [file for folder in folders for file in sorted(folder.glob("*.png"))[EACH:]]
    examples = [_example(files[n]) for n in np.random.default_rng(2).permutation(len(files))]
    needed = examples[: min(count, len(examples))]
    bundle = home.bundle(version)
    session = Session(bundle.model, threads=2)
    real_ND = extract(session, home.preprocessor(bundle, session), extractor, needed, cache)
    places_N = np.arange(count) % len(needed)
    noise_ND = np.random.default_rng(3).normal(0.0, NOISE, (count, real_ND.shape[1]))
    noise_ND[: len(needed)] = 0.0
    rows_ND = np.clip(real_ND[places_N] + noise_ND.round(), -32767, 32767).astype(np.int16)
    return rows_ND, [needed[n].label or "" for n in places_N]


def _example(file: Path) -> Example:
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return Example(digest=digest, path=str(file), split="train", label=file.parent.name)


def _few(out: Path) -> Path:
    for folder in sorted(digits_data.mnist(PLACE / "mnist").iterdir()):
        (out / folder.name).mkdir(parents=True)
        for file in sorted(folder.glob("*.png"))[:EACH]:
            shutil.copy(file, out / folder.name)
    return out


def _clear(folder: Path, keep: str = "") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for child in folder.iterdir():
        if child.name == keep:
            continue
        if child.is_dir():
            shutil.rmtree(child)
        else:
            child.unlink()
