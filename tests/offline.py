"""Answers computed again, offline: from the bundle of the version and the arrays of the revision that each names.

Knows nothing of how the answers came to be.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from core.database import revisions
from core.home import Home
from core.modality import image
from core.session import Session
from core.types import Floats, Head
from tests import pico
from tests.load import Answer

TOLERANCE = 1e-4
WORDS = ("circle", "square", "triangle", "star")  # the star is a class that may appear under load


def draw(folder: Path) -> None:
    """Four pictures of every word."""
    folder.mkdir()
    for word in WORDS:
        for number in range(5000, 5004):
            (folder / f"{word}-{number}.png").write_bytes(pico.picture(word, number))


def heads(home: Home) -> dict[tuple[str, int], Head]:
    """Every published head, read from the table itself."""
    with home.ledger.database.read() as connection:
        rows = connection.execute(sa.select(revisions).order_by(revisions.c.number)).all()
    return {
        (row.version, row.number): Head(
            weight=np.frombuffer(row.weight, np.float32).reshape(pico.WIDTH, -1),
            bias=np.frombuffer(row.bias, np.float32),
            labels=tuple(row.labels),
            sequence=row.sequence,
        )
        for row in rows
    }


def check(home: Home, told: list[Answer], pictures: Path) -> dict[tuple[str, int], Floats]:
    """Every answer against the numbers of its version and revision, computed here; returns these, (pictures, K)."""
    published = heads(home)
    files = sorted(pictures.iterdir())
    place = {file.name: row for row, file in enumerate(files)}
    want = dict(_computed(home, published, files))
    for answer in told:
        body, (said,) = answer.body, answer.body["predictions"]
        key = (body["version"], body["revision"])
        head, wanted_K = published[key], want[key][place[answer.picture]]
        got_K = np.array([said["probabilities"].get(label, np.nan) for label in head.labels])
        assert set(said["probabilities"]) == set(head.labels), (key, said)
        assert body["sequence"] == head.sequence, (key, body)
        assert np.abs(got_K - wanted_K).max() <= TOLERANCE, (key, answer.picture, got_K, wanted_K)
        assert said["confidence"] == max(got_K)
        assert said["label"] == head.labels[int(got_K.argmax())]
    return want


def can_tell_versions_apart(want: dict[tuple[str, int], Floats]) -> None:
    """The tolerance is far below what one version differs from another: else nothing was shown."""
    seen = [
        float(np.abs(one - other).max())
        for (version, _), one in want.items()
        for (another, _), other in [*want.items()]
        if version != another and one.shape == other.shape
    ]
    assert np.median(seen) > 100 * TOLERANCE


def can_tell_revisions_apart(want: dict[tuple[str, int], Floats]) -> None:
    """The tolerance is far below what one revision differs from the next: else nothing was shown."""
    steps = [
        float(np.abs(want[a] - want[b]).max())
        for a, b in pairwise(sorted(want))
        if a[0] == b[0] and want[a].shape == want[b].shape
    ]
    assert np.median(steps) > 10 * TOLERANCE


def _computed(
    home: Home, heads: dict[tuple[str, int], Head], files: list[Path]
) -> Iterator[tuple[tuple[str, int], Floats]]:
    size = (pico.SIDE, pico.SIDE)
    pixels = np.stack([image.decode(file.read_bytes(), size, home.limits) for file in files])
    sessions = {version: Session(home.bundle(version).model) for version, _ in heads}
    for (version, number), head in heads.items():
        yield (version, number), sessions[version].predict({"image": pixels}, head).outputs
