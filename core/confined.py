"""Foreign work in a child process with limits: what crashes, swallows memory or never ends does so there.

Promises that the caller gets an answer or a reason, and that the child ends with it. The child sees no secret of the
environment, writes no file and, where the kernel lets it, has no network. Knows nothing of what the work is.

It is a fence against faults, not a sandbox: code that takes the child over may still read what this user may read.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import math
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import LeptonError

Work = Callable[[Sequence[str], bytes], Mapping[str, Any]]  # arguments, data → what can be written as JSON

_ROOT = Path(__file__).parents[1]
_KEPT = ("PATH", "LD_LIBRARY_PATH", "LANG", "SYSTEMROOT")  # of the environment
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38  # of prctl(2)
_NEW_USER, _NEW_NET = 0x10000000, 0x40000000  # of unshare(2)
_FILES = 256  # open at a time
_STOPPED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)  # somebody ends the program; the work is not to blame
_OUT_OF_MEMORY = ("bad_alloc", "Failed to allocate memory", "bad allocation", "cannot allocate memory")


@dataclass(frozen=True)
class Outcome:
    """What the child told, or the reason why it told nothing; ``stopped``: somebody ended it from outside."""

    told: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    stopped: bool = False


class Leash:
    """Holds a child while it works; one thread at a time has work done on it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._pulled = False

    def pull(self) -> None:
        """End the child that works, and any that is put on later; from any thread."""
        with self._lock:
            self._pulled = True
            if self._child is not None:
                self._child.terminate()

    @contextmanager
    def on(self, child: subprocess.Popen[bytes]) -> Iterator[None]:
        """Hold a child as long as the block runs."""
        with self._lock:
            self._child = child
            if self._pulled:
                child.terminate()
        try:
            yield
        finally:
            with self._lock:
                self._child = None


def run(
    module: str,
    arguments: Sequence[str],
    data: bytes = b"",
    *,
    seconds: float,
    megabytes: int,
    leash: Leash | None = None,
) -> Outcome:
    """Have ``module.work(arguments, data)`` done in a child.

    Args:
        seconds: by the wall clock, its start included.
        megabytes: of memory that the child may write to, its libraries' (about 250) included.
        leash: by which another thread may end the child.
    """
    command = [sys.executable, "-m", "core.confined", str(os.getpid()), str(seconds), str(megabytes), module]
    kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
    environment = kept | {"PYTHONPATH": str(_ROOT), "PYTHONDONTWRITEBYTECODE": "1", "OPENBLAS_NUM_THREADS": "1"}
    child = subprocess.Popen(
        [*command, *arguments],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # what is typed at the terminal is meant for who asked
    )
    try:
        with (leash or Leash()).on(child):
            said, _ = child.communicate(data, timeout=seconds)
    except subprocess.TimeoutExpired:
        return Outcome(reason=f"it did not end within {seconds:g} seconds")
    finally:
        if child.poll() is None:
            child.kill()
            child.communicate()
    return _outcome(said, child.returncode, megabytes)


def ended_by(number: int) -> str:
    """Why a process ended that a signal has ended."""
    name = signal.Signals(number).name
    if number in _STOPPED:
        return f"it was stopped by {name}"
    why = {"SIGKILL": "it was killed, most likely for memory", "SIGXCPU": "it used up its processor time"}
    return why.get(name, f"it crashed the process ({name})")


def starved(error: Exception) -> bool:
    """Whether it says that memory ran out."""
    return isinstance(error, MemoryError) or any(words in str(error) for words in _OUT_OF_MEMORY)


def _outcome(said: bytes, code: int, megabytes: int) -> Outcome:
    if code < 0:
        return Outcome(reason=ended_by(-code), stopped=-code in _STOPPED)
    try:
        told = json.loads(said.splitlines()[-1])
    except (IndexError, ValueError):
        return Outcome(reason=f"its process ended with code {code} and said nothing")
    if told.get("memory"):
        return Outcome(reason=f"it needs more than {megabytes} MiB of memory")
    return Outcome(reason=str(told["error"])) if "error" in told else Outcome(told["told"])


def _confine(parent: int, seconds: float, megabytes: int) -> None:
    """Limit this process, before it looks at anything foreign."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python would wait for the foreign work to end
    try:
        system = ctypes.CDLL(None, use_errno=True)
        system.unshare(_NEW_NET) and system.unshare(_NEW_USER | _NEW_NET)  # refused here and there; then it is not
        system.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        system.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    except (AttributeError, OSError, TypeError):  # Linux only
        pass
    if os.getppid() != parent:  # it ended before the signal was asked for
        os._exit(1)
    processor_seconds = math.ceil(seconds) * (os.cpu_count() or 1)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, _FILES))
    resource.setrlimit(resource.RLIMIT_CPU, (processor_seconds, processor_seconds))
    # Of the memory that can be written: that of the address space also counts what allocators only set aside.
    resource.setrlimit(resource.RLIMIT_DATA, (megabytes * 2**20, megabytes * 2**20))


def _report(module: str, arguments: Sequence[str]) -> dict[str, Any]:
    try:
        work: Work = importlib.import_module(module).work
        return {"told": work(arguments, sys.stdin.buffer.read())}
    except Exception as error:  # whatever foreign bytes bring about
        if starved(error):
            return {"memory": True}
        plain = error.message if isinstance(error, LeptonError) else f"{type(error).__name__}: {str(error)[:300]}"
        return {"error": plain}


def _main(parent: str, seconds: str, megabytes: str, module: str, *arguments: str) -> None:
    _confine(int(parent), float(seconds), int(megabytes))
    sys.stdout.write(json.dumps(_report(module, arguments)) + "\n")
    sys.stdout.flush()
    os._exit(0)  # a foreign model's destructors are not waited for


if __name__ == "__main__":
    _main(*sys.argv[1:])
