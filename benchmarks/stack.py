"""The real processes on one home: the service with its workers, and a learner, as ``lepton up`` starts them.

Promises a free port, and that whatever was started is ended with the block. Knows nothing of what is measured.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.wire import Wire

START_SECONDS = 120.0
STOP_SECONDS = 30.0
HOST = "127.0.0.1"
WORKER = "_bentoml_impl.worker.service"  # the module that BentoML runs in a worker


@dataclass(frozen=True)
class Stack:
    """Running processes: where they answer, and the process that holds them all."""

    port: int
    pid: int

    def workers(self) -> list[psutil.Process]:
        """The service's worker processes."""
        return [child for child in psutil.Process(self.pid).children(recursive=True) if WORKER in child.cmdline()]


@contextmanager
def running(home: Path, *, workers: int = 2, python: Path | str = sys.executable) -> Iterator[Stack]:
    """Service and learner on ``home``, ready to answer; their output goes to ``up.log`` beside its databases.

    Args:
        home: a LEPTON_HOME with at least one version.
        workers: worker processes of the service.
        python: interpreter of the environment that Lepton is installed in.

    Raises:
        TimeoutError: the service did not become ready; the message names the log.
    """
    port, log = free_port(), home / "up.log"
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LEPTON_", "PYTHONPATH"))}
    environment = kept | {"LEPTON_HOME": str(home), "LEPTON_LEARNER_METRICS_PORT": "0"}
    command = [str(python), "-m", "lepton.main", "up", "--workers", str(workers), "--port", str(port)]
    with log.open("wb") as out:
        up = subprocess.Popen(
            command, cwd=home, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            wait_ready(port, up, log)
            yield Stack(port, up.pid)
        finally:
            stop(up)


def wait_ready(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when ``/readyz`` answers 200.

    Raises:
        TimeoutError: it did not in time, or the process has ended.
    """
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with Wire(HOST, port) as wire:
                if wire.status("/readyz") == 200:
                    return
        except (OSError, http.client.HTTPException):
            pass  # nobody listens yet
        time.sleep(0.1)
    raise TimeoutError(f"the service did not become ready; its last lines: {log.read_text()[-2000:]}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """Ask a process to end with all that it started, and end it where it does not; it leads a process group."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port() -> int:
    """A TCP port of the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port
