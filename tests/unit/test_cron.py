"""Moments that come again, as crontab spells them."""

from __future__ import annotations

import time

import pytest

from core import cron
from core.errors import BadConfiguration


def at(day: int, hour: int, minute: int = 0) -> float:
    """A moment of January 2030, whose seventh is a Monday, by the clock of this machine."""
    return time.mktime((2030, 1, day, hour, minute, 0, 0, 0, -1))


@pytest.mark.parametrize(
    ("expression", "since", "expected"),
    [
        ("0 3 * * 1", at(7, 2), at(7, 3)),
        ("0 3 * * 1", at(7, 3), at(14, 3)),
        ("0 3 * * mon", at(7, 2), at(7, 3)),
        ("0 3 * * 0", at(7, 2), at(13, 3)),
        ("0 3 * * 7", at(7, 2), at(13, 3)),
        ("0 3 * * 5-7", at(7, 2), at(11, 3)),
        ("0 3 * * */2", at(7, 2), at(8, 3)),
        ("*/15 * * * *", at(7, 2, 1), at(7, 2, 15)),
        ("0 0 31 * *", at(7, 2), at(31, 0)),
    ],
)
def test_the_next_moment_is_that_of_crontab(expression: str, since: float, expected: float) -> None:
    assert cron.following(expression, since) == expected


def test_a_day_that_never_comes_is_none() -> None:
    assert cron.following("0 3 30 2 *", at(7, 2)) is None


@pytest.mark.parametrize(
    "expression", ["", "0 3 * *", "0 25 * * *", "0 3 * * 8", "0 3 * * moon", "0 3 * * 5-2", "a b c d e"]
)
def test_what_cannot_be_read_is_refused_with_an_example(expression: str) -> None:
    with pytest.raises(BadConfiguration, match="Mondays at three"):
        cron.check(expression)
