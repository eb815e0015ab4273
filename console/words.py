"""Figures, moments and versions as people read them on a page.

Pure functions; knows nothing of where the values come from.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from core.look.html import Html, tag

PLAIN = ("rmse", "mae", "r2")  # metrics that are no shares
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


def percent(share: float) -> str:
    """A share as percent, to a tenth.

    >>> percent(0.953)
    '95.3 %'
    """
    return f"{100 * share:.1f} %"


def figure(name: str, value: float) -> str:
    """A metric's value: percent where it is a share.

    >>> figure("balanced_accuracy", 0.5), figure("rmse", 0.123456)
    ('50.0 %', '0.1235')
    """
    return f"{value:.4g}" if name.endswith(PLAIN) else percent(value)


def interval(name: str, metric: Mapping[str, Any]) -> Html:
    """A metric with its 95 % interval beside it."""
    low, high = (figure(name, metric[side]).removesuffix(" %") for side in ("low", "high"))
    return tag("span", figure(name, metric["value"]), " ", tag("small", f"{low} to {high}", class_="soft"))


def count(number: int, one: str, several: str = "") -> str:
    """A number with its noun.

    >>> count(1, "label"), count(1200, "label")
    ('1 label', '1,200 labels')
    """
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def ago(moment: float, now: float) -> Html:
    """How long ago a moment was, the moment itself on pointing at it."""
    passed = now - moment
    if passed < MINUTE:
        words = "just now"
    elif passed < HOUR:
        words = f"{passed / MINUTE:.0f} min ago"
    elif passed < DAY:
        words = f"{passed / HOUR:.0f} h ago"
    else:
        words = f"{passed / DAY:.0f} d ago"
    return tag("time", words, title=at(moment), datetime=_local(moment).isoformat(timespec="seconds"))


def at(moment: float) -> str:
    """A moment by the clock of this machine."""
    return _local(moment).strftime("%Y-%m-%d %H:%M")


def took(seconds: float) -> str:
    """A time span.

    >>> took(3.14159), took(75), took(7300)
    ('3.1 s', '1 min 15 s', '2 h 1 min')
    """
    if seconds < MINUTE:
        return f"{seconds:.1f} s"
    if seconds < HOUR:
        return f"{seconds // MINUTE:.0f} min {seconds % MINUTE:.0f} s"
    return f"{seconds // HOUR:.0f} h {seconds % HOUR // MINUTE:.0f} min"


def midnight(now: float) -> float:
    """When today began, by the clock of this machine."""
    return _local(now).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()


def metric_name(name: str) -> str:
    """A metric's name in words.

    >>> metric_name("balanced_accuracy")
    'balanced accuracy'
    """
    return {"r2": "R²", "rmse": "RMSE", "mae": "MAE"}.get(name, name.replace("_", " "))


def _local(moment: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(moment).astimezone()
