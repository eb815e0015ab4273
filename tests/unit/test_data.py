"""Loading folders and tables: what is read, what is refused, and how it is said."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest

from core.errors import InvalidInput, NotFound
from core.preprocess import Limits
from tests.pictures import class_folders, png, put, twin
from training.clean import LabelError
from training.data import Dataset, load, with_label_errors


def table(folder: Path, text: str, pictures: int = 0) -> Path:
    for number in range(pictures):
        put(folder, f"{number}.png", png(number))
    return put(folder, "data.csv", text.encode())


def kinds(dataset: Dataset) -> Counter[str]:
    return dataset.report.counts()


def test_a_folder_of_class_folders_is_split_by_label(tmp_path: Path) -> None:
    dataset = load(class_folders(tmp_path, {"cat": 10, "dog": 20}))
    assert dataset.labels == ("cat", "dog")
    assert dataset.report.classes == {
        "cat": {"train": 7, "validation": 1, "test": 2},
        "dog": {"train": 14, "validation": 2, "test": 4},
    }
    assert dataset.median_side == 24
    assert all(Path(example.path).is_absolute() for example in dataset.examples)


def test_another_seed_draws_another_split(tmp_path: Path) -> None:
    class_folders(tmp_path, {"cat": 15, "dog": 15})
    assert load(tmp_path, seed=1).digest == load(tmp_path, seed=1).digest != load(tmp_path, seed=2).digest


def test_folders_named_train_and_test_are_honoured(tmp_path: Path) -> None:
    for number, name in enumerate(["train/a/x.png", "train/b/y.png", "val/a/z.png", "test/b/w.png"]):
        put(tmp_path, name, png(number))
    dataset = load(tmp_path)
    assert dataset.labels == ("a", "b")
    assert dataset.report.splits == {"train": 2, "validation": 1, "test": 1}


def test_every_kind_of_unusable_file_is_named(tmp_path: Path) -> None:
    class_folders(tmp_path, {"cat": 4, "dog": 4})
    put(tmp_path, "cat/empty.png", b"")
    put(tmp_path, "cat/broken.png", png(90)[:80])
    put(tmp_path, "cat/text.jpg", b"no picture at all")
    put(tmp_path, "cat/big.png", png(91) + b"\0" * 5000)
    put(tmp_path, "loose.png", png(92))
    put(tmp_path, "cat/.DS_Store", b"x")
    os.mkfifo(tmp_path / "dog" / "pipe.png")
    (tmp_path / "dog" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    dataset = load(tmp_path, limits=Limits(max_bytes=5000))
    assert kinds(dataset) == {
        **{kind: 1 for kind in ("empty", "corrupt", "other_format", "too_large", "no_class", "hidden")},
        **{"not_a_file": 1, "unreadable": 1},
    }
    assert (dataset.report.seen, dataset.report.kept, dataset.report.dropped) == (16, 8, 8)


def test_loops_of_links_end(tmp_path: Path) -> None:
    class_folders(tmp_path, {"cat": 3, "dog": 3})
    (tmp_path / "cat" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "cat" / "self").symlink_to(tmp_path / "cat" / "self")
    report = load(tmp_path).report
    assert report.kept == 6
    assert report.counts() == {"link_loop": 1, "unreadable": 1}


def test_copies_are_counted_once_and_contradictions_are_dropped(tmp_path: Path) -> None:
    class_folders(tmp_path, {"cat": 4, "dog": 4})
    put(tmp_path, "cat/copy.png", png(0))
    put(tmp_path, "dog/cat_after_all.png", png(1))
    dataset = load(tmp_path)
    assert kinds(dataset) == {"duplicate": 1, "conflict": 2}
    assert {finding.path for finding in dataset.report.of("conflict")} == {"cat/001.png", "dog/cat_after_all.png"}
    assert dataset.report.kept == 7


def test_near_twins_stay_on_one_side(tmp_path: Path) -> None:
    class_folders(tmp_path, {"cat": 12, "dog": 12})
    for number in range(12):
        put(tmp_path, f"cat/twin{number}.jpg", twin(number))
    dataset = load(tmp_path)
    assert kinds(dataset) == {"twin": 12}
    side = {Path(example.path).name: example.split for example in dataset.examples if example.label == "cat"}
    assert all(side[f"{number:03}.png"] == side[f"twin{number}.jpg"] for number in range(12))
    assert set(side.values()) == {"train", "validation", "test"}


def test_a_copy_or_twin_on_two_given_sides_leaves_the_training_side(tmp_path: Path) -> None:
    put(tmp_path, "again.png", png(0))
    put(tmp_path, "twin.jpg", twin(1))
    lines = ["image,label,split", "0.png,a,test", "again.png,a,train", "1.png,b,test", "twin.jpg,b,train"]
    lines += ["2.png,a,train", "3.png,b,train"]
    dataset = load(table(tmp_path, "\n".join(lines), pictures=4))
    assert {finding.path for finding in dataset.report.of("leak")} == {"again.png", "twin.jpg"}
    assert dataset.report.splits == {"train": 2, "validation": 0, "test": 2}


def test_groups_and_subjects_stay_on_one_side(tmp_path: Path) -> None:
    for column in ("group", "subject"):
        lines = [f"image,label,{column}"] + [f"{n}.png,{'ab'[n % 2]},g{n // 4}" for n in range(40)]
        dataset = load(table(tmp_path, "\n".join(lines), pictures=40))
        sides: dict[str | None, set[str]] = {}
        for example in dataset.examples:
            sides.setdefault(example.group, set()).add(example.split)
        assert len(sides) == 10 and all(len(side) == 1 for side in sides.values())
        assert len(dataset.of("test")) == 8


def test_a_class_of_one_trains_and_is_reported(tmp_path: Path) -> None:
    dataset = load(class_folders(tmp_path, {"cat": 9, "rare": 1}))
    assert [example.split for example in dataset.examples if example.label == "rare"] == ["train"]
    assert [finding.path for finding in dataset.report.of("small_class")] == ["rare"]


def test_measured_numbers_make_a_regression_and_whole_numbers_classes(tmp_path: Path) -> None:
    measured = "image,label\n" + "\n".join(f"{n}.png,{n / 7:.3f}" for n in range(30))
    dataset = load(table(tmp_path, measured, pictures=30))
    assert (dataset.task, dataset.labels) == ("regression", ())
    assert [example.label for example in dataset.examples] == [None] * 30
    whole = "image,label\n" + "\n".join(f"{n}.png,{n % 3}" for n in range(30))
    assert load(table(tmp_path, whole)).task == "classification"


def test_values_that_are_no_numbers_are_dropped_from_a_regression(tmp_path: Path) -> None:
    lines = "image,label\n0.png,1.5\n1.png,nan\n2.png,high\n3.png,2.5\n4.png,1e400"
    dataset = load(table(tmp_path, lines, pictures=5), task="regression")
    assert dataset.report.counts() == {"bad_value": 3}
    assert sorted(example.value or 0 for example in dataset.examples) == [1.5, 2.5]


def test_a_line_is_refused_by_what_it_names(tmp_path: Path) -> None:
    outside = put(tmp_path, "secret.png", png(50))
    lines = ["image,label", "0.png,a", "1.png,b", ",a", "2.png,", "../secret.png,a", f"{outside},a", "gone.png,a"]
    dataset = load(table(tmp_path / "in", "\n".join(lines), pictures=2))
    counts = {"no_input": 1, "no_label": 1, "outside": 2, "missing": 1, "small_class": 2}
    assert dataset.report.counts() == counts


def test_hostile_class_names_are_kept_as_they_are(tmp_path: Path) -> None:
    names = {"<script>alert(1)</script>".replace("/", "_"): 2, "=cmd|' ": 2, "Cat": 2, "cat ": 2}
    dataset = load(class_folders(tmp_path, names))
    assert set(dataset.labels) == set(names)
    assert [finding.path for finding in dataset.report.of("similar_names")] == ["cat "]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("image,label\n", "has a header, but no line"),
        ("label\na", "has no column beside its label; it has: label"),
        ("image,class\n0.png,a", "has no column named label; it has: image, class"),
        ("image,label,split\n0.png,a,practice", "line 2: split 'practice' is unknown"),
        ('image,label\n"0.png,a', "is not CSV"),
        ("image,label\n0.png,a\n1.png,a", "has one class only: a (2 pictures)"),
        ("image,label\nx.png,a\ny.png,b", "holds no usable picture: all 2 were dropped (missing 2)"),
        ("image,label,split\n0.png,a,test\n1.png,b,test", "has no training example left"),
    ],
)
def test_a_table_that_cannot_be_used_says_why(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        load(table(tmp_path, text, pictures=2))
    assert message in caught.value.message
    assert caught.value.remedy


def test_another_label_column_can_be_chosen(tmp_path: Path) -> None:
    file = table(tmp_path, "image,kind\n0.png,a\n1.png,b", pictures=2)
    assert load(file, label="kind").labels == ("a", "b")


def test_paths_that_hold_nothing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        load(tmp_path / "nowhere")
    (tmp_path / "cat").mkdir()
    with pytest.raises(InvalidInput, match="holds no file"):
        load(tmp_path)
    with pytest.raises(InvalidInput, match="neither a folder nor a CSV, JSONL or Parquet file"):
        load(put(tmp_path, "data.xlsx", b"x"))
    put(tmp_path, "cat/x.png", png(1))
    with pytest.raises(InvalidInput, match="one class only: cat"):
        load(tmp_path)


def test_a_binary_file_named_csv_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="not UTF-8"):
        load(put(tmp_path, "data.csv", b"image,label\n\xff\xfe,\x80"))


def test_labels_that_look_wrong_join_the_report_and_stay_in_the_data(tmp_path: Path) -> None:
    dataset = load(class_folders(tmp_path, {"cat": 5, "dog": 5}))
    train = dataset.of("train")
    error = LabelError(index=1, given=0, suggested=1, probability=0.01)
    told = with_label_errors(dataset, train, [error], dataset.labels)
    assert told.examples == dataset.examples
    (finding,) = told.report.of("label_error")
    assert Path(train[1].path) == tmp_path / finding.path
    assert (finding.label, finding.dropped) == ("cat", False)
    assert finding.detail.startswith("looks like dog")


def test_a_table_that_is_said_to_name_pictures_has_to_have_their_column(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="has no column named image; it has: file, label"):
        load(table(tmp_path, "file,label\n0.png,a", pictures=2), modality="image")
