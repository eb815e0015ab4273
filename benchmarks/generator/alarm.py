"""A clock that rings on time: event loops round their timers to whole milliseconds, which is a request's whole life.

Promises a call within some ten microseconds of the moment asked for, by Linux's timerfd; elsewhere by the event loop,
a millisecond or so late. Knows nothing of requests.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
from collections.abc import Callable

_MONOTONIC, _NONBLOCK, _CLOEXEC, _ABSOLUTE = 1, os.O_NONBLOCK, getattr(os, "O_CLOEXEC", 0), 1


class Alarm:
    """Rings one moment at a time; ``clock`` is the one that moments are told in.

    Args:
        loop: where ``ring`` is called.
        ring: called at or after the moment last set.
    """

    clock = staticmethod(time.perf_counter)  # CLOCK_MONOTONIC on Linux, as timerfd's

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], None]) -> None:
        self._loop, self._ring = loop, ring
        self._file = _timer()
        self._handle: asyncio.TimerHandle | None = None
        if self._file >= 0:
            loop.add_reader(self._file, self._rung)

    def set(self, moment: float) -> None:
        """Ring at ``moment``, at once where it has passed; replaces what was set before."""
        if self._file < 0:
            self.silence()
            self._handle = self._loop.call_later(max(0.0, moment - self.clock()), self._ring)
            return
        seconds, rest = divmod(max(moment, 1e-9), 1.0)  # all zeros would disarm it
        wanted = _Spec(_Moment(0, 0), _Moment(int(seconds), int(rest * 1e9)))
        if _libc().timerfd_settime(self._file, _ABSOLUTE, ctypes.byref(wanted), None) != 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def silence(self) -> None:
        """Ring no more until set again."""
        if self._handle is not None:
            self._handle.cancel()

    def close(self) -> None:
        """Give the descriptor back."""
        self.silence()
        if self._file >= 0:
            self._loop.remove_reader(self._file)
            os.close(self._file)
            self._file = -1

    def _rung(self) -> None:
        try:
            os.read(self._file, 8)
        except BlockingIOError:  # set anew between the ring and here
            return
        self._ring()


class _Moment(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Spec(ctypes.Structure):
    _fields_ = (("interval", _Moment), ("value", _Moment))


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _timer() -> int:
    """A timerfd, or -1 where there is none."""
    if not sys.platform.startswith("linux"):
        return -1
    made: int = _libc().timerfd_create(_MONOTONIC, _NONBLOCK | _CLOEXEC)
    return made
