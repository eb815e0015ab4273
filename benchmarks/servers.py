"""Servers under load: ours as ``lepton serve`` starts it, or a peer in its own environment.

Promises a server that has answered before it is given, that it ends with its block with all that it started, and that
one which is paused takes no time from another. Knows nothing of what is measured.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from benchmarks.generator.http1 import Answer, Unreadable, ask
from benchmarks.peers.environments import environment
from benchmarks.peers.listing import Peer
from benchmarks.stack import START_SECONDS, WORKER, free_port

ROOT = Path(__file__).parents[1]
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
STOP_SECONDS = 15.0
TRIAL_SECONDS = 2.0  # for one try whether it answers yet


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running server: what it is called, where it listens, and one request that it answers."""

    name: str
    port: int
    pid: int
    requests: Sequence[bytes] = field(repr=False)
    first: Answer = field(repr=False)

    def family(self) -> list[psutil.Process]:
        """Its process and all below it."""
        here = psutil.Process(self.pid)
        return [here, *here.children(recursive=True)]

    def workers(self) -> list[psutil.Process]:
        """Of ours: the worker processes."""
        return [process for process in self.family() if WORKER in process.cmdline()]

    def pause(self) -> None:
        """Stop all its processes until :meth:`resume`."""
        for process in self.family():
            process.suspend()

    def resume(self) -> None:
        """Let them go on."""
        for process in reversed(self.family()):
            process.resume()


@contextmanager
def lepton(
    home: Path, requests: Sequence[bytes], *, name: str = "Lepton", workers: int = 1, settings: Mapping[str, str] = {}
) -> Iterator[Server]:
    """The service on ``home``; ``settings`` are variables without ``LEPTON_``."""
    port = free_port()
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("LEPTON_", "PYTHONPATH"))}
    variables = kept | {"LEPTON_HOME": str(home)} | {f"LEPTON_{key}": value for key, value in settings.items()}
    command = [sys.executable, "-m", "lepton.main", "serve", "--workers", str(workers), "--port", str(port)]
    log = home / f"serve-{port}.log"
    with _running(command, home, variables, log) as process:
        first = _wait(port, requests[0], process, log)
        yield Server(name=name, port=port, pid=process.pid, requests=requests, first=first)


@contextmanager
def peer(held: Peer, kind: str, model: Path, requests: Sequence[bytes], logs: Path) -> Iterator[Server]:
    """A peer that serves ``model`` (``kind`` is ``tiny`` or ``image``).

    Raises:
        NotInstalled: it has no environment here.
    """
    python, port, log = environment(held.environment), free_port(), logs / f"{held.environment}-{kind}.log"
    given = {"MODEL": str(model), "PORT": str(port), "KIND": kind, "THREADS": str(CORES), "CORES": str(CORES)}
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "LEPTON_"))}
    bento = {"BENTOML_HOME": str(logs / "bentoml"), "BENTOML_DO_NOT_TRACK": "True"}
    variables = kept | bento | {f"PEER_{key}": value for key, value in given.items()}
    command = [str(python), "-m", f"benchmarks.peers.{held.module}"]
    with _running(command, ROOT, variables, log) as process:
        first = _wait(port, requests[0], process, log)
        yield Server(name=held.name, port=port, pid=process.pid, requests=requests, first=first)


@contextmanager
def _running(
    command: Sequence[str], folder: Path, variables: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        process = subprocess.Popen(
            list(command), cwd=folder, env=dict(variables), stdout=out, stderr=out, start_new_session=True
        )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the group's leader to end, then end whatever is left of the group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGCONT)
        process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _wait(port: int, request: bytes, process: subprocess.Popen[bytes], log: Path) -> Answer:
    """The first answer with status 200.

    Raises:
        TimeoutError: there was none in time, or the process has ended.
    """
    deadline, said = time.monotonic() + START_SECONDS, ""
    while time.monotonic() < deadline and process.poll() is None:
        try:
            answer = ask(port, request, TRIAL_SECONDS)
            if answer.status == 200:
                return answer
            said = f"it answers {answer.status}: {answer.body[:300]!r}; "
        except (OSError, Unreadable):
            pass  # nobody listens yet, or nobody is ready
        time.sleep(0.1)
    raise TimeoutError(f"{' '.join(process.args)[-80:]}: {said}its last lines: {log.read_text()[-1500:]}")  # type: ignore[arg-type]
