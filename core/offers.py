"""What the queue has offered to be labelled, and with which chance: so that accuracy can be told without bias.

Labels that people give to what a queue chose are no sample of the traffic: the least certain are wrong most often. Each
answered example is in one lot, that of the first queue that was asked for after it: chosen for sure (by a strategy, or
because it was labelled before), or drawn with a known chance. Weighted by one over that chance, the labelled ones tell
the accuracy of the traffic (Horvitz and Thompson, "A generalization of sampling without replacement from a finite
universe", 1952; Hájek's ratio, 1971). It holds as long as whoever labels does not pick among what was offered.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from core.database import Database, insert, offers, queue_turns

PAGE = 500


@dataclass(frozen=True)
class Lot:
    """Example → chance of all that were offered, and up to when predictions have had their lot (None: as before)."""

    chances: Mapping[str, float]
    until: float | None


class Offers:
    """Reads and writes them, in the database of the prediction log."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time):
        self.database = database
        self._clock = clock

    def draw(self, scene: str, task: str, lot: Callable[[float], Lot]) -> None:
        """Draw a lot among the predictions that came since the last one; no other queue draws meanwhile.

        Args:
            lot: given the moment up to which predictions have had theirs, what is offered now.
        """
        here = (queue_turns.c.scene == scene) & (queue_turns.c.task == task)
        with self.database.write() as connection:
            first = insert(connection, queue_turns).values(scene=scene, task=task, until=0.0)
            as_it_is = first.on_conflict_do_update(
                index_elements=["scene", "task"], set_={"until": queue_turns.c.until}
            )
            since = connection.execute(as_it_is.returning(queue_turns.c.until)).scalar_one()  # locks the row
            drawn, now = lot(since), self._clock()
            rows = [
                {"scene": scene, "task": task, "example": example, "propensity": chance, "at": now}
                for example, chance in drawn.chances.items()
            ]
            if rows:
                connection.execute(insert(connection, offers).on_conflict_do_nothing(), rows)
            if drawn.until is not None:
                connection.execute(sa.update(queue_turns).where(here).values(until=drawn.until))

    def chances(self, scene: str, task: str, examples: Iterable[str]) -> dict[str, float]:
        """The chance with which each of these was offered; those that never were are left out."""
        listed, found = list(examples), dict[str, float]()
        here = (offers.c.scene == scene) & (offers.c.task == task)
        with self.database.read() as connection:
            for start in range(0, len(listed), PAGE):
                rows = connection.execute(
                    sa.select(offers.c.example, offers.c.propensity).where(
                        here, offers.c.example.in_(listed[start : start + PAGE])
                    )
                )
                found |= {row.example: row.propensity for row in rows}
        return found


def weighted_share(right: Sequence[bool], chances: Sequence[float]) -> float:
    """Share of right ones in the traffic, by those that were labelled, each counted one over its chance (Hájek).

    >>> weighted_share([False, True], [1.0, 0.25])
    0.8
    """
    weights = [1.0 / chance for chance in chances]
    return sum(weight for weight, ok in zip(weights, right, strict=True) if ok) / sum(weights)
