"""A look at data before anything is trained: its figures, its page, and doubts about labels that are wrong."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from core.config import Settings
from core.errors import InvalidInput
from core.home import Home, open_home
from core.job_files import report_of
from tests.pictures import class_folders, png, put
from training.assignment import Assignment, Teller
from training.jobs import inspect
from training.jobs.inspect import Request

WRONG = range(0, 60, 12)  # lines whose label is turned


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = open_home(Settings(home=tmp_path / "home"))
    yield made
    made.close()


def look(home: Home, request: Request) -> dict[str, object]:
    job = home.jobs.file("inspect", request.scene, {"scene": request.scene, "data": str(request.data)})
    told = inspect.work(Assignment(home=home, job=job, reporter=Teller(home, job.id)), request)
    assert report_of(home.settings.home, job.id).read_text(encoding="utf-8").count("<main>") == 1
    return told


def table(file: Path) -> Path:
    """Sixty rows whose label follows one column, but for some."""
    chance = np.random.default_rng(0)
    with file.open("w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out)
        writer.writerow(["size", "weight", "label"])
        for number in range(60):
            large = number % 2
            size = round(float(chance.normal(10 * large, 1)), 3)
            said = 1 - large if number in WRONG else large
            writer.writerow([size, round(float(chance.normal(5 * large, 1)), 3), ("small", "large")[said]])
    return file


def test_labels_that_are_wrong_on_purpose_are_doubted(home: Home, tmp_path: Path) -> None:
    told = look(home, Request(scene="parts", data=table(tmp_path / "parts.csv")))
    found = told["found"]
    assert isinstance(found, dict)
    assert 3 <= found["label_error"] <= 8
    assert "labels looked at by table_" in str(told["remark"])
    assert (told["seen"], told["classes"], told["modality"]) == (60, 2, "tabular")
    assert "table_linear" in told["backbones"]  # type: ignore[operator]
    assert home.registry.scenes() == []
    assert home.ledger.last_sequence("parts") == 0


def test_figures_of_a_folder_are_those_of_its_report(home: Home, tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "pets", {"cat": 6, "<i>dog": 5})
    put(folder, "cat/copy.png", png(0))
    put(folder, "cat/broken.png", b"no picture")
    told = look(home, Request(scene="pets", data=folder, doubts=False))
    assert (told["seen"], told["kept"], told["dropped"]) == (13, 11, 2)
    assert told["largest"] == {"cat": 6, "<i>dog": 5}
    assert told["found"] == {"duplicate": 1, "other_format": 1} | told["found"]  # type: ignore[operator]
    assert told["remark"] == ""


def test_that_nothing_can_be_said_about_labels_is_a_remark(home: Home, tmp_path: Path) -> None:
    lines = "\n".join(f"{number},{number * 0.5}" for number in range(40))
    (tmp_path / "heights.csv").write_text(f"age,label\n{lines}\n", encoding="utf-8")
    told = look(home, Request(scene="heights", data=tmp_path / "heights.csv"))
    assert told["task"] == "regression"
    assert told["remark"] == "labels are values, and were not doubted"


def test_data_that_are_none_are_refused_with_the_remedy(home: Home, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InvalidInput, match="holds no file"):
        look(home, Request(scene="pets", data=tmp_path / "empty"))
