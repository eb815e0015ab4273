"""Labels are classes or values by a rule, and the report says so where somebody may have expected the other."""

from pathlib import Path

import pytest

from training import data
from training.guess import guess

HALVES = [str(n / 2) for n in range(50)]


@pytest.mark.parametrize(
    ("labels", "task", "words"),
    [
        (["yes", "no"] * 40, "classification", ""),
        ([str(n % 20) for n in range(2_000)], "classification", ""),
        ([str(n % 100) for n in range(2_000)], "classification", "100 different whole numbers, 20 rows each"),
        (
            [str(n % 100) for n in range(1_999)],
            "regression",
            "100 different whole numbers, 20 rows each: read as values",
        ),
        ([str(n) for n in range(21)], "regression", "--task classification"),
        (HALVES * 50, "regression", "50 different numbers, 50 rows each"),
        ([*HALVES, "unknown"], "classification", ""),
        ([*HALVES, "nan"], "classification", ""),
        ([str(n + 0.5 * (n < 3)) for n in range(30)] * 30, "classification", "--task regression"),
    ],
)
def test_the_rule(labels: list[str], task: str, words: str) -> None:
    found, remarks = guess(labels, folders=False)
    assert found == task
    assert (words in remarks[0].detail) if words else not remarks


def test_folders_are_classes_whatever_they_are_called() -> None:
    assert guess([str(n) for n in range(99)], folders=True) == ("classification", [])


def test_the_report_says_it_unless_the_user_has_said_it(tmp_path: Path) -> None:
    file = tmp_path / "ages.csv"
    file.write_text("height,label\n" + "".join(f"{100 + n},{n // 2}\n" for n in range(120)))
    guessed = data.load(file)
    assert guessed.task == "regression"
    assert any("--task classification" in line for line in guessed.report.lines()) or guessed.report.counts()["task"]
    assert {example.value for example in guessed.examples} == {float(n) for n in range(60)}
    told = data.load(file, task="classification")
    assert (told.task, len(told.labels)) == ("classification", 60)
    assert "task" not in told.report.counts()
