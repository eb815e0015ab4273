"""Counts that are gathered in memory and written where all workers' are read: once for all requests of a moment.

prometheus_client writes every count into a memory-mapped file at once, which costs more than a small model. Promises
that what a request counted is written at the end of the event loop's turn that answers it, anything else within
``FLUSH_SECONDS``; that nothing is lost but by a kill in between; and that a gauge, which is set, is written at once.
Knows nothing of what is counted.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from prometheus_client import values

FLUSH_SECONDS = 0.1


class Gatherer:
    """The counts of one process.

    Args:
        process: names the process, in the names of its files.
    """

    def __init__(self, process: Callable[[], int]) -> None:
        self._written: Any = values.MultiProcessValue(process)  # type: ignore[no-untyped-call]
        self._lock = threading.Lock()
        self._due: list[Any] = []  # values with counts that are not written yet
        self._turn_is_due = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="counts", daemon=True)

    def value_class(self) -> type[Any]:
        """What prometheus_client is to keep its numbers in."""
        lock, due = self._lock, self._due
        Written: Any = self._written  # a class that is made at run time

        class Value(Written):  # type: ignore[misc]
            """A number in a file, and what is to be added to it."""

            more = 0.0

            def inc(self, amount: float) -> None:
                """Add to it, a little later."""
                with lock:
                    if not self.more:
                        due.append(self)
                    self.more += amount

            def write(self) -> None:
                """Add what was gathered; with the lock held."""
                more, self.more = self.more, 0.0
                super().inc(more)

        return Value

    def start(self) -> None:
        """Begin to write what is counted."""
        self._thread.start()

    def soon(self) -> None:
        """Write at the end of this turn of the event loop, in which others may count too; called by the loop."""
        if not self._turn_is_due:
            self._turn_is_due = True
            asyncio.get_running_loop().call_soon(self._turn)

    def flush(self) -> None:
        """Write all that was counted."""
        with self._lock:
            for value in self._due:
                value.write()
            self._due.clear()

    def stop(self) -> None:
        """Write the last, and end."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()
        self.flush()

    def _turn(self) -> None:
        self._turn_is_due = False
        self.flush()

    def _work(self) -> None:
        while not self._stopped.wait(FLUSH_SECONDS):
            if self._due:
                self.flush()
