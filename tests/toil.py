"""What a child of a trainer does in tests: ``python -m tests.toil PROCESSOR_SECONDS MEGABYTES NICE WHAT FILE``."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path

from training.child import Limits, confine


def main(processor_seconds: str, megabytes: str, nice: str, what: str, file: str) -> None:
    confine(Limits(processor_seconds=int(processor_seconds), megabytes=int(megabytes), nice=int(nice)))
    if what == "print":
        for number in range(20000):
            print(f"line {number}")
    elif what == "remember":
        kept = bytearray(2**30)
        print(len(kept))
    elif what == "spin":
        while True:
            pass
    elif what == "tell":
        Path(file).write_text(f"{os.nice(0)} {tempfile.gettempdir()} {sys.stdin.read()!r}")
    elif what == "wait":
        _wait(Path(file))


def _wait(file: Path) -> None:
    """With a process of its own, until it is told to end; the file has the ids of both, then that it was tidied."""
    other = os.fork()
    if other == 0:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.pause()
    try:  # from before anybody can know of it: who does may end it at once
        file.with_suffix(".new").write_text(f"{os.getpid()} {other}")
        file.with_suffix(".new").replace(file)
        while True:
            signal.pause()
    finally:
        file.write_text("tidied")


if __name__ == "__main__":
    main(*sys.argv[1:])
