"""What the routes of one worker share: the home, the engine, the batcher, the log and the threads.

Promises a start and an end in the right order. Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from core.home import Home
from service.access_log import AccessLog
from service.engine.admission import Admission, Gate
from service.engine.batcher import Batcher
from service.engine.engine import Engine
from service.engine.heart import Heart
from service.engine.log import LogWriter
from service.engine.queues import Answer
from service.engine.scribe import Scribe
from service.engine.shadows import Shadows
from service.engine.snapshot import Snapshot
from service.engine.stopwatch import Stopwatch
from service.metrics import Metrics
from service.reading import Ready, of_bytes
from service.tracing import Tracing

SETTLE_SECONDS = 60.0

P = ParamSpec("P")
R = TypeVar("R")


# Asked of the headers, the scene and the number of instances of a request before they may wait: the place of limits by
# key. It raises a LeptonError to refuse, an Overloaded with the reason "key" where there were too many.
Limiter = Callable[[Mapping[bytes, bytes], str, int], None]


@dataclass(frozen=True, kw_only=True)
class Context:
    """The parts of one worker.

    Attributes:
        scribe: writes the prediction log in a process of its own.
        log: gathers what it writes.
        decoding: threads that turn bytes into arrays.
        storing: threads that wait for the databases.
        predicting, telling: caps on instances and on labels that wait.
        shadows: answers copies of the traffic, for a challenger.
        heart: tells the other workers what this one serves.
        stopwatch: tells how long requests took.
        worker: index of this process, from 1.
        access: the access log, where there is one.
        tracing: where spans go, where they are asked for.
        limiter: limits by key, where there are any.
    """

    home: Home
    engine: Engine
    batcher: Batcher
    scribe: Scribe
    log: LogWriter
    metrics: Metrics
    decoding: ThreadPoolExecutor
    storing: ThreadPoolExecutor
    predicting: Gate
    telling: Admission
    shadows: Shadows
    heart: Heart
    stopwatch: Stopwatch
    worker: str
    access: AccessLog | None
    tracing: Tracing | None = None
    limiter: Limiter | None = None

    def start(self) -> None:
        """Start the threads."""
        self.metrics.start()
        if self.home.settings.serve.log_predictions:
            self.scribe.start()
        self.batcher.start()
        self.log.start()
        self.shadows.start()
        self.engine.start()
        self.heart.start()
        self.stopwatch.start()

    async def settle(self) -> None:
        """Wait until what is registered serves or has failed, but not for ever: a worker takes no request before."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while not self.engine.settled() and self.alive() and time.monotonic() < deadline:
            await asyncio.sleep(0.01)
        gc.collect()
        gc.set_threshold(50_000)  # what waits to be logged is a thousand records, none of them garbage
        gc.freeze()  # what is here stays: looking through it again would hold requests up for 70 ms now and then

    def stop(self) -> None:
        """Answer what waits, write what waits, close everything."""
        self.heart.stop()
        self.engine.stop()
        self.shadows.close()
        self.decoding.shutdown()
        self.batcher.close()
        self.storing.shutdown()
        self.log.close()
        self.scribe.close()
        self.stopwatch.stop()
        self.home.close()
        self.metrics.close()
        if self.access is not None:
            self.access.close()
        if self.tracing is not None:
            self.tracing.close()

    def alive(self) -> bool:
        """Whether all threads run."""
        return self.engine.alive() and self.batcher.alive() and self.log.alive()

    def ready(self) -> bool:
        """Whether requests can be answered."""
        return self.engine.ready() and self.alive()

    async def decode(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run ``work`` where the processor is busy anyway."""
        return await _in(self.decoding, work, *args, **kwargs)

    async def store(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run ``work`` where the disk may be waited for."""
        return await _in(self.storing, work, *args, **kwargs)

    async def embed(self, snapshot: Snapshot, data: bytes) -> tuple[Ready, Answer]:
        """Read an example and let the snapshot answer it.

        Raises:
            TooLarge, UnsupportedMedia, InvalidInput: as the modality says.
            BrokenBundle: the model could not answer.
        """
        read = await self.decode(of_bytes, snapshot, data)
        return read, await self.batcher.enqueue(snapshot, read.row)


async def _in(pool: ThreadPoolExecutor, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    return await asyncio.get_running_loop().run_in_executor(pool, lambda: work(*args, **kwargs))
