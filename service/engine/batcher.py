"""Gathers instances of several requests into one run of the model, without ever making one wait for company.

Promises that the model is never idle while something waits, that one run holds instances of one snapshot only, at
most ``max_batch``, and that an instance which makes a run fail fails alone. Knows nothing of modalities or of HTTP.

Legend: B batch, K classes, D features.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from core.errors import BrokenBundle, LeptonError, Unavailable
from core.preprocess import Row
from core.types import Floats, GridRows
from service.engine.snapshot import Snapshot


class Observer(Protocol):
    """Who is told of every run."""

    def waited(self, seconds: float) -> None:
        """An instance waited so long."""

    def ran(self, scene: str, size: int, seconds: float) -> None:
        """A batch took so long."""


@dataclass(frozen=True)
class Answer:
    """What the model says of one instance: outputs (K,) float32 and features (D,) int16 on the grid."""

    outputs: Floats
    features: GridRows


@dataclass(eq=False)
class _Item:
    snapshot: Snapshot
    row: Row
    since: float
    future: Future[Answer] = field(default_factory=Future)


class Batcher:
    """One thread that runs the model.

    Args:
        max_batch: most instances in one run.
        observer: told of waits and runs.
        clock: seconds.
    """

    def __init__(self, max_batch: int, observer: Observer, clock: Callable[[], float] = time.perf_counter) -> None:
        self._max_batch = max_batch
        self._observer = observer
        self._clock = clock
        self._queue: deque[_Item] = deque()
        self._more = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)

    def start(self) -> None:
        """Begin to run what is submitted, and what was submitted before."""
        self._thread.start()

    def submit(self, snapshot: Snapshot, row: Row) -> Future[Answer]:
        """Queue one row of the snapshot's preprocessor.

        Raises:
            Unavailable: the batcher is closed.
        """
        item = _Item(snapshot, row, self._clock())
        with self._more:
            if self._closed:
                raise Unavailable("this worker is shutting down", "send the request again")
            self._queue.append(item)
            self._more.notify()
        return item.future

    async def run(self, snapshot: Snapshot, row: Row) -> Answer:
        """As ``submit``, awaited; a caller that is cancelled takes its instance with it."""
        return await asyncio.wrap_future(self.submit(snapshot, row))

    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Answer what waits, take nothing more, and end."""
        with self._more:
            self._closed = True
            self._more.notify()
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        while batch := self._next():
            running = [item for item in batch if item.future.set_running_or_notify_cancel()]
            if running:
                self._run(running)

    def _next(self) -> list[_Item]:
        """What waits longest, with what waits for the same snapshot; empty when all is done and closed."""
        with self._more:
            while not self._queue:
                if self._closed:
                    return []
                self._more.wait()
            snapshot = self._queue[0].snapshot
            batch: list[_Item] = []
            others: deque[_Item] = deque()
            while self._queue and len(batch) < self._max_batch:
                item = self._queue.popleft()
                (batch if item.snapshot is snapshot else others).append(item)
            self._queue.extendleft(reversed(others))
            return batch

    def _run(self, batch: list[_Item]) -> None:
        start = self._clock()
        for item in batch:
            self._observer.waited(start - item.since)
        try:
            outputs_BK, features_BD = batch[0].snapshot.run([item.row for item in batch])
        except Exception as error:
            if len(batch) == 1:
                batch[0].future.set_exception(_explained(error))
                return
            for item in batch:
                self._run([item])
            return
        self._observer.ran(batch[0].snapshot.scene.name, len(batch), self._clock() - start)
        for item, outputs_K, features_D in zip(batch, outputs_BK, features_BD, strict=True):
            if np.isfinite(outputs_K).all():
                item.future.set_result(Answer(outputs_K, features_D))
            else:
                item.future.set_exception(_explained(ValueError("an answer that is no finite number")))


def _explained(error: Exception) -> LeptonError:
    if isinstance(error, LeptonError):
        return error
    return BrokenBundle(
        f"the model could not answer: {type(error).__name__}: {str(error)[:200]}",
        "try another input; where every input fails, roll back to a version that answers",
    )
