"""Where a job keeps files under LEPTON_HOME: for each attempt its log, and what an inspection drew.

Knows nothing of what jobs do, nor of who writes the files.
"""

from __future__ import annotations

from pathlib import Path

REPORT = "report.html"  # of an inspection, in the job's own folder


def folder_of(home: Path, job: str, attempt: int) -> Path:
    """Where the log of an attempt lies, and its temporary files while it runs."""
    return home / "jobs" / job / str(attempt)


def log_of(folder: Path) -> str:
    """What was kept of the words that an attempt printed."""
    parts = [place.read_bytes() for place in (folder / "log.1", folder / "log") if place.is_file()]
    return b"".join(parts).decode("utf-8", "replace")


def report_of(home: Path, job: str) -> Path:
    """Where the page lies that an inspection drew."""
    return home / "jobs" / job / REPORT
