"""What the routes of one worker share: the home, the engine, the batcher, the log and the threads.

Promises a start and an end in the right order. Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from core.home import Home
from core.preprocess import Modality, Row, modality
from service.access_log import AccessLog
from service.engine.admission import Admission
from service.engine.batcher import Answer, Batcher
from service.engine.engine import Engine
from service.engine.log import LogWriter
from service.engine.snapshot import Snapshot
from service.metrics import Metrics

SETTLE_SECONDS = 60.0

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Embedded:
    """A decoded and answered instance; ``example`` is the SHA-256 of its bytes, ``media`` what they are."""

    answer: Answer
    example: str
    media: str


@dataclass(frozen=True, kw_only=True)
class Context:
    """The parts of one worker.

    Attributes:
        decoding: threads that turn bytes into arrays.
        storing: threads that wait for the databases.
        predicting, telling: caps on instances and on labels that wait.
        worker: index of this process, from 1.
        access: the access log, where there is one.
    """

    home: Home
    engine: Engine
    batcher: Batcher
    log: LogWriter
    metrics: Metrics
    decoding: ThreadPoolExecutor
    storing: ThreadPoolExecutor
    predicting: Admission
    telling: Admission
    worker: str
    access: AccessLog | None

    def start(self) -> None:
        """Start the threads."""
        self.batcher.start()
        self.log.start()
        self.engine.start()

    async def settle(self) -> None:
        """Wait until what is registered serves or has failed, but not for ever: a worker takes no request before."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while not self.engine.settled() and self.alive() and time.monotonic() < deadline:
            await asyncio.sleep(0.01)

    def stop(self) -> None:
        """Answer what waits, write what waits, close everything."""
        self.engine.stop()
        self.decoding.shutdown()
        self.batcher.close()
        self.storing.shutdown()
        self.log.close()
        self.home.close()
        self.metrics.close()
        if self.access is not None:
            self.access.close()

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

    async def embed(self, snapshot: Snapshot, data: bytes) -> Embedded:
        """Read an example and let the snapshot answer it.

        Raises:
            TooLarge, UnsupportedMedia, InvalidInput: as the modality says.
            BrokenBundle: the model could not answer.
        """
        row, example, media = await self.decode(_open, snapshot, data)
        return Embedded(await self.batcher.run(snapshot, row), example, media)

    async def embed_picture(self, snapshot: Snapshot, picture: NDArray[np.uint8]) -> Embedded:
        """Let the snapshot answer a decoded picture, (H, W, 3) of its size; its identity is that of these pixels.

        Raises:
            BrokenBundle: the model could not answer.
        """
        example = await self.decode(digest_of_pixels, picture)
        return Embedded(await self.batcher.run(snapshot, Row({"image": picture})), example, "")


def digest(data: bytes) -> str:
    """The identity of an example: SHA-256 (hex) of its bytes."""
    return hashlib.sha256(data).hexdigest()


def digest_of_pixels(picture: NDArray[np.uint8]) -> str:
    """The identity of an example that came as (H, W, 3) pixels: SHA-256 (hex) of its shape in words and its bytes.

    The shape stands first, because the bytes of a wide picture may be those of a high one.
    """
    shape = "x".join(str(length) for length in picture.shape)
    return hashlib.sha256(f"uint8 {shape}\n".encode() + picture.tobytes()).hexdigest()


def modality_of(snapshot: Snapshot) -> Modality:
    """The modality that the snapshot's scene is of."""
    return modality(snapshot.scene.modality)


def _open(snapshot: Snapshot, data: bytes) -> tuple[Row, str, str]:
    return snapshot.preprocessor.read(data), digest(data), modality_of(snapshot).sniff(data)


async def _in(pool: ThreadPoolExecutor, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    return await asyncio.get_running_loop().run_in_executor(pool, lambda: work(*args, **kwargs))
