"""What is left of accuracy when inputs go wrong: every kind of ``training.corrupt``, in three severities.

Promises that the same examples are answered by the same head, whole and hurt, so that drops are paired; that an example
is hurt in the same way at every severity, only more so; and the same table for the same seed. Knows nothing of
registries. Features of hurt inputs are kept nowhere.

Legend: N examples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np

from core import plugins
from core.bundle import Metric
from core.errors import InvalidInput
from core.preprocess import Preprocessor
from core.session import Session
from core.types import Example, GridRows, Head, Scene
from training import comparison, measure
from training.comparison import Answers
from training.features import BATCH, content

CORRUPTIONS = "training.corrupt"
SEVERITIES = (1, 2, 3)


class Corruption(Protocol):
    """A file of ``training/corrupt``; see the docstring of that package."""

    KINDS: tuple[str, ...]

    def corrupt(self, data: bytes, kind: str, severity: int, random: np.random.Generator) -> bytes:
        """An input, gone wrong."""


@dataclass(frozen=True, kw_only=True)
class Hurt:
    """What is left under one kind of damage: the scene's first figure, and its change from whole inputs."""

    kind: str
    severity: int
    score: Metric
    change: Metric


def corruption(modality: str) -> Corruption:
    """How inputs of a modality go wrong.

    Raises:
        InvalidInput: nothing is defined for it.
    """
    known = plugins.names(CORRUPTIONS)
    if modality not in known:
        raise InvalidInput(
            f"no damage is defined for inputs of the kind {modality}",
            f"measure robustness on scenes of {', '.join(known)}",
        )
    return cast("Corruption", plugins.load(CORRUPTIONS, modality))


def hurt(data: bytes, digest: str, way: Corruption, kind: str, severity: int, seed: int) -> bytes:
    """An input gone wrong, by chances of its own that do not depend on the severity."""
    told = hashlib.sha256(f"{digest}/{kind}".encode()).digest()
    return way.corrupt(data, kind, severity, np.random.default_rng([seed, int.from_bytes(told[:8], "big")]))


def table(
    scene: Scene,
    head: Head,
    session: Session,
    reader: Preprocessor,
    examples: Sequence[Example],
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Hurt]:
    """One row for each kind and severity.

    Raises:
        InvalidInput: nothing is defined for the scene's modality, or an example cannot be read.
    """
    way = corruption(scene.modality)
    cells = [("", 0), *((kind, severity) for kind in way.KINDS for severity in SEVERITIES)]
    found: dict[tuple[str, int], list[GridRows]] = {cell: [] for cell in cells}
    for start in range(0, len(examples), BATCH):
        some = examples[start : start + BATCH]
        contents = [content(example) for example in some]
        for kind, severity in cells:
            pairs = zip(some, contents, strict=True)
            inputs = [data if severity == 0 else hurt(data, e.digest, way, kind, severity, seed) for e, data in pairs]
            rows = reader.batch([reader.read(data) for data in inputs])
            found[kind, severity].append(session.features(rows))
        progress(start + len(some), len(examples))
    answers = {
        cell: Answers(outputs=measure.answers(scene, head, np.concatenate(parts)), labels=head.labels)
        for cell, parts in found.items()
    }
    judge = "r2" if scene.task == "regression" else "balanced_accuracy"
    made = []
    for kind, severity in cells[1:]:
        told = answers[kind, severity]
        score = comparison.score(scene, told, examples, seed)
        change = comparison.of_answers(scene, answers["", 0], told, examples, seed)[f"change_{judge}"]
        made.append(Hurt(kind=kind, severity=severity, score=score, change=change))
    return made
