"""The study by itself: a clock that is turned by hand, and outcomes that are made up from the choice."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInput
from training import search
from training.recipe import Epoch
from training.search import Outcome, Search, Trial, Turn
from training.space import Choice, Space

SPACE = Space(backbones=("small", "large"), sizes=(32, 64), recipes=("closed_form", "finetune", "lora"))
FIRSTS = (Choice(backbone="small", size=64, recipe="finetune"),)


class Clock:
    """Seconds, turned by whoever works."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def outcome(choice: Choice) -> Outcome:
    """Larger and tuned is better, and slower."""
    large = choice.backbone == "large"
    score = 0.5 + 0.1 * large + 0.1 * (choice.recipe != "closed_form") + random.Random(choice.words()).random() / 100
    return Outcome(
        score=score, low=score, high=score, milliseconds=1 + large, model_bytes=10 + 10 * large, outcomes=(1.0, 0.0)
    )


def history(score: float, epochs: int) -> list[Epoch]:
    return [
        Epoch(number=n, loss=1.0, validation_loss=1.0, validation_score=score, rate=0.0, seconds=n, left=0.0)
        for n in range(epochs + 1)
    ]


def working(clock: Clock, seconds: float = 10.0) -> Callable[[Choice, Turn], Outcome]:
    def attempt(choice: Choice, turn: Turn) -> Outcome:
        clock.now += seconds
        return outcome(choice)

    return attempt


def ten(choice: Choice) -> float:
    return 10.0


def test_a_budget_is_kept_by_the_clock(tmp_path: Path) -> None:
    clock = Clock()
    study = Search(tmp_path / "s.journal", SPACE, 0, clock)
    why = study.run(working(clock), 65.0, ten, firsts=FIRSTS)
    assert clock.now <= 65
    assert len(study.trials) >= 6
    assert "would take 10 s at least, and 5 s were left" in why


def test_no_time_at_all_begins_nothing(tmp_path: Path) -> None:
    study = Search(tmp_path / "s.journal", SPACE, 0, Clock())
    assert "were left" in study.run(working(Clock()), 3.0, ten)
    assert not study.trials


@pytest.mark.parametrize("cut", [2, 5, 8])
def test_a_search_that_was_cut_off_goes_on_as_it_would_have(tmp_path: Path, cut: int) -> None:
    clock = Clock()
    whole = Search(tmp_path / "whole.journal", SPACE, 7, clock)
    whole.run(working(clock), 100.0, ten, firsts=FIRSTS)
    wanted = [trial.choice for trial in whole.trials]

    def interrupted(choice: Choice, turn: Turn) -> Outcome:
        if len(part.trials) == cut:
            raise KeyboardInterrupt
        return outcome(choice)

    part = Search(tmp_path / "part.journal", SPACE, 7, clock)
    assert part.run(interrupted, 1000.0, ten, firsts=FIRSTS) == "it was interrupted"
    assert len(part.trials) == cut
    again = Search(tmp_path / "part.journal", SPACE, 7, clock)
    again.run(working(clock), 1000.0, ten, firsts=FIRSTS, enough=lambda t: "enough" if len(t) >= len(wanted) else "")
    assert [trial.choice for trial in again.trials] == wanted
    assert [trial.outcome for trial in again.trials] == [trial.outcome for trial in whole.trials]


def test_a_torn_last_line_costs_the_trial_that_wrote_it_alone(tmp_path: Path) -> None:
    clock, file = Clock(), tmp_path / "s.journal"
    study = Search(file, SPACE, 0, clock)
    study.run(working(clock), 45.0, ten)
    before = study.trials
    with file.open("ab") as journal:
        journal.write(b'{"op_code":4,"work')
    study = Search(file, SPACE, 0, clock)
    assert study.trials == before
    study.run(working(clock), 45.0, ten)
    assert len(study.trials) > len(before)


def test_a_trial_that_is_behind_half_of_the_others_is_given_up(tmp_path: Path) -> None:
    scores = iter([0.9, 0.8, 0.7, 0.2, 0.95])

    def attempt(choice: Choice, turn: Turn) -> Outcome:
        for epoch in history(next(scores), 4):
            turn.told(epoch)
        return outcome(choice)

    space = Space(backbones=tuple("abcdefgh"), recipes=("finetune",))
    study = Search(tmp_path / "s.journal", space, 0, Clock())
    study.run(attempt, 100.0, ten, enough=lambda trials: "enough" if len(trials) == 5 else "")
    assert [trial.ended for trial in study.trials] == ["tried", "tried", "tried", "given up", "tried"]
    assert len(study.trials[3].history) == 3, "two epochs are granted"
    assert "half of the others had 0.800" in study.trials[3].reason


def test_what_cannot_be_tried_is_told_and_ends_a_search_only_if_nothing_can(tmp_path: Path) -> None:
    def attempt(choice: Choice, turn: Turn) -> Outcome:
        raise InvalidInput("no layer fits", "use another")

    space = Space(backbones=tuple("abcdefgh"), recipes=("finetune",))
    study = Search(tmp_path / "s.journal", space, 0, Clock())
    why = study.run(attempt, 1e9, ten)
    assert why == f"the last 5 trials failed ({study.trials[-1].reason})"
    assert "no layer fits" in why


def test_what_nothing_can_stand_on_is_not_tried_again(tmp_path: Path) -> None:
    clock = Clock()

    def attempt(choice: Choice, turn: Turn) -> Outcome:
        if choice.size == 64:
            raise InvalidInput("no pictures of 64 pixels", "give others")
        return working(clock)(choice, turn)

    study = Search(tmp_path / "s.journal", SPACE, 0, clock)
    study.run(attempt, 200.0, ten)
    failed = [trial.choice.ground for trial in study.trials if trial.ended == "failed"]
    assert len(failed) == len(set(failed)) > 0
    assert any(trial.ended == "tried" for trial in study.trials)


def test_a_space_of_one_choice_is_soon_exhausted(tmp_path: Path) -> None:
    clock = Clock()
    space = Space(backbones=("small",), recipes=("closed_form",))
    study = Search(tmp_path / "s.journal", space, 0, clock)
    assert "had been tried before" in study.run(working(clock), 1e9, ten)
    assert clock.now == 10.0


def test_the_key_is_another_for_other_data_and_another_space() -> None:
    assert SPACE.key("a") == SPACE.key("a")
    assert len({SPACE.key("a"), SPACE.key("b"), Space(backbones=("x",), recipes=("lora",)).key("a")}) == 3


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=12))
def test_nothing_beats_the_front_and_the_front_beats_all_else(points: list[tuple[int, int, int]]) -> None:
    def trial(number: int, point: tuple[int, int, int]) -> Trial:
        score, milliseconds, size = point
        found = Outcome(
            score=float(score), low=0, high=0, milliseconds=float(milliseconds), model_bytes=size, outcomes=()
        )
        return Trial(number=number, choice=FIRSTS[0], seconds=1, ended="tried", outcome=found)

    trials = [trial(number, point) for number, point in enumerate(points)]
    front = {each.number for each in search.front(trials)}
    assert front, "there always is one"

    def as_good(one: tuple[int, int, int], other: tuple[int, int, int]) -> bool:
        return one[0] >= other[0] and one[1] <= other[1] and one[2] <= other[2]

    for number, point in enumerate(points):
        if number in front:
            assert not any(as_good(other, point) and other != point for other in points)
        else:
            assert any(as_good(points[place], point) for place in front)
