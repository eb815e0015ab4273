"""A trainer's sign of life, for who wonders whether anybody will take a job.

One of all trainers holds a lease; while it is held there is a trainer, whether it works or waits. Promises that it is
gone ``SECONDS`` after the last trainer ended, however it did. Knows nothing of jobs.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable

from sqlalchemy.exc import SQLAlchemyError

from core.database import Database
from core.errors import LeptonError
from core.lease import TRAINER, Lease, acquire, release

logger = logging.getLogger(__name__)

SECONDS = 15.0
RENEWALS = 3  # in the life of the lease


class Presence:
    """The sign of life of one trainer; ``clock`` says when the next one is due."""

    def __init__(self, database: Database, owner: str, clock: Callable[[], float]):
        self._database = database
        self._owner = owner
        self._clock = clock
        self._due = 0.0
        self._lease: Lease | None = None

    def tell(self) -> None:
        """Give it, where it is due and no other trainer does."""
        now = self._clock()
        if now < self._due:
            return
        self._due = now + SECONDS / RENEWALS
        try:
            self._lease = acquire(self._database, TRAINER, self._owner, SECONDS)
        except (LeptonError, SQLAlchemyError) as error:
            logger.warning("no sign of life could be given: %s", error)

    def leave(self) -> None:
        """Take it back, so that nobody waits for a trainer that has ended."""
        if self._lease is not None:
            with contextlib.suppress(LeptonError, SQLAlchemyError):
                release(self._database, self._lease)
