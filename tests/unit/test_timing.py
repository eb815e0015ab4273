"""How long one prediction takes, on a machine that does other work, too."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from training import timing


def _timed(costs: Sequence[float], factor_of: Callable[[int], float]) -> tuple[list[float], int]:
    """What ``quickest`` says of calls that take ``costs``, times a factor of each turn; and how many turns it took."""
    now, turns = [0.0], [0] * len(costs)

    def asker(place: int) -> Callable[[], None]:
        def ask() -> None:
            now[0] += costs[place] * factor_of(turns[place])
            turns[place] += 1

        return ask

    found = timing.quickest([asker(place) for place in range(len(costs))], lambda: now[0])
    return found, turns[0]


@given(st.floats(1.0, 3.0), st.data())
def test_other_work_is_not_taken_for_a_slower_model(ratio: float, data: st.DataObject) -> None:
    """As long as one turn in every ``PATIENCE`` is undisturbed, the ratio of the two is theirs."""
    factors = data.draw(st.lists(st.floats(1.0, 20.0), min_size=timing.PATIENCE - 1, max_size=timing.PATIENCE - 1))
    period = [*factors, 1.0]
    (mine, theirs), _ = _timed([1.0, ratio], lambda turn: period[turn % len(period)])
    assert abs(theirs / mine - ratio) < 0.02 * ratio


def test_a_burst_that_outlasts_the_first_turns_is_waited_for() -> None:
    """Load that falls little by little brings quicker turns again and again."""
    (mine, theirs), turns = _timed([0.010, 0.010], lambda turn: max(1.0, 5.0 - turn / 10))
    assert abs(mine - 0.010) < 2e-4 and abs(theirs - 0.010) < 2e-4
    assert turns < timing.WARM + timing.MOST


def test_a_quiet_machine_is_asked_few_times() -> None:
    (mine, theirs), turns = _timed([0.010, 0.013], lambda turn: 1.0)
    assert abs(mine - 0.010) < 1e-9 and abs(theirs - 0.013) < 1e-9
    assert turns == timing.WARM + 1 + timing.PATIENCE


def test_a_machine_that_gets_quicker_and_quicker_is_not_asked_for_ever() -> None:
    _, turns = _timed([1.0], lambda turn: 0.98**turn)
    assert turns == timing.WARM + timing.MOST
