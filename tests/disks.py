"""A disk that can be filled and freed: a small one of its own where we may mount it, else a cap on the size of files.

Promises that nothing but the home under test meets the full disk. Knows nothing of what is written there.
"""

from __future__ import annotations

import errno
import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import psutil

from tests.processes import House

MEGABYTES = 8
BALLAST = (2**20, 2**12, 1)  # bytes at a time: down to the last one
CAP = 2**12  # bytes of a file, where files are capped: less than any database has


class Disk(Protocol):
    """Where a home lies."""

    folder: Path

    def fill(self, place: House) -> None:
        """Let nothing more be written by the house's processes."""

    def free(self, place: House) -> None:
        """Let them write again."""


@contextmanager
def disk(folder: Path) -> Iterator[Disk]:
    """A disk under ``folder``, of the kind that is possible here."""
    folder.mkdir()
    if not _mounted(folder):
        yield CappedDisk(folder)
        return
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


class SmallDisk:
    """A file system of its own, filled by a file: writing ends with ENOSPC."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self, place: House) -> None:
        handle = os.open(self._ballast, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            for size in BALLAST:
                while _written(handle, size):
                    pass
        finally:
            os.close(handle)

    def free(self, place: House) -> None:
        self._ballast.unlink()


class CappedDisk:
    """Files of the processes that cannot grow: writing ends with EFBIG."""

    def __init__(self, folder: Path):
        self.folder = folder

    def fill(self, place: House) -> None:
        _cap(place, CAP)

    def free(self, place: House) -> None:
        _cap(place, resource.RLIM_INFINITY)


def _mounted(folder: Path) -> bool:
    if os.geteuid() != 0 or os.environ.get("LEPTON_TEST_NO_MOUNT"):
        return False
    command = ["mount", "-t", "tmpfs", "-o", f"size={MEGABYTES}m", "tmpfs", str(folder)]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def _written(handle: int, size: int) -> bool:
    try:
        return os.write(handle, b"\0" * size) == size
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return False


def _cap(place: House, size: int) -> None:
    for running in (place.service, place.learner):
        for process in running.family() if running is not None else []:
            _, hard = process.rlimit(psutil.RLIMIT_FSIZE)
            process.rlimit(psutil.RLIMIT_FSIZE, (size, hard))
