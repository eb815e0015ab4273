"""A home in a temporary folder, filled by hand: scenes, examples with features, and versions without a model.

Legend: D features.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np

from core.config import DatabaseSettings, Settings
from core.database import TABLES
from core.events import Feedback
from core.evidence import Evidence
from core.follow import Follower
from core.home import Home, open_home
from core.types import GridRows, Head, Policy, Prediction, Scene, Task

SCENE = "ward"
EXTRACTOR = "extractor-1"
WIDTH = 6
LABELS = ("cat", "dog")


def home_at(folder: Path, url: str = "") -> Home:
    """The home under ``folder``, with the default settings but for the address of its database."""
    return open_home(Settings(home=folder, database=DatabaseSettings(url=url)))


@contextmanager
def copied(made: Path, folder: Path) -> Iterator[Home]:
    """A copy of a whole home in a folder of its own, open."""
    shutil.copytree(made, folder / "home")
    with closing(home_at(folder / "home")) as home:
        yield home


def declare(home: Home, *, task: Task = "classification", new_labels: Policy = "accept", name: str = SCENE) -> Scene:
    """A scene of cats and dogs, or of values within ±1."""
    labels = LABELS if task == "classification" else ()
    return home.registry.declare(
        Scene(name=name, task=task, modality="image", labels=labels, new_labels=new_labels, hash_key=b"key")
    )


def example_of(name: str) -> str:
    """The digest of an example whose input is ``name``."""
    return hashlib.sha256(name.encode()).hexdigest()


def features_of(name: str, salt: int = 0) -> GridRows:
    """(D,) features that only this name has."""
    seed = int.from_bytes(hashlib.sha256(f"{salt}/{name}".encode()).digest()[:8], "big")
    return np.random.default_rng(seed).integers(-12000, 12001, WIDTH).astype(np.int16)


def evidence_of(name: str, salt: int = 0, media: str = "") -> Evidence:
    """What a prediction of ``name`` brings to the ledger."""
    return Evidence(example=example_of(name), features={EXTRACTOR: features_of(name, salt)}, media=media)


def feedback_of(name: str, label: str, **more: object) -> Feedback:
    """``label`` said of ``name``."""
    return Feedback(**({"scene": SCENE, "example": example_of(name), "label": label} | more))  # type: ignore[arg-type]


def prediction_of(name: str, prediction_id: str, *, at: float = 0.0, instance: bytes | None = None) -> Prediction:
    """A logged prediction of ``name``."""
    return Prediction(
        prediction_id=prediction_id,
        scene=SCENE,
        version="v" * 64,
        extractor=EXTRACTOR,
        revision=1,
        example=example_of(name),
        features=features_of(name),
        label="cat",
        value=None,
        confidence=0.75,
        margin=0.5,
        created_at=at,
        media="image/png" if instance else "",
        instance=instance,
    )


def follower_of(home: Home, scene: Scene) -> Follower:
    """A follower from the start of the ledger."""
    return Follower(
        home.ledger,
        home.evidence,
        scene,
        extractor=EXTRACTOR,
        width=WIDTH,
        weight_of=home.settings.labels.weight,
    )


def head_of(number: float, sequence: int = 0) -> Head:
    """A head full of one number."""
    weight, bias = np.full((WIDTH, 2), number, np.float32), np.full(2, number, np.float32)
    return Head(weight=weight, bias=bias, labels=LABELS, sequence=sequence)


def manifest_of(sequence: int = 0, *, tuned: bool = False) -> dict[str, object]:
    """As much of a manifest as the registry and the erasure look at."""
    return {
        "extractor": EXTRACTOR,
        "features": WIDTH,
        "members": [{"tuned": tuned}],
        "lineage": {"sequence": sequence},
    }


def told(head: Head | None) -> tuple[object, ...] | None:
    """Everything that a head is, comparable to the bit."""
    if head is None:
        return None
    numbers = (head.weight.tobytes(), head.bias.tobytes(), head.lam, head.temperature)
    return (*numbers, head.labels, head.sample_digest, head.examples, head.fallback)


def sums(state: Follower) -> tuple[object, ...]:
    """The statistics of a follower, comparable to the bit."""
    statistics = state.state.statistics
    arrays = {name: array.tobytes() for name, array in statistics.arrays().items()}
    return arrays, tuple(sorted(statistics.cross)), statistics.units


def bytes_of(home: Home) -> bytes:
    """All that is kept: every file, with its name, and every row."""
    files = sorted(home.settings.home.rglob("*"))
    held = [str(file).encode() + (file.read_bytes() if file.is_file() else b"") for file in files]
    for database in (home.ledger.database, home.predictions.database):
        with database.read() as connection:
            for table in TABLES[database.kind].sorted_tables:
                for row in connection.execute(table.select()):
                    held += [value if isinstance(value, bytes) else str(value).encode() for value in row]
    return b"\n".join(held)
