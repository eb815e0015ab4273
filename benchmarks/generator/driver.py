"""The generator as a process of its own, so that a server under measurement and what measures it share no interpreter.

Promises that the process ends with its block. Knows nothing of what is measured.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import threading
from multiprocessing.connection import Connection as Pipe
from types import TracebackType
from typing import Self

import uvloop

from benchmarks.generator.loops import ClosedLoop, OpenLoop
from benchmarks.generator.plans import Open, Plan
from benchmarks.generator.record import Record

START_SECONDS = 60.0
STOP = "stop"


class Generator:
    """One load at a time; a context manager."""

    def __enter__(self) -> Self:
        context = multiprocessing.get_context("spawn")
        self._pipe, there = context.Pipe()
        self._process = context.Process(target=_main, args=(there,), daemon=True)
        self._process.start()
        there.close()
        if not self._pipe.poll(START_SECONDS):
            self._process.kill()
            raise TimeoutError(f"the load generator did not start within {START_SECONDS:.0f} s")
        self._pipe.recv()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def run(self, plan: Plan) -> Record:
        """The whole plan."""
        self.start(plan)
        return self.result()

    def start(self, plan: Plan) -> None:
        """Begin, and return at once."""
        self._pipe.send(plan)

    def stop(self) -> Record:
        """End what was started before its time."""
        self._pipe.send(STOP)
        return self.result()

    def result(self) -> Record:
        """Wait for what was started.

        Raises:
            RuntimeError: the load went wrong, which is a fault of the generator.
        """
        try:
            told = self._pipe.recv()
        except EOFError:
            raise RuntimeError("the load generator has died") from None
        if isinstance(told, Record):
            return told
        raise RuntimeError(f"the load generator failed: {told}")


def _main(pipe: Pipe) -> None:
    gc.disable()  # a load makes no cycles; the loops collect before each
    uvloop.run(_serve(pipe))


async def _serve(pipe: Pipe) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    running: list[OpenLoop | ClosedLoop] = []
    tasks: set[asyncio.Task[None]] = set()

    async def run(held: OpenLoop | ClosedLoop) -> None:
        try:
            record: Record | str = await held.run()
        except Exception as error:
            record = f"{type(error).__name__}: {error}"
        running.clear()
        await asyncio.to_thread(pipe.send, record)

    def told(message: Plan | str) -> None:
        if isinstance(message, str):
            for held in running:
                held.stop()
            return
        running.append(OpenLoop(message) if isinstance(message, Open) else ClosedLoop(message))
        task = loop.create_task(run(running[0]))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def listen() -> None:  # in a thread: an event loop would make the pipe one that does not block
        while True:
            try:
                message = pipe.recv()
            except EOFError:
                loop.call_soon_threadsafe(ended.set)
                return
            loop.call_soon_threadsafe(told, message)

    threading.Thread(target=listen, daemon=True).start()
    pipe.send("ready")
    await ended.wait()
