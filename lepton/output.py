"""What people and programs read of a command: tables, JSON, progress; bars on a terminal, plain lines otherwise."""

from __future__ import annotations

import datetime
import json
import math
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

LONGEST_NAME = 60  # characters of a first column that is kept on one line
PLAIN_WIDTH = 150  # columns of a table that is not printed on a terminal

console = Console(highlight=False)
if not console.is_terminal:
    console = Console(highlight=False, width=PLAIN_WIDTH)
notes = Console(stderr=True, highlight=False)

PLAIN_SECONDS = 5.0  # between two plain lines of progress


def as_json(value: object) -> None:
    """Print a value as JSON on standard output; a number that is none becomes null."""
    told = json.dumps(_finite(value), indent=2, ensure_ascii=False, default=str, allow_nan=False)
    sys.stdout.write(told + "\n")


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; cells are plain text, whatever is in them."""
    listed = [["" if cell is None else str(cell) for cell in row] for row in rows]
    short = all(len(row[0]) <= LONGEST_NAME for row in listed)
    made = Table(title=escape(title), title_justify="left", header_style="bold", box=SIMPLE_HEAD)
    for place, column in enumerate(columns):
        made.add_column(column, overflow="fold", no_wrap=short and place == 0)
    for row in listed:
        made.add_row(*(escape(cell) for cell in row))
    console.print(made)


def say(text: str) -> None:
    """Print a plain line."""
    console.print(escape(text), soft_wrap=True)


def fact(**facts: object) -> None:
    """Print name and value pairs, a line each."""
    for name, value in facts.items():
        console.print(f"[bold]{name.replace('_', ' ')}[/bold]: {escape(str(value))}", soft_wrap=True)


class Stages:
    """Stages of long work as they come and go, with their progress; on standard error, so that results stay clean."""

    def __init__(self, *, quiet: bool = False, run: str = "", keep: Callable[[str, int, float], None] | None = None):
        """
        Args:
            quiet: nothing is told, as by all but the first of several processes.
            run, keep: the name under which metrics are kept, and what keeps them; printed where nothing does.
        """
        self._bar: Progress | None = None
        self._title, self._last = "", 0.0
        self._quiet, self._keep, self.run = quiet, keep, run
        if notes.is_terminal and not quiet:
            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=notes,
            )

    def __enter__(self) -> Stages:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def stage(self, title: str) -> None:
        """A new stage begins; the one before is finished."""
        self._title, self._last = title, time.monotonic()
        if self._quiet:
            return
        if self._bar is None:
            notes.print(f"… {escape(title)}", soft_wrap=True)
            return
        for task in self._bar.tasks:
            if not task.finished:
                self._bar.update(task.id, total=task.completed or 1, completed=task.completed or 1)
        self._bar.add_task(escape(title), total=None)

    def progress(self, done: int, total: int) -> None:
        """The present stage has come this far."""
        if self._bar is not None and self._bar.tasks:
            self._bar.update(self._bar.tasks[-1].id, total=total, completed=done)
        elif self._bar is None and not self._quiet and (time.monotonic() - self._last > PLAIN_SECONDS):
            self._last = time.monotonic()
            notes.print(f"  {escape(self._title)}: {done} of {total}", soft_wrap=True)

    def metric(self, name: str, step: int, value: float) -> None:
        """A metric has this value at this step."""
        if self._keep is not None:
            self._keep(name, step, value)
        elif not self._quiet:
            notes.print(f"  {escape(name)} at {step}: {value:.4g}", soft_wrap=True)

    def note(self, words: str) -> None:
        """A line of its own, above the bar where there is one."""
        if not self._quiet:
            notes.print(f"  {escape(words)}", soft_wrap=True)


def moment(seconds: float) -> str:
    """A moment by the clock of this machine: ``2026-11-30 14:05``."""
    return datetime.datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")


def interval(metric: Mapping[str, float]) -> str:
    """A figure with its interval, as a percentage: ``93.1 % (91.8 to 94.3)``."""
    return f"{100 * metric['value']:.1f} % ({100 * metric['low']:.1f} to {100 * metric['high']:.1f})"


def show_metrics(title: str, metrics: Mapping[str, Mapping[str, float]]) -> None:
    """Print metrics with their intervals."""

    def figure(name: str, metric: Mapping[str, float]) -> str:
        if name.removesuffix(", fp32").endswith(("rmse", "mae", "r2")):
            return f"{metric['value']:.4g} ({metric['low']:.4g} to {metric['high']:.4g})"
        return interval(metric)

    rows = [[name.replace("_", " "), figure(name, metric), metric["rows"]] for name, metric in sorted(metrics.items())]
    table(title, ["metric", "value (95 % interval)", "rows"], rows)


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return value
