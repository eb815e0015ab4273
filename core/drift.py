"""What drift detectors said, window by window: the learner writes it, whoever shows or acts on it reads it.

Promises that a window is judged once by a detector, whatever restarts. Knows nothing of detectors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import sqlalchemy as sa

from core.database import Database, drift_readings

MOST = 1000


@dataclass(frozen=True, kw_only=True)
class DriftReading:
    """One detector's word on one window of a version's traffic.

    Attributes:
        number: of the window, from 1. value: above 1 is drift. words: what moved.
        until: when the window's last prediction, or label, came. at: when it was looked at. Seconds since the epoch.
    """

    scene: str
    version: str
    detector: str
    number: int
    value: float
    words: str
    until: float
    at: float

    @property
    def drifted(self) -> bool:
        """Whether the limit was passed."""
        return self.value > 1.0


class DriftReadings:
    """Reads and writes them."""

    def __init__(self, database: Database):
        self.database = database

    def keep(self, readings: Sequence[DriftReading]) -> None:
        """Write readings of windows that were not judged yet; what is there already stays as it is."""
        with self.database.write() as connection:
            for reading in readings:
                if connection.execute(sa.select(drift_readings.c.number).where(_key(reading))).first() is None:
                    connection.execute(sa.insert(drift_readings).values(**asdict(reading)))

    def last(self, scene: str, version: str) -> dict[str, DriftReading]:
        """The newest reading of each detector."""
        newest: dict[str, DriftReading] = {}
        for reading in self.of(scene, version):
            newest.setdefault(reading.detector, reading)
        return newest

    def of(self, scene: str, version: str | None = None, most: int = MOST) -> list[DriftReading]:
        """Readings of a scene, or of one version of it, the newest first."""
        wanted = drift_readings.c.scene == scene
        if version is not None:
            wanted &= drift_readings.c.version == version
        order = sa.desc(drift_readings.c.at), sa.desc(drift_readings.c.number), drift_readings.c.detector
        with self.database.read() as connection:
            rows = connection.execute(sa.select(drift_readings).where(wanted).order_by(*order).limit(most))
            return [DriftReading(**row._mapping) for row in rows]


def _key(reading: DriftReading) -> sa.ColumnElement[bool]:
    return sa.and_(
        drift_readings.c.scene == reading.scene,
        drift_readings.c.version == reading.version,
        drift_readings.c.detector == reading.detector,
        drift_readings.c.number == reading.number,
    )
