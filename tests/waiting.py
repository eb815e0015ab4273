"""Waiting on a condition with a deadline, instead of for a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

R = TypeVar("R")
_TICK = threading.Event()


def until(condition: Callable[[], R], seconds: float = 20.0) -> R:
    """What ``condition`` returns, as soon as it is true.

    Raises:
        AssertionError: it did not become true in time.
    """
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {condition}"
        _TICK.wait(0.005)
    return value
