"""``lepton adapt`` on data as people have it: nothing, one class, a class of one, files that are no pictures."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from lepton.main import run
from tests import processes
from tests.pico import LABELS, SIDE, picture
from training.backbone import onnx_file


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LEPTON_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LEPTON_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two classes of twelve pictures."""
    for label in LABELS[:2]:
        for number in range(12):
            put(tmp_path / "data" / label / f"{number}.png", picture(label, number, side=SIDE * 2))
    return tmp_path / "data"


def put(file: Path, content: bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def refused(capsys: pytest.CaptureFixture[str], path: Path, *words: str) -> None:
    """``adapt`` ends with exit code 1 and one line that holds these words; nothing is registered."""
    capsys.readouterr()
    assert run(["adapt", "shapes", str(path)]) == 1
    told = capsys.readouterr()
    lines = [line for line in told.err.splitlines() if line and not line.startswith("…")]
    assert len(lines) == 1, told.err
    assert lines[0].startswith("error: ")
    assert "→" in lines[0], "a remedy"
    for word in words:
        assert word in lines[0], lines[0]
    assert run(["versions", "shapes", "--json"]) == 1


def adapted(tmp_path: Path, capsys: pytest.CaptureFixture[str], path: Path) -> tuple[dict[str, object], str]:
    """``adapt`` with a tiny backbone; what it answers, and the page of its data report."""
    (name, _), *_ = onnx_file.examples(tmp_path)
    capsys.readouterr()
    assert run(["adapt", "shapes", str(path), "--backbone", f"onnx_file:{name}", "--json"]) == 0, (
        capsys.readouterr().err
    )
    told = json.loads(capsys.readouterr().out)
    return told, Path(told["data"]["page"]).read_text()


def test_an_empty_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    refused(capsys, tmp_path / "empty", "empty", "one folder for each class")


def test_a_process_of_its_own_ends_with_one_line_and_exit_code_one(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = processes.run(tmp_path / "home", "adapt", "shapes", str(tmp_path / "empty"))
    lines = [line for line in done.stderr.splitlines() if not line.startswith("…")]
    assert (done.returncode, done.stdout, len(lines)) == (1, "", 1), done.stderr
    assert "Traceback" not in done.stderr


def test_one_class_only_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(5):
        put(tmp_path / "data" / "circle" / f"{number}.png", picture("circle", number, side=SIDE * 2))
    refused(capsys, tmp_path / "data", "circle", "5 pictures", "at least one other class")


def test_a_class_of_one_works_and_is_reported(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(data / "triangle" / "only.png", picture("triangle", 1, side=SIDE * 2))
    told, page = adapted(tmp_path, capsys, data)
    assert told["labels"] == list(LABELS[:2]), "one example is not enough to be served"
    assert "triangle" in page
    assert "class triangle has no example on the side test" in page


def test_one_example_of_each_class_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for label in LABELS:
        put(tmp_path / "data" / label / "only.png", picture(label, 0, side=SIDE * 2))
    (name, _), *_ = onnx_file.examples(tmp_path)
    assert run(["adapt", "shapes", str(tmp_path / "data"), "--backbone", f"onnx_file:{name}"]) == 1
    assert "no class of 'shapes' has two examples" in " ".join(capsys.readouterr().err.split())
    assert run(["versions", "shapes", "--json"]) == 0 and json.loads(capsys.readouterr().out) == []


def test_labels_that_are_all_wrong_are_seen_in_every_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Labels by chance: it works, claims no more than chance, and does not tune where nothing can be learned."""
    chance = np.random.default_rng(0)
    for label in LABELS[:2]:
        for number in range(40):
            said = LABELS[int(chance.integers(2))]
            put(tmp_path / "data" / said / f"{label}{number}.png", picture(label, number, side=SIDE * 2))
    told, _ = adapted(tmp_path, capsys, tmp_path / "data")
    metrics: dict[str, dict[str, float]] = told["metrics"]  # type: ignore[assignment]
    for name in ("balanced_accuracy", "leave_one_out_balanced_accuracy"):
        assert metrics[name]["low"] < 0.6, "no better than by chance"
    assert told["champion"], "the user's labels are the user's"


def test_a_text_file_named_jpg_is_dropped_and_reported(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(data / "circle" / "letter.jpg", b"Dear Sir or Madam")
    put(data / "circle" / "half.png", picture("circle", 3, side=SIDE * 2)[:200])
    told, page = adapted(tmp_path, capsys, data)
    counts = told["data"]
    assert isinstance(counts, dict)
    assert (counts["seen"], counts["kept"]) == (26, 24)
    assert "letter.jpg" in page
    assert "half.png" in page


def test_a_folder_of_nothing_but_text_is_refused_with_the_count(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for label in LABELS:
        put(tmp_path / "data" / label / "letter.jpg", b"Dear Sir or Madam")
    refused(capsys, tmp_path / "data", "no usable picture", "3", "JPEG, PNG or WebP")


def test_a_file_that_cannot_be_opened_is_dropped_and_reported(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "circle" / "nowhere.png").symlink_to(tmp_path / "gone.png")
    os.mkfifo(data / "square" / "pipe.png")
    (data / "square" / "loop.png").symlink_to(data / "square" / "loop.png")
    told, page = adapted(tmp_path, capsys, data)
    counts = told["data"]
    assert isinstance(counts, dict)
    assert (counts["seen"], counts["kept"]) == (27, 24)
    for name in ("nowhere.png", "pipe.png", "loop.png"):
        assert name in page


@pytest.mark.parametrize(
    ("name", "word"),
    [("gone", "no such file or folder"), ("a.txt", "neither a folder nor a CSV, JSONL or Parquet file")],
)
def test_what_is_not_a_folder_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, word: str
) -> None:
    put(tmp_path / "a.txt", b"circle")
    refused(capsys, tmp_path / name, name, word)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_table_of_a_million_lines_is_refused_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], ending: str
) -> None:
    file = tmp_path / f"table.{ending}"
    if ending == "parquet":
        columns = {"a": pa.array(np.arange(1_000_000) % 7), "label": pa.array(["x"] * 1_000_000)}
        pyarrow.parquet.write_table(pa.table(columns), file)
    else:
        head, line = ("a,label\n", "1,x\n") if ending == "csv" else ("", '{"a": 1, "label": "x"}\n')
        file.write_text(head + line * 1_000_000)
    refused(capsys, file, "more than 200000 lines", "random sample")


def test_a_table_without_its_column_names_those_that_it_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "table.csv", b"image,kind\na.png,circle\n")
    refused(capsys, tmp_path / "table.csv", "label", "kind")
