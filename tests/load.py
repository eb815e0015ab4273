"""Open-loop load on the service, from a process of its own: ``python -m tests.load URL PICTURES OUT RATE``.

Promises that request i leaves at start + i / rate whatever the answers do, that nothing is sent twice, and that every
answer and every failure is written down, with its latency from the moment at which it was to leave. Runs until SIGTERM.
Knows nothing of what a right answer is.
"""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).parents[1]
THREADS = 24
REUSED = 8  # requests before a connection is closed and another one opened: often enough that no worker has them all
TIMEOUT = 30.0
MOST = 100_000


@dataclass
class Answer:
    """What came of one request: ``status`` 0 where nothing came; ``latency`` in seconds."""

    picture: str
    status: int
    latency: float
    worker: str = ""
    body: dict[str, Any] = field(default_factory=dict)
    error: str = ""


@contextmanager
def under_load(url: str, pictures: Path, out: Path, rate: float) -> Iterator[None]:
    """Load from another process for as long as the block lasts; ``answers(out)`` has what came of it."""
    command = [sys.executable, "-m", "tests.load", url, str(pictures), str(out), str(rate)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"started\n"
            yield
            assert process.poll() is None, "the load ended before its time"
        finally:
            process.terminate()
            process.wait(TIMEOUT)


def answers(out: Path) -> list[Answer]:
    """What came of all requests."""
    return [Answer(**json.loads(line)) for line in out.read_text().splitlines()]


class _Sender:
    """Every ``THREADS``-th request of the schedule, over one connection at a time."""

    def __init__(self, url: str, pictures: list[Path], rate: float, start: float, stop: threading.Event):
        self.answers: list[Answer] = []
        self._address = urlsplit(url)
        self._pictures = [(picture.name, picture.read_bytes()) for picture in pictures]
        self._rate, self._start, self._stop = rate, start, stop
        self._connection: http.client.HTTPConnection | None = None

    def run(self, first: int) -> None:
        for number in range(first, MOST, THREADS):
            due = self._start + number / self._rate
            if self._stop.wait(max(0.0, due - time.monotonic())):
                break
            if len(self.answers) % REUSED == 0:
                self._close()
            name, data = self._pictures[number % len(self._pictures)]
            answer = self._ask(name, data)
            answer.latency = time.monotonic() - due
            self.answers.append(answer)
        self._close()

    def _ask(self, name: str, data: bytes) -> Answer:
        if self._connection is None:
            assert self._address.hostname
            self._connection = http.client.HTTPConnection(self._address.hostname, self._address.port, timeout=TIMEOUT)
        try:
            self._connection.request("POST", "/v1/scenes/shapes/predict", data, {"content-type": "image/png"})
            told = self._connection.getresponse()
            body = told.read()
            return Answer(name, told.status, 0.0, told.headers.get("Lepton-Worker", ""), json.loads(body))
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._close()
            return Answer(name, 0, 0.0, error=repr(error))

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None


def main(url: str, pictures: Path, out: Path, rate: float) -> None:
    """Send until SIGTERM, then write what came."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    files, start = sorted(pictures.iterdir()), time.monotonic()
    senders = [_Sender(url, files, rate, start, stop) for _ in range(THREADS)]
    threads = [threading.Thread(target=sender.run, args=(first,)) for first, sender in enumerate(senders)]
    for thread in threads:
        thread.start()
    print("started", flush=True)
    for thread in threads:
        thread.join()
    lines = [json.dumps(asdict(answer)) for sender in senders for answer in sender.answers]
    out.write_text("\n".join(lines))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), float(sys.argv[4]))
