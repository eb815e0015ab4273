"""The access log: one JSON object a line and a request, on standard error or in a file, where it is turned on.

Promises that a line is written at once and whole, so that the lines of several workers never mix, that a file which
was rotated away is opened anew, and that a log which cannot be written costs no request its answer. Knows nothing of
what a line holds.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from core.config import Settings
from core.errors import BadConfiguration

logger = logging.getLogger(__name__)

STANDARD_ERROR = 2


class AccessLog:
    """A place for lines; used by one thread.

    Args:
        file: where to append; standard error if None.
    """

    def __init__(self, file: Path | None) -> None:
        """Open it.

        Raises:
            BadConfiguration: the file cannot be opened.
        """
        self._file = file
        self._failing = False
        self._torn = False
        try:
            self._number = STANDARD_ERROR if file is None else _open(file)
        except OSError as error:
            raise BadConfiguration(
                f"serve.access_log_file is {str(file)!r}, which cannot be opened: {error.strerror}",
                "name a file in a folder that exists and that you can write",
            ) from error

    def write(self, line: Mapping[str, object]) -> None:
        """Append one line; where that fails, say so once and go on."""
        data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
        try:
            self._follow()
            written = os.write(self._number, b"\n" + data if self._torn else data)
            self._torn = written < len(data)
            self._failing = False
        except OSError as error:
            if not self._failing:
                logger.error("the access log cannot be written: %s", error.strerror)
            self._failing = True

    def close(self) -> None:
        """Let the file go."""
        if self._file is not None:
            os.close(self._number)

    def _follow(self) -> None:
        """Open the file anew where another, or none, has its name by now."""
        if self._file is None:
            return
        try:
            there = os.stat(self._file)
        except FileNotFoundError:
            moved = True
        else:
            moved = not os.path.samestat(there, os.fstat(self._number))
        if moved:
            opened = _open(self._file)
            os.close(self._number)
            self._number = opened


def access_log(settings: Settings) -> AccessLog | None:
    """What the settings ask for; None where the log is off.

    Raises:
        BadConfiguration: the file cannot be opened.
    """
    serve = settings.serve
    if serve.access_log == "off":
        return None
    return AccessLog(settings.home / serve.access_log_file if serve.access_log_file else None)


def _open(file: Path) -> int:
    return os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
