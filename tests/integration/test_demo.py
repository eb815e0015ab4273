"""``lepton demo`` as ``make demo`` runs it: from data to a model that learned and unlearned over HTTP."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.timeout(600)
def test_the_demonstration_shows_the_whole_circle_and_ends_what_it_started(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lepton.main", "demo", "--only", "image", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = {cells[0]: cells for cells in map(cells_of, done.stdout.splitlines()) if len(cells) >= 7}
    before, last = accuracy(rows["no labels"]), accuracy(rows["500 labels"])
    assert last > before + 30, "500 labels move accuracy by far more than its interval"
    assert accuracy(rows["+ 200 wrong"]) < last, "wrong labels hurt"
    assert accuracy(rows["wrong withdrawn"]) == last, "and are gone when withdrawn"
    assert (rows["no labels"][4], rows["500 labels"][4]) == ("9", "10"), "the class that was left out appears"
    assert "bit-identical" in done.stdout and "DIFFERENT" not in done.stdout
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "They are bit-identical." in page and page.count("<figure>") == 24 and "<svg" in page
    assert "<script" not in page and "http" not in page.replace("http-equiv", "")
    (log,) = tmp_path.glob("home-*/up.log")
    assert "Traceback" not in log.read_text(encoding="utf-8")


def cells_of(line: str) -> list[str]:
    return re.split(r"\s{2,}", line.strip())


def accuracy(cells: list[str]) -> float:
    return float(cells[2].removesuffix(" %"))


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("act", "gain"), [("text", 10.0), ("table", 1.0)])
def test_a_short_act_shows_labels_at_work(act: str, gain: float, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lepton.main", "demo", "--only", act, "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    rows = [cells for cells in map(cells_of, done.stdout.splitlines()) if len(cells) >= 6 and "label" in cells[0]]
    assert len(rows) == 4
    assert accuracy(rows[-1]) > accuracy(rows[0]) + gain
    assert "<svg" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_an_act_that_does_not_exist_is_named(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lepton.main", "demo", "--only", "opera", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "no act 'opera'" in done.stderr and "choose from image, text, sound, table" in " ".join(done.stderr.split())
