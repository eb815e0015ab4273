"""Who may come in: room, shares of it, and an early word to whoever would wait in vain."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.engine.admission import BRISK_TIMES, DOUBT, Gate, Overloaded

LONG = 1e9


class Clock:
    """Time that only a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Refusals(list[tuple[str, str]]):
    def __call__(self, scene: str, reason: str) -> None:
        self.append((scene, reason))


def gate(limit: int) -> tuple[Gate, Clock, Refusals]:
    clock, refusals = Clock(), Refusals()
    return Gate(limit, refusals, clock), clock, refusals


def served(made: Gate, clock: Clock, each: float, count: int, scene: str = "a") -> None:
    """Let ``count`` in together, and answer one every ``each`` seconds."""
    entered = [made.of(scene, 1, LONG) for _ in range(count)]
    for one in entered:
        one.__enter__()
    for one in entered:
        clock.now += each
        one.__exit__(None, None, None)


def test_a_full_room_is_refused_with_the_time_until_there_is_room() -> None:
    made, clock, refusals = gate(4)
    served(made, clock, 3.0, 4)
    with made.of("a", 4, LONG), pytest.raises(Overloaded, match="4 instances wait already, of 4") as refused:
        made.check("a", 2, LONG)
    assert (refused.value.status, refused.value.reason, refused.value.retry_after) == (503, "full", 6)
    assert refusals == [("a", "full")]
    made.check("a", 4, LONG)


def test_whoever_would_wait_beyond_the_deadline_is_told_at_once() -> None:
    made, clock, refusals = gate(1000)
    served(made, clock, 0.5, 10)
    with made.of("a", 19, LONG):
        made.check("a", 1, 10.0 * DOUBT)
        with pytest.raises(Overloaded, match=r"may take 15\.0 s, and the deadline is in 14\.9 s") as refused:
            made.check("a", 1, 14.9)
        assert (refused.value.reason, refused.value.retry_after) == ("late", 1)
        with pytest.raises(Overloaded, match=r"may take 15\.0 s, and the deadline is in 7\.5 s") as refused:
            made.check("a", 1, 7.5)
    assert (refused.value.reason, refused.value.retry_after) == ("late", 8)
    assert refusals == [("a", "late"), ("a", "late")]


def test_a_flooded_scene_leaves_the_others_their_share() -> None:
    made, _, _ = gate(10)
    with ExitStack() as inside:
        for _ in range(10):
            inside.enter_context(made.of("flood", 1, LONG))
        for _ in range(5):
            inside.enter_context(made.of("other", 1, LONG))
        with pytest.raises(Overloaded):
            made.check("other", 1, LONG)
        with pytest.raises(Overloaded):
            made.check("flood", 1, LONG)
        assert made.inside == 15
    assert made.inside == 0


def test_a_request_larger_than_the_room_may_enter_where_nothing_of_its_scene_waits() -> None:
    made, _, _ = gate(3)
    with made.of("a", 5, LONG), pytest.raises(Overloaded):
        made.check("a", 1, LONG)


def test_a_model_that_is_soon_through_with_all_of_them_has_more_room() -> None:
    """A refusal costs about as much as such an answer."""
    made, clock, _ = gate(10)
    served(made, clock, 0.001, 10)
    with ExitStack() as inside:
        for _ in range(10 * BRISK_TIMES):
            inside.enter_context(made.of("a", 1, LONG))
        with pytest.raises(Overloaded, match="of 40 at most"):
            made.check("a", 1, LONG)


def test_a_pace_of_long_ago_is_soon_forgotten() -> None:
    made, clock, _ = gate(1000)
    served(made, clock, 20.0, 5)
    clock.now += 60
    served(made, clock, 0.01, 50)
    with made.of("a", 50, LONG):
        made.check("a", 1, 1.0)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 5), st.booleans()), max_size=60), st.integers(1, 20))
def test_what_is_inside_is_bounded_and_always_goes_back_to_nothing(
    moves: list[tuple[str, int, bool]], limit: int
) -> None:
    made, clock, _ = gate(limit)
    inside: list[tuple[int, ExitStack]] = []
    for scene, count, leaves in moves:
        clock.now += 0.01
        if leaves and inside:
            inside.pop(0)[1].close()
        else:
            stack = ExitStack()
            try:
                stack.enter_context(made.of(scene, count, LONG))
            except Overloaded as error:
                assert error.retry_after >= 1
            else:
                inside.append((count, stack))
        assert made.inside == sum(count for count, _ in inside)
        assert made.inside <= BRISK_TIMES * (limit + limit // 2 + limit // 3) + 3 * 5
    for _, stack in inside:
        stack.close()
    assert made.inside == 0
