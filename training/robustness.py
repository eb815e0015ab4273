"""What is left of accuracy when inputs go wrong: every kind of ``training.corrupt``, in three severities.

Promises that the same examples are answered by the same head, whole and hurt, so that drops are paired; that an example
is hurt in the same way at every severity, only more so; and the same table for the same seed. Knows nothing of
registries. Features of hurt inputs are kept nowhere.

Legend: N examples.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
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
from training.tasks import by_task

CORRUPTIONS = "training.corrupt"
SEVERITIES = (1, 2, 3)
LARGEST = 256  # examples that a report is about
INTACT = ("", 0)  # kind and severity of inputs that are whole


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
    *,
    seconds: float = math.inf,
) -> dict[str, list[Hurt]]:
    """For each task, by its name, one row for each kind and severity.

    ``seconds`` after which no further batch of examples is begun; the first one always is.

    Raises:
        InvalidInput: nothing is defined for the scene's modality, or an example cannot be read.
    """
    way, begun = corruption(scene.modality), time.monotonic()
    cells = [INTACT, *((kind, severity) for kind in way.KINDS for severity in SEVERITIES)]
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
        if time.monotonic() - begun >= seconds:
            examples = examples[: start + len(some)]
            break
    whole = {cell: np.concatenate(parts) for cell, parts in found.items()}
    place = {example.digest: n for n, example in enumerate(examples)}
    made: dict[str, list[Hurt]] = {}
    for task, mine in by_task(scene, examples):
        if not mine:
            continue
        at_N = [place[example.digest] for example in mine]
        hurt_ND = {cell: rows_ND[at_N] for cell, rows_ND in whole.items()}
        made[task.task_name] = _of_task(task, head.of(task.task_name), hurt_ND, mine, seed)
    return made


def of_report(
    scene: Scene,
    head: Head,
    session: Session,
    reader: Preprocessor,
    examples: Sequence[Example],
    seed: int,
    seconds: float,
) -> dict[str, tuple[Metric, ...]]:
    """By kind, and task where there are several, what is left in each severity, on as many examples, drawn at random,
    as the seconds allow; nothing where there is no example or nothing is defined for the modality."""
    if scene.modality not in plugins.names(CORRUPTIONS) or not examples:
        return {}
    order = np.random.default_rng(seed).permutation(len(examples))[:LARGEST]
    told = table(scene, head, session, reader, [examples[place] for place in order], seed, seconds=seconds)
    found: dict[str, tuple[Metric, ...]] = {}
    for task, hurts in told.items():
        for each in hurts:
            name = f"{task} {each.kind}".strip()
            found[name] = (*found.get(name, ()), each.score)
    return found


def _of_task(
    task: Scene, head: Head, rows: Mapping[tuple[str, int], GridRows], examples: Sequence[Example], seed: int
) -> list[Hurt]:
    """A row for each kind and severity."""
    answers = {
        cell: Answers(outputs=measure.answers(task, head, rows_ND), labels=head.labels)
        for cell, rows_ND in rows.items()
    }
    judge = "r2" if task.task == "regression" else "balanced_accuracy"
    intact = answers.pop(INTACT)
    return [
        Hurt(
            kind=kind,
            severity=severity,
            score=comparison.score(task, told, examples, seed),
            change=comparison.of_answers(task, intact, told, examples, seed)[f"change_{judge}"],
        )
        for (kind, severity), told in answers.items()
    ]
