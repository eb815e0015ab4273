"""When each scene is retrained by itself: the settings, and what was changed of them for one scene.

Promises that what was changed for a scene holds from the next look on, without a restart. Knows nothing of causes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import sqlalchemy as sa

from core.config import changed
from core.database import Database
from core.job_settings import RetrainSettings
from core.job_tables import retrain_policies


class Policies:
    """Reads and writes what scenes change of ``settings``."""

    def __init__(self, database: Database, settings: RetrainSettings, clock: Callable[[], float] = time.time):
        self.database = database
        self._settings = settings
        self._clock = clock

    def of(self, scene: str) -> RetrainSettings:
        """What holds for a scene."""
        policy: RetrainSettings = changed("retrain", self._settings, self.changes(scene))
        return policy

    def changes(self, scene: str) -> dict[str, Any]:
        """What was changed for a scene; everything else follows the settings."""
        with self.database.read() as connection:
            return _changes(connection, scene)

    def change(self, scene: str, changes: Mapping[str, Any]) -> RetrainSettings:
        """Change some settings for a scene; earlier changes of others stay.

        Raises:
            BadConfiguration: an unknown setting, or a value that does not fit.
        """
        with self.database.write() as connection:
            merged = _changes(connection, scene) | dict(changes)
            policy: RetrainSettings = changed("retrain", self._settings, merged)
            connection.execute(sa.delete(retrain_policies).where(retrain_policies.c.scene == scene))
            row = {"scene": scene, "changes": merged, "updated_at": self._clock()}
            connection.execute(sa.insert(retrain_policies), row)
        return policy

    def reset(self, scene: str) -> None:
        """Let a scene follow the settings again."""
        with self.database.write() as connection:
            connection.execute(sa.delete(retrain_policies).where(retrain_policies.c.scene == scene))


def _changes(connection: sa.Connection, scene: str) -> dict[str, Any]:
    held = sa.select(retrain_policies.c.changes).where(retrain_policies.c.scene == scene)
    return dict(connection.execute(held).scalar() or {})
