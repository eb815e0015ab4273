"""Where long work tells how far it is: the contract of whoever listens, a terminal or a job's rows.

Knows nothing of what the work is.
"""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Where progress is told. ``run``: the name under which what is told is kept; empty where nothing is."""

    @property
    def run(self) -> str:
        """See above."""

    def stage(self, title: str) -> None:
        """A new stage begins."""

    def progress(self, done: int, total: int) -> None:
        """The present stage has come this far."""

    def metric(self, name: str, step: int, value: float) -> None:
        """A metric has this value at this step, such as the loss after an epoch."""

    def note(self, words: str) -> None:
        """What a person should know, in a line of its own."""
