"""How long requests for answers took, minute by minute: the service counts them, whoever shows it reads it.

Times are counted within bounds that grow by √2, so that counts of all workers, minutes and hosts add up, a quantile is
known to a few per cent, and a million requests take no more room than a hundred. Promises that what is told here is
kept for ``KEPT_DAYS``, whether predictions are logged or not, and that no page waits for more rows than that. Knows
nothing of requests.

Legend: B = len(BOUNDS) + 1 counts, the last of what took longer than the last bound.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from core.database import Database, insert, latencies

BOUNDS = tuple(0.00025 * 2 ** (place / 2) for place in range(37))  # seconds, to 65; rows name them by their place
MINUTE = 60  # seconds
KEPT_DAYS = 8  # a day more than the longest time that pages show


class Latencies:
    """Reads and writes the counts; they lie beside the prediction log, because a write there wakes nobody."""

    def __init__(self, database: Database):
        self.database = database

    def add(self, counts: Mapping[str, Sequence[int]], now: float) -> None:
        """Add counts (B,) by scene to the present minute, and forget what is old.

        Raises:
            Unavailable: the database cannot be written; nothing was added.
        """
        minute = int(now // MINUTE)
        with self.database.write() as connection:
            for scene in sorted(counts):  # in one order: no two writers wait in a circle
                rows = [
                    {"scene": scene, "minute": minute, "place": place, "requests": number}
                    for place, number in enumerate(counts[scene])
                    if number
                ]
                if rows:
                    told = insert(connection, latencies)
                    more = latencies.c.requests + told.excluded.requests
                    key = ["scene", "minute", "place"]
                    connection.execute(told.on_conflict_do_update(index_elements=key, set_={"requests": more}), rows)
                old = (latencies.c.scene == scene) & (latencies.c.minute < minute - KEPT_DAYS * 24 * 60)
                connection.execute(sa.delete(latencies).where(old))

    def over(self, scene: str, first: int, minutes: int, most: int) -> dict[int, list[int]]:
        """Counts (B,) of a scene by interval: number k holds the ``minutes`` from minute ``first + k * minutes`` on.

        Intervals without requests are left out; ``most`` are looked at.
        """
        told = latencies.c
        number = ((told.minute - first) // minutes).label("number")
        here = (told.scene == scene) & (told.minute >= first) & (told.minute < first + minutes * most)
        rows = sa.select(number, told.place, sa.func.sum(told.requests).label("requests")).where(here)
        found: dict[int, list[int]] = {}
        with self.database.read() as connection:
            for row in connection.execute(rows.group_by("number", told.place)):
                counts = found.setdefault(int(row.number), [0] * (len(BOUNDS) + 1))
                counts[row.place] = int(row.requests)
        return found
