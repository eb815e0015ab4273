"""Our own long work in a process of its own, with limits; what it prints is kept.

Promises that nothing of it outlives it or its trainer: it is a process group, which is ended as a whole, and a watcher
in the group ends it where the trainer dies without a word. Knows nothing of what the work is. Foreign work, which may
write no file and see no network, has ``core.confined`` instead.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

GRACE_SECONDS = 1.0  # between the request to end and the end
CHUNK = 64 * 2**10
MEBIBYTE = 2**20


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the process may use: seconds of the processor, MiB of memory that it writes to, and its niceness."""

    processor_seconds: int
    megabytes: int
    nice: int


class Child:
    """The process, from outside.

    Args:
        module: that is run, with ``arguments`` after the three of ``confine``.
        folder: of its log and its temporary files; made here.
        log_bytes: of the log, at most; the oldest words go first.
    """

    def __init__(self, module: str, arguments: Sequence[str], folder: Path, limits: Limits, log_bytes: int, home: Path):
        self._temporary = folder / "tmp"
        self._temporary.mkdir(parents=True, exist_ok=True)
        told = [str(limits.processor_seconds), str(limits.megabytes), str(limits.nice)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *told, *arguments],
            env=os.environ | {"LEPTON_HOME": str(home), "TMPDIR": str(self._temporary), "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert self._process.stdout is not None, "it was asked for"
        self._pump = threading.Thread(target=_pump, args=(self._process.stdout, folder / "log", log_bytes), daemon=True)
        self._pump.start()

    def wait(self, seconds: float) -> int | None:
        """Its exit code, below zero where a signal ended it; None where it still runs after so long."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def close(self) -> None:
        """End it where it runs: with a word first, then by force, and with all that it started."""
        if self._process.poll() is None:
            self._process.terminate()
            self.wait(GRACE_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # the watcher keeps the group's number from being given again
        self._process.wait()
        assert self._process.stdin is not None, "it was asked for"
        self._process.stdin.close()
        self._pump.join(GRACE_SECONDS)
        shutil.rmtree(self._temporary, ignore_errors=True)


def confine(limits: Limits) -> None:
    """Limit this process, from inside, before it imports anything heavy; SIGTERM becomes SystemExit."""
    if os.fork() == 0:
        _watch()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.nice(limits.nice)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (limits.processor_seconds, limits.processor_seconds + 1))
    most = limits.megabytes * MEBIBYTE
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # what is typed at the terminal is meant for the trainer


def memory_of_machine() -> int:
    """MiB of memory that this machine, or the container around this process, has."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError):
        pages = min(pages, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return pages // MEBIBYTE


def _watch() -> None:
    """End the whole group, this process included, when the trainer's end of the pipe closes."""
    while os.read(0, 1):
        pass
    os.killpg(0, signal.SIGKILL)


def _pump(source: IO[bytes], log: Path, most: int) -> None:
    """What comes from ``source`` to the log; words that cannot be written are dropped, so that the work goes on."""
    with source:
        while chunk := os.read(source.fileno(), CHUNK):
            with contextlib.suppress(OSError):
                _keep(log, chunk[-(most // 2) :], most)


def _keep(log: Path, chunk: bytes, most: int) -> None:
    """Add to the log, of which the last half at least is kept."""
    if log.exists() and log.stat().st_size + len(chunk) > most // 2:
        log.replace(log.with_suffix(".1"))
    with log.open("ab") as file:
        file.write(chunk)
