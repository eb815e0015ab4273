"""What waits for the prediction log: predictions are answered first and written in groups, by a thread of its own.

Promises that an answer never waits for the disk, that a prediction can be found from the moment it was put here, and
that a full disk or a locked database loses predictions only beyond a bound, counted. Knows nothing of HTTP.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

from sqlalchemy.exc import OperationalError

from core.errors import Unavailable
from core.predictions import PredictionLog
from core.types import Prediction
from service.engine.record import Packed, bare, unpack

logger = logging.getLogger(__name__)

Write = Callable[[Sequence[Packed]], None]


@dataclass(frozen=True, kw_only=True)
class LogSettings:
    """How the writer gathers and keeps.

    Attributes:
        linger: seconds that a group is gathered for at most.
        group: predictions in one transaction at most.
        most: predictions that may wait; above that new ones are lost.
        bytes_kept: of inputs that wait; above that a prediction waits without its input.
        retention_seconds: between two looks at age and size.
        retry_seconds: between two tries after a failure.
        days, megabytes: retention, as ``PredictionLog.retain`` takes it.
    """

    linger: float = 0.2
    group: int = 2_048
    most: int = 20_000
    bytes_kept: int = 64 * 2**20
    retention_seconds: float = 300.0
    retry_seconds: float = 1.0
    days: float = 30.0
    megabytes: float = 2048.0


class LogWriter:
    """A queue in front of the prediction log, and the thread that empties it.

    Args:
        log: where predictions are found, and old ones dropped.
        write: puts a group of them there, whole: raises Unavailable where it is worth trying again.
        settings: bounds.
        lost: told how many predictions could not be kept.
    """

    def __init__(self, log: PredictionLog, write: Write, settings: LogSettings, lost: Callable[[int], None]) -> None:
        self._log = log
        self._append = write
        self._settings = settings
        self._lost = lost
        self._waiting: dict[str, Packed] = {}  # in order of arrival
        self._bytes = 0
        self._more = threading.Condition()
        self._hurry = False
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="prediction-log", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def put(self, predictions: Sequence[Packed]) -> None:
        """Take predictions; never waits."""
        with self._more:
            before, full = len(self._waiting), self._settings.group
            room = self._settings.most - before
            for packed in predictions[: max(room, 0)]:
                fits = self._bytes + packed.size <= self._settings.bytes_kept
                kept = packed if fits else bare(packed)
                self._bytes += kept.size
                self._waiting[kept.prediction_id] = kept
            if before == 0 or before < full <= len(self._waiting):  # waking the writer for each would cost more than it
                self._more.notify_all()
        if room < len(predictions):
            self._lost(len(predictions) - max(room, 0))

    def find(self, prediction_ids: Iterable[str]) -> dict[str, Prediction]:
        """Those of these predictions that are here or in the log."""
        wanted = list(prediction_ids)
        with self._more:
            waiting = [self._waiting[name] for name in wanted if name in self._waiting]
        here = {packed.prediction_id: unpack(packed) for packed in waiting}
        rest = [name for name in wanted if name not in here]
        return here | (self._log.find(rest) if rest else {})

    def flush(self, seconds: float = 5.0) -> None:
        """Wait until what was put before is written.

        Raises:
            Unavailable: it could not be written in time.
        """
        deadline = time.monotonic() + seconds
        with self._more:
            asked = set(self._waiting)
            self._hurry = True
            self._more.notify_all()
            while not asked.isdisjoint(self._waiting):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise Unavailable("predictions wait for the disk", "free the disk, then send the request again")
                self._more.wait(left)

    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Write what waits, once more where it fails, and end."""
        with self._more:
            self._closed = True
            self._more.notify_all()
        if self._thread.is_alive():
            self._thread.join()
        if self._waiting:
            self._lost(len(self._waiting))
            logger.error("%d predictions could not be written before the end", len(self._waiting))

    def _work(self) -> None:
        due = time.monotonic() + self._settings.retention_seconds
        while True:
            group = self._gather(due)
            written = self._write(group)
            with self._more:
                if written:
                    self._remove(group)
                if self._closed and (not written or not self._waiting):
                    return
                if not written:
                    self._more.wait_for(lambda: self._closed, self._settings.retry_seconds)
            if time.monotonic() >= due:
                self._retain()
                due = time.monotonic() + self._settings.retention_seconds

    def _gather(self, due: float) -> list[Packed]:
        """The next group: as soon as it is full, old enough or asked for; empty where retention is due."""
        with self._more:
            self._more.wait_for(lambda: self._waiting or self._closed, max(due - time.monotonic(), 0.0))
            full = self._settings.group
            self._more.wait_for(
                lambda: len(self._waiting) >= full or self._hurry or self._closed,
                self._settings.linger if self._waiting else 0.0,
            )
            self._hurry = False
            return list(islice(self._waiting.values(), full))

    def _remove(self, group: Sequence[Packed]) -> None:
        for packed in group:
            del self._waiting[packed.prediction_id]
            self._bytes -= packed.size
        if group:
            self._more.notify_all()

    def _write(self, group: Sequence[Packed]) -> bool:
        """False where it is worth trying again."""
        try:
            if group:
                self._append(group)
        except (Unavailable, OperationalError) as error:
            logger.warning("the prediction log cannot be written just now; trying again: %s", error)
            return False
        except Exception:
            if len(group) == 1:
                logger.exception("prediction %s cannot be logged", group[0].prediction_id)
                self._lost(1)
                return True
            return all([self._write([packed]) for packed in group])
        return True

    def _retain(self) -> None:
        try:
            self._log.retain(days=self._settings.days, megabytes=self._settings.megabytes)
        except Exception:  # old rows can go next time
            logger.exception("the prediction log could not be cleared of old rows")
