"""A table with two label columns, and a scene with two tasks over it: which loans are good, and what they are worth.

``adapted`` goes the whole road of ``lepton adapt``. Every sixth line has no label of the first task and every fifth
none of the second, so some have neither.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from lepton.main import run
from tests import rows

SCENE, FIRST, SECOND = "loans", "credit", "worth"


def table(path: Path, count: int = 90) -> Path:
    """The table as a CSV file."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*rows.COLUMNS, FIRST, SECOND])
        for number in range(count):
            cells = rows.row(number)
            said = ["" if number % 6 == 0 else rows.label(cells), "" if number % 5 == 0 else f"{rows.score(cells):.4f}"]
            writer.writerow(["" if cells[name] is None else cells[name] for name in rows.COLUMNS] + said)
    return path


def adapted(folder: Path, *more: str, count: int = 90) -> Path:
    """A home with the scene, made by the command line of so many lines; returns where it is."""
    home = folder / "home"
    file = table(folder / "loans.csv", count)
    named = ["--label", FIRST, "--label", SECOND, "--backbone", "table_linear", "--new-labels", "accept"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LEPTON_HOME", str(home))
        assert run(["adapt", SCENE, str(file), *named, *more]) == 0
    return home
