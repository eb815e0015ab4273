"""Writes the prediction log in a process of its own; the one that answers hands it over.

Promises that what ``append`` returned from is on disk, whatever becomes of either process; that a process which dies is
started again by the next call, and its group can be given once more; and that rows which kill it are told from a
process that cannot be had. It ends when the pipe to it closes, and by no signal: what was handed over is written even
where the worker is killed. Knows nothing of when to write.

Why not a thread: Python's work on a row, in whichever thread, holds answers up for as long as it takes.

A message is frames: a head (``Order``), then as many parts of a group as it says. A frame is its length in 4 bytes and
MessagePack. Every message has one answer (``Told``), and so has the start.
"""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

import msgspec
from sqlalchemy.exc import OperationalError

from core.config import DatabaseSettings
from core.database import open_predictions
from core.errors import LeptonError, Unavailable
from core.predictions import PredictionLog
from service.engine.record import Packed, rows

logger = logging.getLogger(__name__)

SECONDS = 90.0  # for an answer; a database that is locked is waited for 30
PART = 256  # predictions in a frame: encoding it holds the interpreter's lock
PART_BYTES = 2**20  # of inputs in a frame, about
NICE = 5  # who answers goes first; where all processors are busy a quarter of one is left, and it takes an eighth
DEATHS = 2  # in a row, after which its rows are taken for the cause

_ROOT = Path(__file__).parents[2]
_LENGTH = 4  # bytes
_ENCODER = msgspec.msgpack.Encoder()


class NotWritten(Exception):
    """A group cannot be written, and could not be if it was given again."""


class Place(msgspec.Struct):
    """Where the log is."""

    home: str
    database: DatabaseSettings


class Order(msgspec.Struct):
    """A group is to be written, of which so many parts follow."""

    parts: int


class Told(msgspec.Struct):
    """What came of it: nothing to tell, or why nothing did and whether it is worth trying again."""

    error: str = ""
    again: bool = False


class Scribe:
    """The process as the thread sees it that hands groups over.

    Args:
        home, settings: where the log is.
    """

    command: Sequence[str] = (sys.executable, "-m", "service.engine.scribe")

    def __init__(self, home: Path, settings: DatabaseSettings) -> None:
        self._place = Place(str(home.absolute()), settings)
        self._child: subprocess.Popen[bytes] | None = None
        self._greeted = False
        self._deaths = 0

    @property
    def pid(self) -> int | None:
        """Of the process, where one runs."""
        return self._child.pid if self._child is not None else None

    def start(self) -> None:
        """Start the process ahead of the first group, which waits until it has opened the log."""
        with suppress(OSError):  # then the first group tells
            self._begin()

    def append(self, group: Sequence[Packed]) -> None:
        """Write a group of predictions in one transaction; those that are there already are kept as they are.

        Raises:
            Unavailable: it is worth trying again. NotWritten: it is not.
        """
        parts = list(_parts(group))
        self._ask([Order(len(parts)), *parts])

    def close(self) -> None:
        """End the process, after what it was given."""
        if self._child is not None:
            _pipe(self._child.stdin).close()
            try:
                self._child.wait(SECONDS)
            except subprocess.TimeoutExpired:
                logger.error("the process that writes the prediction log did not end; it is killed")
            self._bury()

    def _begin(self) -> subprocess.Popen[bytes]:
        path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
        self._greeted = False
        self._child = subprocess.Popen(
            self.command,
            env=os.environ | {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            process_group=0,  # what is typed at the terminal is meant for who asked
        )
        _write(_pipe(self._child.stdin), self._place)
        return self._child

    def _ask(self, frames: Sequence[object]) -> None:
        if self._child is not None and self._greeted and self._child.poll() is not None:
            logger.warning("the process that writes the prediction log has ended; another one is started")
            self._bury()  # between two groups: nothing was lost
        try:
            child = self._child or self._begin()
            if not self._greeted:
                _heard(child)
                self._greeted = True
            for frame in frames:
                _write(_pipe(child.stdin), frame)
            told = _heard(child)
        except (OSError, EOFError) as error:
            self._deaths += self._greeted
            self._bury()
            if self._deaths >= DEATHS:
                raise NotWritten("the process that writes the prediction log dies of it") from error
            raise Unavailable(
                f"the process that writes the prediction log has ended: {error}", "it is started again by itself"
            ) from error
        self._deaths = 0
        if told.error and told.again:
            raise Unavailable(told.error, "it is tried again by itself")
        if told.error:
            raise NotWritten(told.error)

    def _bury(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            for pipe in (child.stdin, child.stdout):
                with suppress(OSError):  # what it was never told is still in the buffer
                    _pipe(pipe).close()
            child.wait()
        self._greeted = False


def work(orders: IO[bytes], answers: IO[bytes]) -> None:
    """What the process does: orders until there are no more."""
    if (head := _read(orders)) is None:
        return
    place = msgspec.msgpack.decode(head, type=Place)
    try:
        log = PredictionLog(open_predictions(Path(place.home), place.database))
    except LeptonError as error:
        sys.exit(f"the prediction log cannot be opened: {error}")
    _write(answers, Told())
    while (head := _read(orders)) is not None:
        order = msgspec.msgpack.decode(head, type=Order)
        parts = [part for _ in range(order.parts) if (part := _read(orders)) is not None]
        if len(parts) < order.parts:
            break  # who gave it out has died over it
        _write(answers, _done(log, parts))
    log.database.close()


def _done(log: PredictionLog, parts: Sequence[bytes]) -> Told:
    try:
        log.write(*rows(Packed(*each) for part in parts for each in msgspec.msgpack.decode(part)))
    except (Unavailable, OperationalError) as error:
        return Told(error=str(error), again=True)
    except Exception as error:
        return Told(error=f"{type(error).__name__}: {error}")
    return Told()


def _parts(group: Sequence[Packed]) -> Iterator[list[Packed]]:
    """The group in pieces that are not held long."""
    part, size = list[Packed](), 0
    for packed in group:
        part.append(packed)
        size += packed.size
        if len(part) == PART or size >= PART_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


def _heard(child: subprocess.Popen[bytes]) -> Told:
    """The next answer.

    Raises:
        EOFError: there is none.
    """
    pipe, patience = _pipe(child.stdout), select.poll()
    patience.register(pipe, select.POLLIN)
    if not patience.poll(1000 * SECONDS):
        raise EOFError(f"no answer within {SECONDS:g} s")
    data = _read(pipe)
    if data is None:
        raise EOFError(f"exit status {child.wait(SECONDS)}")
    return msgspec.msgpack.decode(data, type=Told)


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    assert pipe is not None, "the process has pipes"
    return pipe


def _write(pipe: IO[bytes], message: object) -> None:
    data = _ENCODER.encode(message)
    pipe.write(len(data).to_bytes(_LENGTH, "little"))
    pipe.write(data)
    pipe.flush()


def _read(pipe: IO[bytes]) -> bytes | None:
    """A frame; None where there are no more, or the last one was cut off."""
    head = pipe.read(_LENGTH)
    length = int.from_bytes(head, "little")
    data = pipe.read(length) if len(head) == _LENGTH else b""
    return data if len(head) == _LENGTH and len(data) == length else None


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.nice(NICE)
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # whatever else is printed is no answer
        work(sys.stdin.buffer, answers)
