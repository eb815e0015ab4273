"""The feature cache: rows by (what made them, what they were made from), in one SQLite file that may be deleted.

Promises that several processes can share it, that a row is there whole or not at all, and that ``forget`` leaves
nothing of a digest behind. Knows nothing of pictures or extractors.

Legend: N rows, D features.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from core.errors import BadConfiguration
from core.types import GridRows

FILE = "features.sqlite"
WAIT_SECONDS = 30.0  # for another process that writes
CHUNK = 500  # digests a query, below SQLite's limit on parameters


class FeatureCache:
    """The cache in a folder, open for the length of a ``with`` block.

    Raises:
        BadConfiguration: the folder or the file cannot be used.
    """

    def __init__(self, folder: Path):
        self._folder = folder

    def __enter__(self) -> FeatureCache:
        with usable(self._folder):
            self._folder.mkdir(parents=True, exist_ok=True)
            self._store = sqlite3.connect(self._folder / FILE, timeout=WAIT_SECONDS, isolation_level=None)
            try:
                self._store.execute("PRAGMA secure_delete=ON")
                self._store.execute(
                    "CREATE TABLE IF NOT EXISTS features (key TEXT, digest TEXT, row BLOB, PRIMARY KEY (key, digest)) "
                    "WITHOUT ROWID"
                )
            except sqlite3.Error:
                self._store.close()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        self._store.close()

    def known(self, key: str, digests: Sequence[str], width: int) -> dict[str, GridRows]:
        """Rows of ``width`` that are here, by digest."""
        found: dict[str, GridRows] = {}
        with usable(self._folder):
            for start in range(0, len(digests), CHUNK):
                part = digests[start : start + CHUNK]
                query = f"SELECT digest, row FROM features WHERE key = ? AND digest IN ({','.join('?' * len(part))})"
                rows = self._store.execute(query, (key, *part)).fetchall()
                found |= {digest: np.frombuffer(row, dtype="<i2") for digest, row in rows if len(row) == 2 * width}
        return found

    def keep(self, key: str, digests: Sequence[str], rows_ND: GridRows) -> None:
        """Store rows, all or none."""
        lines = [(key, digest, row.astype("<i2").tobytes()) for digest, row in zip(digests, rows_ND, strict=True)]
        with self._writing():
            self._store.executemany("INSERT OR REPLACE INTO features VALUES (?, ?, ?)", lines)

    def forget(self, digests: Sequence[str]) -> None:
        """Remove all rows of these digests, whatever made them."""
        with self._writing():
            self._store.executemany("DELETE FROM features WHERE digest = ?", [(digest,) for digest in digests])

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        with usable(self._folder):
            self._store.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._store.execute("COMMIT")
            except sqlite3.Error:
                self._store.execute("ROLLBACK")
                raise


@contextlib.contextmanager
def usable(folder: Path) -> Iterator[None]:
    """Errors of the folder or its file, told with the remedy."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise BadConfiguration(
            f"the feature cache in {folder} cannot be used: {error}",
            "free disk space, make the folder writable, or delete it (it is only a cache)",
        ) from error
