"""Laws of rows that are labelled for some of several tasks: which of them judge, and which are drawn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from core.types import Example, Scene
from training import tuning
from training.select import spread
from training.tasks import by_task, group

AXIS = "axis"
HALF = Scene(name="halves", task="classification", modality="image", labels=("left", "right", "top"), task_name="half")
BOTH = replace(HALF, further=(replace(HALF, task_name=AXIS, labels=("across", "along")),))
ONE = replace(HALF, task_name="")

said = st.lists(
    st.tuples(st.sampled_from([None, *HALF.labels]), st.sampled_from([None, "across", "along"])), max_size=40
)


def rows(told: Sequence[tuple[str | None, str | None]]) -> list[Example]:
    return [
        Example(digest=f"{n:03d}", path="", split="train", label=half, further={AXIS: axis} if axis else {})
        for n, (half, axis) in enumerate(told)
    ]


def counts(examples: Sequence[Example]) -> Counter[tuple[str, str]]:
    told = by_task(BOTH, examples)
    return Counter((task.task_name, group(task, example)) for task, mine in told for example in mine)


@given(said)
def test_of_each_class_of_every_task_about_a_fifth_judges_and_two_stay(
    told: list[tuple[str | None, str | None]],
) -> None:
    given_rows = rows(told)
    found = tuning.sides(given_rows, BOTH, 0)
    assert sorted(e.digest for e in (*found.train, *found.validation)) == [e.digest for e in given_rows]
    kept, held, whole = counts(found.train), counts(found.validation), counts(given_rows)
    for name, count in whole.items():
        assert kept[name] >= min(count, tuning.KEPT)
        if all(number > 4 * tuning.KEPT for number in whole.values()):
            assert held[name] >= count // tuning.CARVED


@given(said, st.integers(0, 60))
def test_no_more_judge_than_are_wanted_but_one_of_each_class(
    told: list[tuple[str | None, str | None]], most: int
) -> None:
    given_rows = rows(told)
    found, usual = tuning.sides(given_rows, BOTH, 0, most), tuning.sides(given_rows, BOTH, 0)
    assert sorted(e.digest for e in (*found.train, *found.validation)) == [e.digest for e in given_rows]
    assert len(found.validation) <= len(BOTH.tasks) * max(most, len(counts(given_rows)))
    assert len(found.validation) <= len(usual.validation)


@given(said)
def test_a_scene_with_one_task_is_parted_as_that_task_among_others_is_first(
    told: list[tuple[str | None, str | None]],
) -> None:
    alone = [replace(example, further={}) for example in rows(told) if example.label]
    silent = replace(BOTH, further=tuple(replace(task, task_name="other") for task in BOTH.further))
    assert tuning.sides(alone, ONE, 3) == tuning.sides(alone, silent, 3)
    assert spread(alone, ONE, 3, 7) == spread(alone, silent, 3, 7)


@given(said, st.integers(1, 20))
def test_tasks_are_drawn_in_turn_and_no_row_twice(told: list[tuple[str | None, str | None]], most: int) -> None:
    given_rows = rows(told)
    drawn = spread(given_rows, BOTH, 0, most)
    assert len({e.digest for e in drawn}) == len(drawn) <= most
    assert all(example in given_rows for example in drawn)
    assert drawn == spread(given_rows[::-1], BOTH, 0, most)
    whole, taken = counts(given_rows), counts(drawn)
    for task in (HALF.task_name, AXIS):
        there = sum(count for (name, _), count in whole.items() if name == task and count > 1)
        asked = sum(count for (name, _), count in taken.items() if name == task)
        assert asked >= min(there, most // len(BOTH.tasks))
