"""The service, the learner, a trainer and the console as processes of their own, for tests that break and kill them.

Promises that whatever a test starts here ends with it, by process id, killed or not, and that everything stays on the
loopback interface. Knows nothing of what is asked of the processes.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil

from core.config import DatabaseSettings, ServeSettings, Settings
from core.home import Home, open_home
from tests.waiting import until

READY_SECONDS = 60.0
STOP_SECONDS = 20.0
WORKER = "_bentoml_impl.worker.service"  # in the command line of every worker


class Running:
    """A process that was started here, with what it printed in ``log``."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], log: Path):
        self.log = log
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                list(command), env=environment, cwd=log.parent, stdout=out, stderr=out, start_new_session=True
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def told(self) -> str:
        """The end of what it printed."""
        return self.log.read_text(errors="replace")[-4000:]

    def family(self) -> list[psutil.Process]:
        """It and its children, as far as they live."""
        try:
            here = psutil.Process(self.pid)
            return [here, *here.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def kill(self) -> None:
        """SIGKILL to it and to all its children, and wait until they are gone."""
        family = self.family()
        for process in family:
            _signal(process, signal.SIGKILL)
        self.process.wait(STOP_SECONDS)
        _, left = psutil.wait_procs(family, STOP_SECONDS)
        assert not left, f"still alive after SIGKILL: {left}"

    def stop(self) -> None:
        """SIGTERM, as an operator would; SIGKILL where that does not end it."""
        family = self.family()
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
        for process in psutil.wait_procs(family, STOP_SECONDS)[1]:
            _signal(process, signal.SIGKILL)


class House:
    """A home with its service, its learner and a trainer, each started, killed and started again at will.

    Args:
        home: LEPTON_HOME.
        logs: where to write what the processes print; beside the home if None.
        settings: more variables, such as ``LEPTON_LEARNER_KEEP_REVISIONS``.
    """

    def __init__(self, home: Path, logs: Path | None = None, **settings: str):
        self.home = home
        self.logs = logs or home.parent
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = environment(home, **settings)
        self.service: Running | None = None
        self.learner: Running | None = None
        self.trainer: Running | None = None
        self.console: Running | None = None
        self.console_port = free_port()

    def open(self) -> Home:
        """The home itself, for looking beside the processes; close it."""
        database = DatabaseSettings(url=self.environment.get("LEPTON_DATABASE_URL", ""))
        return open_home(Settings(home=self.home, database=database, serve=ServeSettings(port=self.port)))

    def start_service(self, workers: int = 2) -> Running:
        """Start the service, and return as soon as it answers: one worker at least."""
        arguments = ["serve", "--workers", str(workers), "--port", str(self.port)]
        self.service = Running(lepton(*arguments), self.environment, self.logs / "service.log")
        self.wait_ready()
        return self.service

    def start_learner(self) -> Running:
        """Start the learner; it may take a lease's time to lead."""
        self.learner = Running(lepton("learner"), self.environment, self.logs / "learner.log")
        return self.learner

    def start_trainer(self) -> Running:
        """Start a trainer."""
        self.trainer = Running(lepton("trainer"), self.environment, self.logs / "trainer.log")
        return self.trainer

    def start_console(self) -> str:
        """Start the console, and return its address as soon as it answers."""
        address = f"http://127.0.0.1:{self.console_port}"
        environment = self.environment | {"LEPTON_SERVE_PORT": str(self.port)}
        command = lepton("console", "--port", str(self.console_port))
        running = self.console = Running(command, environment, self.logs / "console.log")

        def ready() -> bool:
            assert running.process.poll() is None, running.told()
            try:
                return httpx.get(address, trust_env=False, timeout=5).status_code == 200
            except httpx.TransportError:
                return False

        until(ready, READY_SECONDS)
        return address

    def wait_ready(self) -> None:
        """Return as soon as the service answers, and fail where it has ended instead."""

        def ready() -> bool:
            assert self.service is not None
            assert self.service.process.poll() is None, self.service.told()
            try:
                return httpx.get(f"{self.url}/readyz", trust_env=False, timeout=5).status_code == 200
            except httpx.TransportError:
                return False

        until(ready, READY_SECONDS)

    def workers(self) -> list[psutil.Process]:
        """The worker processes of the service that live."""
        assert self.service is not None
        return [process for process in self.service.family()[1:] if _is_worker(process)]

    def stop(self) -> None:
        """End all."""
        for running in (self.console, self.trainer, self.learner, self.service):
            if running is not None:
                running.stop()


@contextmanager
def house(home: Path, logs: Path | None = None, **settings: str) -> Iterator[House]:
    """A house whose processes end with the block."""
    made = House(home, logs, **settings)
    try:
        yield made
    finally:
        made.stop()


def lepton(*arguments: str) -> list[str]:
    """The command line ``lepton …``."""
    return [sys.executable, "-m", "lepton.main", *arguments]


def run(home: Path, *arguments: str, seconds: float = 60.0, **settings: str) -> subprocess.CompletedProcess[str]:
    """``lepton …`` to its end, as a user runs it."""
    return subprocess.run(
        lepton(*arguments),
        env=environment(home, **settings),
        cwd=next(folder for folder in home.parents if folder.is_dir()),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def environment(home: Path, **settings: str) -> dict[str, str]:
    """This process's environment with no setting of Lepton's but these; learner and trainer open no port, and ``up``
    starts no console."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LEPTON_")}
    silent = {f"LEPTON_{name}": "0" for name in ("LEARNER_METRICS_PORT", "TRAINER_METRICS_PORT", "CONSOLE_PORT")}
    return kept | {"LEPTON_HOME": str(home)} | silent | settings


def free_port() -> int:
    """A TCP port of the loopback interface that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _is_worker(process: psutil.Process) -> bool:
    try:
        return WORKER in process.cmdline()
    except psutil.Error:  # it has just ended
        return False


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
