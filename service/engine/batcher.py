"""Gathers instances of several requests into one run of the model, without ever making one wait for company.

Promises that the model is never idle while something waits, that one run holds instances of one snapshot only, at
most ``max_batch``, that an instance which makes a run fail fails alone, that one whose deadline has passed is never
run, and that no scene can keep the model from another. A model whose runs are shorter than a change of threads is run
in the event loop, on what has gathered since the loop's last turn; any other in a thread. Knows nothing of modalities
or of HTTP.

Legend: B batch, K classes, D features.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol

import numpy as np

from core.errors import LeptonError, Unavailable
from core.preprocess import Row
from core.session import Output, Session
from service.engine.admission import Overloaded
from service.engine.faults import explained
from service.engine.pace import Pace
from service.engine.queues import FOREVER, Answer, Item, Queues
from service.engine.snapshot import Snapshot

ENDLESS = "an answer that is no finite number"

Result = Answer | LeptonError


class Observer(Protocol):
    """Who is told of every run."""

    def waited(self, seconds: float) -> None:
        """An instance waited so long."""

    def ran(self, scene: str, size: int, seconds: float) -> None:
        """A batch took so long."""

    def expired(self, scene: str) -> None:
        """The deadline of an instance passed while it waited."""


class Batcher:
    """One thread that runs models, and the event loop for those that need none.

    Args:
        max_batch: most instances in one run.
        observer: told of waits and runs.
        clock: seconds; deadlines are in them, too.
    """

    def __init__(self, max_batch: int, observer: Observer, clock: Callable[[], float] = time.perf_counter) -> None:
        self._max_batch = max_batch
        self._observer = observer
        self.clock = clock
        self._paces: weakref.WeakKeyDictionary[Session, Pace] = weakref.WeakKeyDictionary()
        self._gathered = Queues(max_batch)  # for the event loop
        self._turn_is_due = False
        self._queues = Queues(max_batch)  # for the thread, behind the lock
        self._more = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)

    def start(self) -> None:
        """Begin to run what is submitted, and what was submitted before."""
        self._thread.start()

    def submit(self, snapshot: Snapshot, row: Row, deadline: float = FOREVER) -> Future[Answer]:
        """Queue one row of the snapshot's preprocessor for the thread; from any thread.

        Raises:
            Unavailable: the batcher is closed.
        """
        future: Future[Answer] = Future()
        self._hand_over([Item(snapshot, row, self.clock(), deadline, future)])
        return future

    def enqueue(self, snapshot: Snapshot, row: Row, deadline: float = FOREVER) -> asyncio.Future[Answer]:
        """As ``submit``, from the event loop and for it; a future that is cancelled takes its instance with it.

        Raises:
            Unavailable: the batcher is closed.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        item = Item(snapshot, row, self.clock(), deadline, future)
        if not self._pace(snapshot).inline or self._closed:
            self._hand_over([item])
            return future
        self._gathered.add(item)
        if not self._turn_is_due:
            self._turn_is_due = True
            loop.call_soon(self._turn, loop)
        return future

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

    def _pace(self, snapshot: Snapshot) -> Pace:
        pace = self._paces.get(snapshot.session)
        if pace is None:
            pace = self._paces[snapshot.session] = Pace()
        return pace

    def _hand_over(self, items: Sequence[Item]) -> None:
        with self._more:
            if self._closed:
                raise Unavailable("this worker is shutting down", "send the request again")
            for item in items:
                self._queues.add(item)
            self._more.notify()

    def _turn(self, loop: asyncio.AbstractEventLoop) -> None:
        """One batch in the event loop; the next one after it has looked at its sockets."""
        try:
            batch, late = self._gathered.take(self.clock())
            self._expire(late, loop)
            if batch:
                self._gathered.spend(batch[0].snapshot.scene.name, self._run(batch, loop))
        finally:
            self._turn_is_due = bool(self._gathered)
            if self._turn_is_due:
                loop.call_soon(self._turn, loop)

    def _work(self) -> None:
        while True:
            with self._more:
                while not self._queues:
                    if self._closed:
                        return
                    self._more.wait()
                batch, late = self._queues.take(self.clock())
            self._expire(late)
            if batch:
                seconds = self._run(batch)
                with self._more:
                    self._queues.spend(batch[0].snapshot.scene.name, seconds)
            del batch, late  # while this thread waits it holds no model that is retired meanwhile

    def _expire(self, late: Sequence[Item], here: asyncio.AbstractEventLoop | None = None) -> None:
        told: list[tuple[Item, Result]] = []
        for item in late:
            self._observer.expired(item.snapshot.scene.name)
            told.append((item, expired()))
        _tell(told, here)

    def _run(self, batch: Sequence[Item], here: asyncio.AbstractEventLoop | None = None) -> float:
        """Run and answer a batch, in the event loop ``here`` or in the thread; returns the seconds that this took."""
        begun = self.clock()
        for item in batch:
            self._observer.waited(begun - item.since)
        _tell(self._results(batch), here)
        return self.clock() - begun

    def _results(self, batch: Sequence[Item]) -> list[tuple[Item, Result]]:
        snapshot, begun = batch[0].snapshot, self.clock()
        try:
            output = snapshot.run([item.row for item in batch])
        except Exception as error:
            if len(batch) == 1:
                return [(batch[0], explained(error))]
            return [result for item in batch for result in self._results([item])]
        seconds = self.clock() - begun
        self._pace(snapshot).ran(len(batch), seconds)
        self._observer.ran(snapshot.scene.name, len(batch), seconds)
        fine = np.isfinite(output.outputs).all(axis=1).reshape(-1)
        for outputs_BK in output.further.values():
            fine &= np.isfinite(outputs_BK).all(axis=1)
        return [
            (item, _row(output, b, begun - item.since, seconds) if fine[b] else explained(ValueError(ENDLESS)))
            for b, item in enumerate(batch)
        ]


def _row(output: Output, b: int, waited: float, ran: float) -> Answer:
    further = {task: outputs_BK[b] for task, outputs_BK in output.further.items()}
    return Answer(output.outputs[b], output.features[b], waited, ran, further)


def expired() -> Overloaded:
    """What an instance is told whose deadline has passed."""
    return Overloaded("the deadline passed before the model had time", "send it again, or with more time", "expired", 1)


def _tell(results: Sequence[tuple[Item, Result]], here: asyncio.AbstractEventLoop | None) -> None:
    """Give every item its result where it is waited for: in a thread, in the loop that runs here, or in another."""
    elsewhere: dict[asyncio.AbstractEventLoop, list[tuple[Item, Result]]] = {}
    for item, result in results:
        if isinstance(item.future, Future):
            _settle(item.future, result)
        else:
            elsewhere.setdefault(item.future.get_loop(), []).append((item, result))
    for loop, told in elsewhere.items():
        if loop is here:
            _settle_all(told)
        else:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_settle_all, told)


def _settle_all(results: Sequence[tuple[Item, Result]]) -> None:
    for item, result in results:
        if not item.future.done():
            _settle(item.future, result)


def _settle(future: Future[Answer] | asyncio.Future[Answer], result: Result) -> None:
    if isinstance(result, LeptonError):
        future.set_exception(result)
    else:
        future.set_result(result)
