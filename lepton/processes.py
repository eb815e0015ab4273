"""``serve``, ``learner``, ``trainer``, ``up``: the processes, each alone or all together."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time

import typer

from core import config
from core.config import Settings
from core.home import open_home
from lepton.output import say

RESTART_SECONDS = 1.0  # before the first restart of a process that died; doubled each time, up to the longest
LONGEST_RESTART = 30.0
STEADY_SECONDS = 60.0  # a process that has run this long is restarted at once again
STOP_SECONDS = 15.0
WORKERS = typer.Option(None, help="Worker processes.")
PORT = typer.Option(None, help="TCP port.")
HOST = typer.Option(None, help="Address to listen on.")


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("serve")(serve)
    app.command("learner")(learn)
    app.command("trainer")(train)
    app.command("up")(up)


def serve(workers: int = WORKERS, port: int = PORT, host: str = HOST) -> None:
    """Serve every scene of this home over HTTP."""
    from service import run

    settings = _settings(workers, port, host)
    open_home(settings).close()
    os.environ.update(run.environment(settings))
    command = run.command(settings)
    os.execv(command[0], command)


def learn() -> None:
    """Turn labels into head revisions; run one or more, one leads."""
    # prometheus_client looks at it when it is imported; the learner would count on the service's page.
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    from learner.bootstrap import run

    run(config.load())


def train(
    once: bool = typer.Option(
        False, "--once", help="End when nothing is left in the queue; exit 1 where a job failed."
    ),
) -> None:
    """Do the jobs that are filed, one after the other; run as many as the machines bear."""
    os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)
    from training.bootstrap import run

    if not run(config.load(), once=once):
        raise typer.Exit(1)


def up(workers: int = WORKERS, port: int = PORT, host: str = HOST) -> None:
    """Run the service, the learner and, where they are installed, a trainer and the console until stopped."""
    from service import run

    settings = _settings(workers, port, host)
    open_home(settings).close()
    environment = os.environ | run.environment(settings)
    commands = {"service": run.command(settings), "learner": [sys.executable, "-m", "lepton.main", "learner"]}
    if importlib.util.find_spec("torch") is not None:
        commands["trainer"] = [sys.executable, "-m", "lepton.main", "trainer"]
    if settings.console.port and importlib.util.find_spec("nicegui") is not None:
        commands["console"] = [sys.executable, "-m", "lepton.main", "console"]
    stop = threading.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        signal.signal(name, lambda *_: stop.set())
    say(f"serving {settings.home} on http://{settings.serve.host}:{settings.serve.port} (API page: /docs)")
    if "console" in commands:
        say(f"console on http://{settings.console.host}:{settings.console.port}")
    children = [_Child(name, command, environment) for name, command in commands.items()]
    try:
        while not stop.wait(0.2):
            for child in children:
                child.watch()
    finally:
        for child in children:
            child.stop()


class _Child:
    """A process that is started again, with growing patience, when it dies."""

    def __init__(self, name: str, command: list[str], environment: dict[str, str]):
        self._name, self._command, self._environment = name, command, environment
        self._patience, self._start_at = RESTART_SECONDS, 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._start()

    def watch(self) -> None:
        """Start it again where it has died."""
        now = time.monotonic()
        if self._process is None:
            if now >= self._start_at:
                self._start()
            return
        code = self._process.poll()
        if code is None:
            return
        self._patience = RESTART_SECONDS if now - self._started > STEADY_SECONDS else self._patience
        say(f"the {self._name} ended with exit code {code}; starting it again in {self._patience:.0f} s")
        self._process, self._start_at = None, now + self._patience
        self._patience = min(2 * self._patience, LONGEST_RESTART)

    def stop(self) -> None:
        """Ask it to end, and end it where it does not."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _start(self) -> None:
        self._process, self._started = subprocess.Popen(self._command, env=self._environment), time.monotonic()


def _settings(workers: int | None, port: int | None, host: str | None) -> Settings:
    settings = config.load()
    held = settings.serve
    serve = dataclasses.replace(
        held,
        workers=held.workers if workers is None else workers,
        port=held.port if port is None else port,
        host=host or held.host,
    )
    return dataclasses.replace(settings, serve=serve)
