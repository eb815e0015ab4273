"""Who may come in: a cap on what waits, and an early word to those who would wait in vain.

Promises that counts always return to zero, that a scene which floods the worker leaves every other scene its share of
the room, and that whoever is sent away is told at once, and when to come again. Knows nothing of what waits.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from core.errors import Unavailable

MEMORY_SECONDS = 2.0  # busy time after which a scene's measured pace is half forgotten
REASONS = ("full", "late", "expired", "key")  # why a request is refused; labels of a metric
LONGEST_RETRY = 60  # seconds
DOUBT = 1.5  # times the time that those ahead will take by the measured pace: most paces are kept within this
BRISK_SECONDS = 1.0  # where all inside leave within this time, refusing costs about as much as answering
BRISK_TIMES = 4  # and so many times the cap may be inside


class Overloaded(Unavailable):
    """There is more to do than can be done in time.

    Attributes:
        reason: one of ``REASONS``. retry_after: seconds until it is worth asking again, a whole number above zero.
    """

    def __init__(self, message: str, remedy: str, reason: str = "full", retry_after: float = 1) -> None:
        super().__init__(message, remedy)
        self.reason = reason
        self.retry_after = max(1, min(LONGEST_RETRY, math.ceil(retry_after)))


class Admission:
    """Counts what is inside.

    Args:
        limit: most at a time.
        what: name of what is counted, for the error.
    """

    def __init__(self, limit: int, what: str) -> None:
        self._limit = limit
        self._what = what
        self._inside = 0
        self._lock = threading.Lock()

    @property
    def inside(self) -> int:
        """How many are inside."""
        return self._inside

    @contextmanager
    def of(self, count: int = 1) -> Iterator[None]:
        """Let ``count`` in, as long as the block runs; one request larger than the cap may enter an empty room.

        Raises:
            Overloaded: there is no room.
        """
        with self._lock:
            if self._inside and self._inside + count > self._limit:
                raise _full(self._inside, self._what, self._limit, 1)
            self._inside += count
        try:
            yield
        finally:
            with self._lock:
                self._inside -= count


@dataclass(slots=True)
class _Room:
    """One scene inside: how many, and how many left in how many seconds while others waited behind them."""

    inside: int = 0
    left_at: float = 0.0
    measured_at: float = 0.0
    seconds: float = 0.0
    left: float = 0.0

    def each(self) -> float:
        """Seconds between two that leave while others wait; 0 while that is not known."""
        return self.seconds / self.left if self.left else 0.0


class Gate:
    """Counts instances by scene, and measures how fast they leave; used by one thread, the event loop's.

    A request is refused where the room is full and its scene has its share of it (the cap divided by the scenes that
    are inside), or where those before it may, at the measured pace and half as long again, take longer than its
    deadline: without the half, all that are let in at overload are answered just before their deadline, or just after.
    A request larger than the cap may enter while nothing of its scene is inside. Where a model is soon through with
    all of them, there is ``BRISK_TIMES`` the room.

    Args:
        limit: instances that may be inside.
        refused: told of the scene and the reason of every refusal.
        clock: seconds.
        brisk: seconds that are soon.

    Attributes:
        entered: instances that have ever been let in.
    """

    def __init__(
        self,
        limit: int,
        refused: Callable[[str, str], None],
        clock: Callable[[], float] = time.perf_counter,
        brisk: float = BRISK_SECONDS,
    ) -> None:
        self._limit = limit
        self._brisk = brisk
        self._refused = refused
        self._clock = clock
        self._rooms: dict[str, _Room] = {}
        self._inside = 0
        self.entered = 0

    @property
    def inside(self) -> int:
        """Instances of all scenes."""
        return self._inside

    def check(self, scene: str, count: int, seconds: float) -> None:
        """Whether ``count`` more instances would be let in; costs next to nothing.

        Args:
            seconds: that are left until their deadline.

        Raises:
            Overloaded: they would not.
        """
        room = self._rooms.get(scene)
        if room is None or not room.inside:
            return
        ahead = room.inside + count
        wait = ahead * room.each() * DOUBT
        limit = self._limit * (BRISK_TIMES if 0 < wait < self._brisk else 1)
        if self._inside + count > limit and ahead > limit // self._scenes():
            self._refused(scene, "full")
            raise _full(self._inside, "instances", limit, (self._inside + count - limit) * room.each())
        if wait > seconds:
            self._refused(scene, "late")
            raise Overloaded(
                f"an answer may take {wait:.1f} s, and the deadline is in {max(seconds, 0.0):.1f} s",
                "send the request again later, or serve with more workers",
                "late",
                wait - seconds,
            )

    def of(self, scene: str, count: int, seconds: float) -> Stay:
        """Let ``count`` instances in, as long as the block runs. It raises as ``check``."""
        return Stay(self, scene, count, seconds)

    def enter(self, scene: str, count: int, seconds: float) -> None:
        """Let ``count`` instances in, until they ``leave``. Raises as ``check``."""
        self.check(scene, count, seconds)
        room = self._rooms.get(scene)
        if room is None:
            room = self._rooms[scene] = _Room()
        if not room.inside:
            room.left_at = self._clock()
        room.inside += count
        self._inside += count
        self.entered += count

    def leave(self, scene: str, count: int) -> None:
        """Let ``count`` instances out, and learn how fast they leave."""
        room, now = self._rooms[scene], self._clock()
        gap, room.left_at = now - room.left_at, now
        room.inside -= count
        self._inside -= count
        if room.inside:
            kept = 0.5 ** ((now - room.measured_at) / MEMORY_SECONDS)
            room.seconds, room.left = room.seconds * kept + gap, room.left * kept + count
            room.measured_at = now

    def _scenes(self) -> int:
        return sum(room.inside > 0 for room in self._rooms.values())


class Stay:
    """A block within which instances are inside; a generator as a context would cost twice as much."""

    __slots__ = ("_asked", "_gate")

    def __init__(self, gate: Gate, scene: str, count: int, seconds: float) -> None:
        self._gate, self._asked = gate, (scene, count, seconds)

    def __enter__(self) -> None:
        self._gate.enter(*self._asked)

    def __exit__(self, *error: object) -> None:
        scene, count, _ = self._asked
        self._gate.leave(scene, count)


def _full(inside: int, what: str, limit: int, wait: float) -> Overloaded:
    return Overloaded(
        f"{inside} {what} wait already, of {limit} at most",
        "send the request again later, or serve with more workers",
        "full",
        wait,
    )
