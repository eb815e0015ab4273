"""What lies in the ledger beside the labels: the features of an example under each extractor, and its input.

Promises that storing the same thing twice changes nothing. Knows nothing of labels.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from core.artifacts import Artifacts
from core.database import Database, features, inputs, insert
from core.errors import NotFound
from core.types import GridRows

PAGE = 500


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Features by extractor, (D,) int16 on the grid, and where the input is.

    ``path`` None means that the input is a blob among the artifacts; ``media`` empty that no input is kept.
    """

    example: str
    features: Mapping[str, GridRows]
    media: str = ""
    path: str | None = None


class EvidenceStore:
    """Reads and writes features and inputs."""

    def __init__(self, database: Database, artifacts: Artifacts):
        self.database = database
        self.artifacts = artifacts

    def keep(self, evidence: Sequence[Evidence]) -> None:
        """Store features and inputs without a label, in several transactions: harmless until events name them."""
        for start in range(0, len(evidence), PAGE):
            with self.database.write() as connection:
                keep(connection, evidence[start : start + PAGE], time.time())

    def features(self, extractor: str, examples: Iterable[str]) -> dict[str, GridRows]:
        """Stored features of those examples that have them under this extractor."""
        listed = list(examples)
        found: dict[str, GridRows] = {}
        with self.database.read() as connection:
            for start in range(0, len(listed), PAGE):
                rows = connection.execute(
                    sa.select(features.c.example, features.c["values"]).where(
                        features.c.extractor == extractor, features.c.example.in_(listed[start : start + PAGE])
                    )
                )
                found |= {example: np.frombuffer(values, np.int16) for example, values in rows}
        return found

    def input(self, example: str) -> bytes | None:
        """The input of an example: a blob, or the file it was referred to by; None where it is gone or has changed."""
        with self.database.read() as connection:
            row = connection.execute(sa.select(inputs).where(inputs.c.example == example)).first()
        if row is None:
            return None
        try:
            data = self.artifacts.get(example) if row.path is None else Path(row.path).read_bytes()
        except (OSError, NotFound):
            return None
        return data if hashlib.sha256(data).hexdigest() == example else None

    def paths(self, examples: Iterable[str]) -> dict[str, str | None]:
        """Where the inputs of those examples that have one lie: a file's path, or None for a blob."""
        listed = list(examples)
        found: dict[str, str | None] = {}
        with self.database.read() as connection:
            for start in range(0, len(listed), PAGE):
                rows = connection.execute(
                    sa.select(inputs.c.example, inputs.c.path).where(inputs.c.example.in_(listed[start : start + PAGE]))
                )
                found |= {example: path for example, path in rows}
        return found

    def located(self, examples: Iterable[str]) -> dict[str, Path]:
        """The file of every input that is there and still has the bytes that its digest says."""
        files = {
            example: Path(path) if path else self.artifacts.blob(example)
            for example, path in self.paths(examples).items()
        }
        return {example: file for example, file in files.items() if _is(file, example)}


def keep(connection: sa.Connection, evidence: Sequence[Evidence], now: float) -> None:
    """Store features and inputs inside the caller's transaction."""
    rows = [
        {"extractor": extractor, "example": e.example, "values": values.tobytes()}
        for e in evidence
        for extractor, values in e.features.items()
    ]
    if rows:
        connection.execute(insert(connection, features).on_conflict_do_nothing(), rows)
    kept = [{"example": e.example, "media": e.media, "path": e.path, "created_at": now} for e in evidence if e.media]
    if kept:
        connection.execute(insert(connection, inputs).on_conflict_do_nothing(), kept)


def _is(file: Path, digest: str) -> bool:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest() == digest
    except OSError:
        return False
