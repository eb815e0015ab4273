"""Takes turns with the other workers of this host at preparing versions, so that requests keep half of its processors.

Promises that at most so many prepare at a time, that a turn ends with its process however that ends, and that a disk on
which no turn can be taken holds nobody up. Knows nothing of versions.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.02


class Turns:
    """Some places, shared by all processes that name the same folder.

    Args:
        folder: holds a lock file for each place.
        places: how many may be taken at a time.
        name: of what is done in turns; those of another name do not wait for each other.
    """

    def __init__(self, folder: Path, places: int, name: str = "prepare") -> None:
        self._files = [folder / f"{name}-{place}.lock" for place in range(places)]

    @contextmanager
    def one(self, stopped: Callable[[], bool]) -> Iterator[None]:
        """A place as long as the block lasts; waits for one, but not once ``stopped`` says so."""
        held = None
        try:
            while held is None and not stopped():
                held = self._free()
                if held is None:
                    time.sleep(LOOK_SECONDS)
        except OSError as error:
            logger.warning("no turn can be taken, so several workers may prepare at once: %s", error.strerror)
        try:
            yield
        finally:
            if held is not None:
                os.close(held)

    def _free(self) -> int | None:
        """A descriptor that holds a free place; None where there is none just now."""
        for file in self._files:
            number = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
            try:
                fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(number)
                continue
            except OSError:
                os.close(number)
                raise
            return number
        return None
