"""Moments that come again and again, as crontab spells them: five fields, the weekday 0 or 7 for Sunday.

Promises the moments of the clock of this machine. Of APScheduler only the trigger is used, which computes them: nothing
runs here. Knows nothing of what is due.
"""

from __future__ import annotations

import datetime
from typing import Any

from core.errors import BadConfiguration

DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
REMEDY = "give five fields (minute, hour, day, month, weekday), such as 0 3 * * 1 for Mondays at three"


def check(expression: str) -> None:
    """Whether an expression can be read.

    Raises:
        BadConfiguration: it cannot.
    """
    _trigger(expression)


def following(expression: str, since: float) -> float | None:
    """The first moment after another, in seconds since the epoch; None where none ever comes, such as 30 February.

    Raises:
        BadConfiguration: the expression cannot be read.
    """
    trigger = _trigger(expression)
    found = trigger.get_next_fire_time(None, datetime.datetime.fromtimestamp(int(since) + 1, trigger.timezone))
    return None if found is None else float(found.timestamp())


def weekdays(field: str) -> str:
    """The field of weekdays by names, since APScheduler counts from Monday and crontab from Sunday.

    >>> weekdays("1-5"), weekdays("0,6"), weekdays("5-7"), weekdays("*")
    ('mon,tue,wed,thu,fri', 'sun,sat', 'fri,sat,sun', '*')
    """
    if field == "*":
        return field
    found: list[str] = []
    for part in field.lower().split(","):
        span, _, step = part.partition("/")
        first, _, last = ("0-6" if span == "*" else span).partition("-")
        low, high = _day(first), _day(last or first)
        found += [DAYS[day % 7] for day in range(low, high + 1, int(step or 1))]
    if not found:
        raise ValueError(f"no day is in {field}")
    return ",".join(found)


def _day(name: str) -> int:
    return DAYS.index(name) if name in DAYS else range(8)[int(name)]


def _trigger(expression: str) -> Any:
    from apscheduler.triggers.cron import CronTrigger

    try:
        minute, hour, day, month, weekday = expression.split()
        return CronTrigger(minute=minute, hour=hour, day=day, month=month, day_of_week=weekdays(weekday))
    except (ValueError, IndexError) as error:
        raise BadConfiguration(f"the schedule {expression[:80]!r} cannot be read: {error}", REMEDY) from None
