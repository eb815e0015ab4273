"""Settings that were changed for one scene: when it is retrained by itself, which of its labels wait.

Promises that what was changed for a scene holds from the next look on, without a restart. Knows nothing of what the
settings mean.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import sqlalchemy as sa

from core.config import changed
from core.database import Database

S = TypeVar("S")


class Policies(Generic[S]):
    """Reads and writes what scenes change of ``settings``, a section of the settings; ``table`` has a row a scene."""

    def __init__(
        self, database: Database, section: str, settings: S, table: sa.Table, clock: Callable[[], float] = time.time
    ):
        self.database = database
        self._section = section
        self._settings = settings
        self._table = table
        self._clock = clock

    def of(self, scene: str) -> S:
        """What holds for a scene."""
        with self.database.read() as connection:
            return self.read(connection, scene)

    def read(self, connection: sa.Connection, scene: str) -> S:
        """The same inside the caller's transaction."""
        changes = self._changes(connection, scene)
        policy: S = changed(self._section, self._settings, changes) if changes else self._settings
        return policy

    def changes(self, scene: str) -> dict[str, Any]:
        """What was changed for a scene; everything else follows the settings."""
        with self.database.read() as connection:
            return self._changes(connection, scene)

    def change(self, scene: str, changes: Mapping[str, Any]) -> S:
        """Change some settings for a scene; earlier changes of others stay.

        Raises:
            BadConfiguration: an unknown setting, or a value that does not fit.
        """
        with self.database.write() as connection:
            merged = self._changes(connection, scene) | dict(changes)
            policy: S = changed(self._section, self._settings, merged)
            connection.execute(sa.delete(self._table).where(self._table.c.scene == scene))
            row = {"scene": scene, "changes": merged, "updated_at": self._clock()}
            connection.execute(sa.insert(self._table), row)
        return policy

    def reset(self, scene: str) -> None:
        """Let a scene follow the settings again."""
        with self.database.write() as connection:
            connection.execute(sa.delete(self._table).where(self._table.c.scene == scene))

    def _changes(self, connection: sa.Connection, scene: str) -> dict[str, Any]:
        held = sa.select(self._table.c.changes).where(self._table.c.scene == scene)
        return dict(connection.execute(held).scalar() or {})
