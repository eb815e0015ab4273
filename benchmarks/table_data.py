"""Real tables that packages ship, as rows of cells with their targets; nothing is committed.

* credit: 1,000 loans, good or bad (Hofmann's German credit data), Debian ``r-cran-caret``; its indicator columns are
  put back together into the thirteen categorical columns that they were made from.
* diabetes: 768 women, with real missing values (Pima Indians, 1988), Debian ``r-cran-mlbench``.
* breast cancer: 569 cell samples, 30 numbers (Wisconsin, 1995), scikit-learn.
* wine (scikit-learn), sonar, ionosphere and vehicle (``r-cran-mlbench``): 178 to 846 rows of numbers, 2 to 4 classes;
  nothing was ever chosen by them.
* progression: 442 patients, a measure of disease after a year (Efron et al., 2004), scikit-learn: a regression.
* ozone: 361 days in Los Angeles, with missing values (Breiman and Friedman, 1985), ``r-cran-mlbench``: a regression.

Promises the same rows at every call. Needs ``apt-get``, ``dpkg`` and pip. Knows nothing of models.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

from benchmarks.debian import BENCH, once, unpack
from core.errors import BadConfiguration
from core.types import Task
from training.schema import Cell, tidy

READER = "pyreadr==0.5.8"  # reads R's files; used once for each, in a process of its own

_LIBRARY = Path("usr/lib/R/site-library")
_CONVERT = "import pyreadr, sys; [t.to_csv(sys.argv[2], index=False) for t in pyreadr.read_r(sys.argv[1]).values()]"


@dataclass(frozen=True, eq=False)
class Table:
    """Rows as a CSV file has them, tidied, and what is to be told of each: a word, or a number."""

    name: str
    task: Task
    rows: list[dict[str, Cell]]
    targets: list[Cell]


def credit(bench: Path = BENCH) -> Table:
    """German credit: seven numbers and thirteen words a row."""
    lines = _lines("r-cran-caret", "caret/data/GermanCredit.RData", bench)
    rows: list[dict[str, Cell]] = []
    for line in lines:
        row: dict[str, Cell] = {}
        chosen: dict[str, list[str]] = defaultdict(list)
        for name, cell in line.items():
            column, dot, word = name.partition(".")
            if not dot:
                row[column] = cell
            elif float(cell) == 1:
                chosen[column].append(word)
        rows.append(row | {column: words[0] for column, words in chosen.items()})
    return _table("credit", "classification", rows, "Class")


def diabetes(bench: Path = BENCH) -> Table:
    """Pima Indians, what cannot be zero marked as missing."""
    lines = _lines("r-cran-mlbench", "mlbench/data/PimaIndiansDiabetes2.rda", bench)
    return _table("diabetes", "classification", [dict(line) for line in lines], "diabetes")


def breast_cancer() -> Table:
    """Wisconsin, 1995."""
    return _packaged("breast cancer", load_breast_cancer())


def wine() -> Table:
    """Three growers."""
    return _packaged("wine", load_wine())


def _packaged(name: str, held: Any) -> Table:
    """A classification of scikit-learn."""
    rows: list[dict[str, Cell]] = [
        dict(zip(map(str, held.feature_names), map(float, line), strict=True)) for line in held.data
    ]
    words = [str(held.target_names[target]) for target in held.target]
    return _table(name, "classification", [r | {"y": w} for r, w in zip(rows, words, strict=True)], "y")


def _mlbench(name: str, file: str, bench: Path = BENCH) -> Table:
    """A classification of R's mlbench whose label is the column Class."""
    lines = _lines("r-cran-mlbench", f"mlbench/data/{file}.rda", bench)
    return _table(name, "classification", [dict(line) for line in lines], "Class")


def progression() -> Table:
    """Diabetes after a year; ten numbers a row, one of them a code."""
    held = load_diabetes(scaled=False)
    rows: list[dict[str, Cell]] = [
        dict(zip(map(str, held.feature_names), map(float, line), strict=True)) for line in held.data
    ]
    return _table(
        "progression", "regression", [r | {"y": float(y)} for r, y in zip(rows, held.target, strict=True)], "y"
    )


def ozone(bench: Path = BENCH) -> Table:
    """The day's maximum of ozone; month, day of the month and weekday are codes."""
    lines = _lines("r-cran-mlbench", "mlbench/data/Ozone.rda", bench)
    return _table("ozone", "regression", [dict(line) for line in lines if line["V4"]], "V4")


TABLES: dict[str, Callable[[], Table]] = {
    "credit": credit,
    "diabetes": diabetes,
    "breast cancer": breast_cancer,
    "wine": wine,
    "sonar": partial(_mlbench, "sonar", "Sonar"),
    "ionosphere": partial(_mlbench, "ionosphere", "Ionosphere"),
    "vehicle": partial(_mlbench, "vehicle", "Vehicle"),
    "progression": progression,
    "ozone": ozone,
}


def _table(name: str, task: Task, rows: list[dict[str, Cell]], target: str) -> Table:
    clean = tidy(rows)
    targets = [row.pop(target) for row in clean]
    return Table(name, task, clean, targets)


def _lines(package: str, file: str, bench: Path) -> list[dict[str, str]]:
    """The lines of a file of R's in a Debian package."""
    root = once(bench / "debian" / package, lambda into: unpack(package, into)).absolute()
    out = once(bench / "tables" / Path(file).stem, lambda into: _convert(root / _LIBRARY / file, into, bench))
    with (out / "table.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _convert(file: Path, into: Path, bench: Path) -> None:
    reader = once(bench / "pyreadr", _install).absolute()
    _run([sys.executable, "-c", _CONVERT, str(file), str(into / "table.csv")], PYTHONPATH=str(reader))


def _install(into: Path) -> None:
    _run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(into), READER])


def _run(command: list[str], **more: str) -> None:
    ran = subprocess.run(command, env=os.environ | more, capture_output=True, text=True, check=False)
    if ran.returncode:
        said = ran.stderr.strip().splitlines()[-1:]
        raise BadConfiguration(f"R's tables cannot be read: {' '.join(said)}", f"pip install {READER}, and try again")
