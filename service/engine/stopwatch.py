"""Counts how long requests took, and tells it every few seconds, for whoever looks at the time behind.

Promises that a request costs one more count in memory, that nothing waits for the database, and that what could not be
told is told later. Knows nothing of HTTP.
"""

from __future__ import annotations

import logging
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence

from core.errors import Unavailable
from core.latencies import BOUNDS, Latencies

logger = logging.getLogger(__name__)

TELL_SECONDS = 5.0


class Stopwatch:
    """Counts by scene, and the thread that tells what is new in them.

    Args:
        latencies: where it is kept.
        clock: seconds since the epoch.
    """

    def __init__(self, latencies: Latencies, clock: Callable[[], float] = time.time) -> None:
        self._latencies = latencies
        self._clock = clock
        self._counts: dict[str, list[int]] = {}  # never taken from: what is new is the difference to what was told
        self._told: Mapping[str, Sequence[int]] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="stopwatch", daemon=True)

    def start(self) -> None:
        """Begin to tell."""
        self._thread.start()

    def took(self, scene: str, seconds: float) -> None:
        """A request of a scene that is served was answered in so many seconds; from one thread."""
        counts = self._counts.get(scene)
        if counts is None:
            counts = self._counts[scene] = [0] * (len(BOUNDS) + 1)
        counts[bisect_left(BOUNDS, seconds)] += 1

    def tell(self) -> None:
        """Tell what was counted since the last time.

        Raises:
            Unavailable: the database cannot be written; it is told the next time.
        """
        now = {scene: tuple(counts) for scene, counts in self._counts.copy().items()}
        none = (0,) * (len(BOUNDS) + 1)
        new = {
            scene: [count - told for count, told in zip(counts, self._told.get(scene, none), strict=True)]
            for scene, counts in now.items()
            if counts != self._told.get(scene)
        }
        if new:
            self._latencies.add(new, self._clock())
            self._told = now

    def stop(self) -> None:
        """Tell the last, and end."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        self._try()

    def _work(self) -> None:
        while not self._stopped.wait(TELL_SECONDS):
            self._try()

    def _try(self) -> None:
        try:
            self.tell()
        except Unavailable as away:
            logger.warning("how long requests took could not be told just now: %s", away)
        except Exception:
            logger.exception("how long requests took could not be told")
