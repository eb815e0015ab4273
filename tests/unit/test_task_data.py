"""Several label columns of a table: what is an example of which task, and what is refused or reported."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from core.errors import InvalidInput
from core.types import Example, Scene
from training.data import Dataset, load
from training.page import render
from training.tasks import by_task

HEAD = ("age", "town", "organ", "severity")


def table(path: Path, lines: Sequence[Sequence[object]], head: Sequence[str] = HEAD) -> Path:
    file = path / "cases.csv"
    file.write_text("\n".join(",".join(map(str, line)) for line in [head, *lines]) + "\n")
    return file


def cases(count: int = 60) -> list[list[object]]:
    """Every fourth without an organ, every fifth without a severity; the severity is a measurement."""
    return [
        [
            20 + n,
            f"town {n % 7}",
            "" if n % 4 == 0 else ("liver", "lung")[n % 2],
            "" if n % 5 == 0 else f"{n * 0.37 + 0.01:.2f}",
        ]
        for n in range(count)
    ]


def loaded(file: Path, *labels: str, **more: object) -> Dataset:
    return load(file, label=labels or ("organ", "severity"), **more)  # type: ignore[arg-type]


def test_every_column_is_a_task_of_its_own_kind(tmp_path: Path) -> None:
    dataset = loaded(table(tmp_path, cases()))
    assert (dataset.task_name, dataset.task, dataset.labels) == ("organ", "classification", ("liver", "lung"))
    (severity,) = dataset.further
    assert (severity.name, severity.task, severity.labels) == ("severity", "regression", ())
    assert b"organ" not in b"".join(e.content or b"" for e in dataset.examples)


def test_a_line_counts_for_the_tasks_it_is_labelled_for_and_one_without_any_is_dropped_and_reported(
    tmp_path: Path,
) -> None:
    dataset = loaded(table(tmp_path, cases()))
    assert (dataset.report.seen, dataset.report.kept, dataset.report.dropped) == (60, 57, 3)
    assert [finding.kind for finding in dataset.report.findings if finding.dropped] == ["no_label"] * 3
    assert sum(e.label is None for e in dataset.examples) == 12
    assert sum(not e.further for e in dataset.examples) == 9
    told = dataset.report.tasks
    assert {name: each.labelled for name, each in told.items()} == {"organ": 45, "severity": 48}
    assert "  severity: 48 labelled, regression" in dataset.report.lines()
    assert dataset.report.to_json()["tasks"]
    assert "Classes of organ" in render(dataset.report)


def test_a_task_among_others_has_the_examples_that_it_has_alone(tmp_path: Path) -> None:
    lines = [line for line in cases() if line[2] != ""]
    both, alone = loaded(table(tmp_path, lines)), load(table(tmp_path, lines), label="organ")
    assert alone.task_name == "" and alone.further == () and alone.report.tasks == {}
    scene = scene_of(both)
    mine = {task.task_name: examples for task, examples in by_task(scene, both.examples)}
    assert {e.label for e in mine["organ"]} == {"liver", "lung"} and len(mine["organ"]) == len(alone.examples)
    assert all(e.value is not None and e.label is None and e.further == {} for e in mine["severity"])


def scene_of(dataset: Dataset) -> Scene:
    further = tuple(
        Scene(name="s", task=t.task, modality="tabular", labels=t.labels, task_name=t.name) for t in dataset.further
    )
    return Scene(name="s", task=dataset.task, modality="tabular", task_name=dataset.task_name, further=further)


def test_sides_are_alike_in_all_tasks_where_every_combination_has_enough_lines(tmp_path: Path) -> None:
    lines = [[n, n % 3, ("liver", "lung")[n % 2], ("mild", "bad")[n // 2 % 2]] for n in range(80)]
    sides = Counter((e.split, e.label, e.further["severity"]) for e in loaded(table(tmp_path, lines)).examples)
    assert {count for (side, *_), count in sides.items() if side == "test"} == {4}
    assert {count for (side, *_), count in sides.items() if side == "validation"} == {2}


def test_sides_are_alike_in_the_first_task_where_some_combination_is_rare(tmp_path: Path) -> None:
    lines = [[n, n % 3, ("liver", "lung")[n % 2], "rare" if n < 4 else "usual"] for n in range(80)]
    dataset = loaded(table(tmp_path, lines))
    assert Counter(e.label for e in dataset.of("test")) == {"liver": 8, "lung": 8}


def test_groups_and_given_sides_are_honoured(tmp_path: Path) -> None:
    lines = [[*line, ("train", "test")[n % 2], f"g{n}"] for n, line in enumerate(cases())]
    dataset = loaded(table(tmp_path, lines, (*HEAD, "split", "group")))
    assert len(dataset.of("train")) + len(dataset.of("test")) == 57 and dataset.of("validation") == ()
    assert all(example.group is not None for example in dataset.examples)


def test_copies_bring_their_labels_together_and_contradict_each_other_in_one_task_alone(tmp_path: Path) -> None:
    lines = [
        [500, "a", "liver", ""],
        [500, "a", "", "3.5"],
        [501, "b", "liver", "1.5"],
        [501, "b", "lung", "1.5"],
        [502, "c", "liver", "1.5"],
        [502, "c", "lung", "2.5"],
    ]
    dataset = loaded(table(tmp_path, [*cases(), *lines]))
    found = [said(e) for e in dataset.examples if json.loads(e.content or b"{}")["age"] >= 500]
    assert sorted(found, key=repr) == [("liver", {"severity": 3.5}), (None, {"severity": 1.5})]
    conflicts = dataset.report.of("conflict")
    assert [finding.dropped for finding in conflicts].count(False) == 1 and len(conflicts) == 3


def said(example: Example) -> tuple[object, object]:
    return example.label, dict(example.further)


def test_a_word_among_measurements_costs_the_line_that_task_alone(tmp_path: Path) -> None:
    lines = [*cases(), [900, "x", "liver", "high"], [901, "x", "", "high"]]
    report = loaded(table(tmp_path, lines), task={"severity": "regression"}).report
    assert [finding.dropped for finding in report.of("bad_value")] == [False, True]
    assert report.of("bad_value")[0].detail == "severity: 'high' is not a finite number"


def test_what_a_task_is_can_be_said_of_one_or_of_all(tmp_path: Path) -> None:
    lines = [[n, n % 3, ("liver", "lung")[n % 2], n % 4] for n in range(60)]
    file = table(tmp_path, lines)
    assert [t.task for t in loaded(file).further] == ["classification"]
    assert [t.task for t in loaded(file, task={"severity": "regression"}).further] == ["regression"]
    with pytest.raises(InvalidInput, match="there is no task sex"):
        loaded(file, task={"sex": "regression"})


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (("organ", "organ"), "two tasks are called 'organ'"),
        (("organ", "stage"), "has no column named stage; it has: age, town, organ, severity"),
        (("organ", "heart rate"), "'heart rate' cannot name a task"),
        (tuple(f"t{n}" for n in range(40)), "40 tasks were named, of 16 at most"),
        (("age", "town", "organ", "severity"), "no column beside its label"),
    ],
)
def test_columns_that_cannot_be_tasks_are_refused(labels: tuple[str, ...], words: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=words) as refused:
        loaded(table(tmp_path, cases()), *labels)
    assert refused.value.remedy


def test_a_column_that_has_a_meaning_of_its_own_is_no_task(tmp_path: Path) -> None:
    file = table(tmp_path, [[*line, "train"] for line in cases()], (*HEAD, "split"))
    with pytest.raises(InvalidInput, match="has a meaning of its own, and is no task"):
        loaded(file, "organ", "split")


@pytest.mark.parametrize(("word", "words"), [("mild", "has one class only: mild"), ("", "has no class")])
def test_a_task_with_less_than_two_classes_is_refused_by_its_name(word: str, words: str, tmp_path: Path) -> None:
    file = table(tmp_path, [[*line[:3], word] for line in cases()])
    with pytest.raises(InvalidInput, match=rf"task severity of cases\.csv {words}"):
        loaded(file)


def test_a_task_without_a_training_line_is_refused_by_its_name(tmp_path: Path) -> None:
    lines = [[n, n % 3, ("liver", "lung")[n % 2], n % 4 if n % 2 else "", ("train", "test")[n % 2]] for n in range(60)]
    with pytest.raises(InvalidInput, match=r"task severity of cases\.csv has no training example left"):
        loaded(table(tmp_path, lines, (*HEAD, "split")))


def test_folders_are_the_labels_of_one_task(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    with pytest.raises(InvalidInput, match="whose folders are the labels of one task"):
        loaded(tmp_path)
