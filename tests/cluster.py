"""A PostgreSQL server of the tests' own, on a free port of the loopback interface, with as many databases as it takes.

Promises that it runs as a user without rights, that its data are in a folder of its own, and that it ends with its
block, or with this process however that ends. What it keeps would not outlive the machine, where nobody asks for that.
Knows nothing of Lepton's tables.
"""

from __future__ import annotations

import itertools
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from tests.waiting import until

DEBIAN = Path("/usr/lib/postgresql")
PEOPLE = ("postgres", "nobody")  # who runs it where the tests run as root, which initdb refuses
QUICK = {"fsync": "off", "full_page_writes": "off"}  # a crash of the server loses nothing, one of the machine does
LEAN = {"shared_buffers": "16MB", "max_connections": "100", "listen_addresses": "127.0.0.1", "jit": "off"}
START_SECONDS = 30.0
PORTS = range(20_000, 32_000)  # of these Linux gives none away by itself: one of them is still free after a stop
ROLE = "lepton"


class Cluster:
    """A running server; ``password`` is the one of ``ROLE``, who owns what :meth:`fresh` makes."""

    def __init__(self, folder: Path, programs: Path, durable: bool):
        self.port = _steady_port()
        self.password = secrets.token_hex(12)
        self._programs = programs
        self._data = folder / "data"
        self._log = folder / "server.log"
        self._settings = LEAN | ({} if durable else QUICK) | {"unix_socket_directories": str(folder)}
        self._numbers = itertools.count(1)
        self._server: subprocess.Popen[bytes] | None = None
        secret = folder / "secret"
        secret.write_text(self.password)
        _hand_over(folder, secret)
        told = [
            "--auth=scram-sha-256",
            f"--username={ROLE}",
            f"--pwfile={secret}",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
        ]
        initdb = [str(programs / "initdb"), f"--pgdata={self._data}", "--no-sync", *told]
        subprocess.run([*_as_somebody(), *initdb], check=True, capture_output=True, cwd=folder)

    def start(self) -> None:
        """Start it, and return when it answers."""
        command = [str(self._programs / "postgres"), "-D", str(self._data), "-p", str(self.port)]
        for name, value in self._settings.items():
            command += ["-c", f"{name}={value}"]
        with self._log.open("ab") as log:
            self._server = subprocess.Popen(
                [*_as_somebody(), *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._log.parent
            )
        until(self._answers, START_SECONDS)

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT cuts its connections and stops it, SIGQUIT is as good as a crash."""
        if self._server is not None:
            self._server.send_signal(how)
            self._server.wait(START_SECONDS)
            self._server = None

    def fresh(self, template: str = "template1") -> str:
        """The address of a new database, a copy of ``template``."""
        name = f"test_{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def url(self, name: str, role: str = ROLE, password: str | None = None) -> str:
        """The address of a database."""
        return f"postgresql://{role}:{password or self.password}@127.0.0.1:{self.port}/{name}"

    def run(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """What a statement answers, run by the superuser outside transactions."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def _answers(self) -> bool:
        assert self._server is not None and self._server.poll() is None, self._log.read_text()[-2000:]
        try:
            self.run("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def cluster(programs: Path, *, durable: bool = False) -> Iterator[Cluster]:
    """A running server, until the end of the block."""
    folder = Path(tempfile.mkdtemp(prefix="lepton-postgres-"))  # not below a folder that others may not enter
    try:
        made = Cluster(folder, programs, durable)
        try:
            made.start()
            yield made
        finally:
            made.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def programs() -> Path | None:
    """The folder of ``initdb`` and ``postgres``, the newest; None where there is none, or no way to run them."""
    found = sorted(DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3])) if DEBIAN.is_dir() else []
    there = shutil.which("initdb") or (str(found[-1]) if found else None)
    return Path(there).resolve().parent if there and shutil.which("setpriv") else None


def _steady_port() -> int:
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port


def _as_somebody() -> Sequence[str]:
    """How to run a program so that it ends with us and, where we are root, as somebody without rights."""
    begin = ["setpriv", "--pdeathsig", "INT"]
    if os.geteuid() != 0:
        return begin
    who = _somebody()
    return [*begin, f"--reuid={who.pw_uid}", f"--regid={who.pw_gid}", "--clear-groups", "--"]


def _hand_over(*places: Path) -> None:
    if os.geteuid() == 0:
        for place in places:
            os.chown(place, _somebody().pw_uid, _somebody().pw_gid)


def _somebody() -> pwd.struct_passwd:
    for name in PEOPLE:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise LookupError(f"this system has none of the users {', '.join(PEOPLE)}")
