"""Which examples no weight of a version was tuned on: they may judge it, and whatever is made of it.

Promises that an erased person leaves every list, of whatever version, also one that is written while they are erased,
and that a manifest, which cannot change, tells nothing of who was in it: it names its list by a name drawn at random.
Lists that an older Lepton kept as blobs are read as they are, and become rows before anybody is erased. Knows nothing
of how weights are tuned.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any, cast

import sqlalchemy as sa

from core.artifacts import Artifacts
from core.database import Database, unknown
from core.errors import NotFound
from core.gate_tables import untouched
from core.holdouts import known
from core.ids import uuid7
from core.types import Version

PAGE = 500
BLOB = re.compile(r"[0-9a-f]{64}")


class Untouched:
    """Reads and writes the lists."""

    def __init__(self, database: Database, artifacts: Artifacts):
        self.database = database
        self.artifacts = artifacts

    def keep(self, examples: Iterable[str]) -> str:
        """Write a list down; returns its name, for the manifest."""
        name = uuid7()
        with self.database.write() as connection:
            _insert(connection, name, examples)
        return name

    def of(self, name: str) -> set[str]:
        """The examples of a list, as far as they were not erased; none where it is not here."""
        with self.database.read() as connection:
            found = set(connection.execute(sa.select(untouched.c.example).where(untouched.c.list == name)).scalars())
        return found or self._blob(name)

    def learned(self, scene: str, upto: int, spared: Collection[str]) -> frozenset[str]:
        """Examples on which weights were tuned: of which something was said by that event, but for those spared."""
        return frozenset(known(self.database, scene, upto).difference(spared))

    def drop(self, name: str) -> None:
        """Remove a list, whose version came to nothing."""
        with self.database.write() as connection:
            connection.execute(sa.delete(untouched).where(untouched.c.list == name))

    def adopt(self, versions: Sequence[Version]) -> None:
        """Make rows of the lists that were kept as blobs, and remove those; stopped on the way, it can be repeated.

        A version from elsewhere names no list of this home, whatever its manifest says.
        """
        lineages = [
            cast("dict[str, Any]", version.manifest["lineage"]) for version in versions if version.origin == "own"
        ]
        for name in sorted({str(lineage.get("validation", "")) for lineage in lineages}):
            examples = self._blob(name)
            if examples:
                with self.database.write() as connection:
                    here = sa.select(untouched.c.example).where(untouched.c.list == name).limit(1)
                    if connection.execute(here).first() is None:
                        _insert(connection, name, examples)
                self.artifacts.delete(name)

    def _blob(self, name: str) -> set[str]:
        """The list of an older Lepton."""
        if BLOB.fullmatch(name) is None:
            return set()
        try:
            told = json.loads(self.artifacts.get(name))
        except (NotFound, ValueError):
            return set()
        return set(told) if isinstance(told, list) and all(isinstance(each, str) for each in told) else set()


def forget(connection: sa.Connection, examples: list[str]) -> None:
    """Take erased examples out of every list, inside the caller's transaction."""
    for start in range(0, len(examples), PAGE):
        connection.execute(sa.delete(untouched).where(untouched.c.example.in_(examples[start : start + PAGE])))


def _insert(connection: sa.Connection, name: str, examples: Iterable[str]) -> None:
    """Write a list of which those stay that the ledger still knows: somebody may have been erased since it was made."""
    rows = [{"list": name, "example": example} for example in sorted(examples)]
    if rows:
        connection.execute(sa.insert(untouched), rows)
        connection.execute(sa.delete(untouched).where(untouched.c.list == name, unknown(untouched.c.example)))
