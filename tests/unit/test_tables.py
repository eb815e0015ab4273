"""Tables say what their lines are by their columns, in CSV, JSON lines and Parquet; and what is odd about them."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest

from core.errors import InvalidInput
from tests.pictures import png
from training.data import load
from training.listing import read
from training.page import render

TEXTS = [(f"turn on lamp {n} in the {'kitchen' if n % 2 else 'garden'}", "on" if n % 2 else "off") for n in range(20)]


def jsonl(path: Path, lines: list[dict[str, object]]) -> Path:
    path.write_text("\n".join(json.dumps(line) for line in lines))
    return path


def texts(path: Path, more: list[tuple[str, str]] | None = None) -> Path:
    return jsonl(path, [{"text": text, "label": label} for text, label in [*TEXTS, *(more or [])]])


def rows(count: int = 24) -> list[dict[str, object]]:
    kinds = ("good", "bad")
    return [{"age": 20.0 + n, "town": f"t{n % 3}", "same": 1, "label": kinds[n % 2]} for n in range(count)]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_the_three_formats_say_the_same(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"data.{ending}"
    if ending == "parquet":
        pyarrow.parquet.write_table(pa.Table.from_pylist(rows()), path)
    elif ending == "jsonl":
        jsonl(path, rows())
    else:
        lines = ["age,town,same,label", *(f"{r['age']},{r['town']},1,{r['label']}" for r in rows())]
        path.write_text("\n".join(lines))
    dataset = load(path)
    assert (dataset.modality, len(dataset.examples), dataset.labels) == ("tabular", 24, ("bad", "good"))
    assert b'{"age":20,"same":1,"town":"t0"}' in {example.content for example in dataset.examples}


@pytest.mark.parametrize(
    ("columns", "modality"),
    [
        (["text"], "text"),
        (["image"], "image"),
        (["age", "town"], "tabular"),
        (["text", "age"], "tabular+text"),
        (["text", "audio", "image", "age"], "audio+image+tabular+text"),
        (["text", "split", "group", "subject"], "text"),
    ],
)
def test_columns_say_what_a_line_is(tmp_path: Path, columns: list[str], modality: str) -> None:
    path = tmp_path / "data.csv"
    path.write_text(
        ",".join([*columns, "label"]) + "\n" + ",".join(["train" if c == "split" else "1" for c in columns] + ["a"])
    )
    assert read(path).modality == modality


def test_files_in_a_folder_say_what_they_are(tmp_path: Path) -> None:
    for ending, modality in (("png", "image"), ("wav", "audio"), ("txt", "text"), ("", "image")):
        place = tmp_path / (ending or "none")
        (place / "a").mkdir(parents=True)
        (place / "a" / f"1.{ending}").write_bytes(b"x")
        assert read(place).modality == modality
        assert read(place, modality="audio").modality == "audio"


def test_texts_keep_one_of_each_once_they_are_normalised_and_near_copies_on_one_side(tmp_path: Path) -> None:
    long = "the quick brown fox jumps over the lazy dog while nobody looks, and then it goes home to sleep well"
    more = [("  Turn on\tthe radio ", "on"), ("Turn on the radio", "on"), (long, "off"), (long + "!", "off")]
    dataset = load(texts(tmp_path / "data.jsonl", more))
    assert {kind: dataset.report.counts()[kind] for kind in ("duplicate", "twin")} == {"duplicate": 1, "twin": 1}
    assert dataset.report.of("duplicate")[0].detail == "the same once it is normalised"
    sides = {example.split for example in dataset.examples if (example.content or b"").startswith(b"the quick")}
    assert len(sides) == 1


def test_texts_that_cannot_be_used_are_named_by_their_line(tmp_path: Path) -> None:
    more = [("", "on"), ("\0", "on"), ("half \ud800", "on"), ("x" * 200_000, "on"), ("fine", "")]
    counts = load(texts(tmp_path / "data.jsonl", more)).report.counts()
    told = {kind: counts[kind] for kind in ("no_input", "corrupt", "too_large", "no_label")}
    assert told == {"no_input": 1, "corrupt": 2, "too_large": 1, "no_label": 1}


def test_columns_that_say_nothing_or_too_much_are_remarked(tmp_path: Path) -> None:
    lines = [{**row, "leak": "ja" if row["label"] == "good" else "nein", "id": f"x{n}"} for n, row in enumerate(rows())]
    report = load(jsonl(tmp_path / "data.jsonl", lines)).report
    assert [finding.path for finding in report.of("constant_column")] == ["same"]
    assert [finding.path for finding in report.of("label_column")] == ["leak"]


def test_a_value_under_another_name_is_a_leak(tmp_path: Path) -> None:
    lines: list[dict[str, object]] = [{"x": n % 5, "copy": n * 1.37, "label": n * 1.37} for n in range(40)]
    dataset = load(jsonl(tmp_path / "data.jsonl", lines))
    assert dataset.task == "regression"
    assert [finding.path for finding in dataset.report.of("label_column")] == ["copy"]


def test_equal_rows_are_copies_and_rows_under_two_labels_are_kept_nowhere(tmp_path: Path) -> None:
    lines = [*rows(), rows()[0], {**rows()[1], "label": "good"}]
    dataset = load(jsonl(tmp_path / "data.jsonl", lines))
    counts = dataset.report.counts()
    assert (counts["duplicate"], counts["conflict"], len(dataset.examples)) == (1, 2, 23)


def test_a_mixture_takes_lines_that_lack_a_part(tmp_path: Path) -> None:
    for n in range(8):
        (tmp_path / f"{n}.png").write_bytes(png(n))
    lines: list[dict[str, object]] = [
        {"image": f"{n}.png" if n % 3 else None, "text": f"page {n}", "label": "ab"[n % 2]} for n in range(8)
    ]
    lines += [{"image": "", "text": "", "label": "a"}, {"image": "gone.png", "text": "x", "label": "a"}]
    dataset = load(jsonl(tmp_path / "data.jsonl", lines))
    assert (dataset.modality, len(dataset.examples), dataset.median_side > 0) == ("image+text", 8, True)
    counts = dataset.report.counts()
    assert (counts["no_input"], counts["missing"]) == (1, 1)


@pytest.mark.parametrize(
    ("name", "told", "words"),
    [
        ("a.jsonl", b'{"text": "a"', "line 1: not JSON"),
        ("a.jsonl", b"[1]", "line 1 is no object"),
        ("a.jsonl", b'{"text": ["a"], "label": "x"}', "column text holds list"),
        ("a.jsonl", b"\xff", "is not UTF-8"),
        ("a.jsonl", b"", "is empty"),
        ("a.parquet", b"PAR1", "is not Parquet"),
    ],
)
def test_a_table_that_cannot_be_read_says_where(tmp_path: Path, name: str, told: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(told)
    with pytest.raises(InvalidInput) as caught:
        load(tmp_path / name)
    assert words in caught.value.message


def test_the_report_shows_texts_and_rows_and_escapes_them(tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script> and more words to make it long enough to be told from others"
    page = render(load(texts(tmp_path / "t.jsonl", [(hostile, "on"), (hostile, "on")])).report)
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>" not in page
    table = render(load(jsonl(tmp_path / "r.jsonl", [*rows(), rows()[0]])).report)
    assert "<dt>age</dt><dd>20</dd>" in table


@pytest.mark.parametrize("modality", ["tabular", "image+text"])
def test_a_folder_is_no_table(tmp_path: Path, modality: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(png(1))
    with pytest.raises(InvalidInput, match="is a folder"):
        read(tmp_path, modality=modality)
