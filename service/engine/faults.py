"""Versions that could not be made ready, or fail on live traffic: when to try again, and when to give up.

Promises that a broken version is given up at once, one that keeps failing after ``TRIES``, and that a locked or full
database, a missing or lost GPU, a wrong setting or a machine that is short of memory, files or disk for now is no
version's fault. Knows nothing of what becomes of a version that is
given up.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy.exc import OperationalError

from core.artifacts import SHORT
from core.errors import BadConfiguration, BrokenBundle, LeptonError, Unavailable
from core.execution import full

RETRY_SECONDS = 5.0  # until a version that failed for a passing reason is tried again
TRIES = 3
FAILURES = 5  # answers in a row that a newcomer owes, and the other version gives


@dataclass(frozen=True)
class _Fault:
    at: float
    reason: str
    tries: int


class Faults:
    """What went wrong, by scene and version.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._retry_at = math.inf
        self._held: dict[tuple[str, str], _Fault] = {}
        self._owed: dict[tuple[str, str], int] = {}

    def failed(self, scene: str, version: str, error: Exception) -> bool:
        """Note that a version could not be made ready; True where it is to be given up."""
        before = self._held.get((scene, version))
        tries = 0 if _passing(error) else 1 + (before.tries if before else 0)
        self._retry_at = self._clock() + RETRY_SECONDS
        gone = isinstance(error, BrokenBundle) or tries >= TRIES
        self._held[scene, version] = _Fault(self._clock(), str(error), 0 if gone else tries)
        return gone

    def known(self, scene: str, version: str, reason: str) -> None:
        """Note why a version is not even tried."""
        if (scene, version) not in self._held:
            self._held[scene, version] = _Fault(self._clock(), reason, 0)
            self._retry_at = self._clock() + RETRY_SECONDS

    def answered(self, scene: str, version: str, error: LeptonError | None) -> bool:
        """Note how a newcomer did on one instance; True where it has failed too often in a row."""
        if error is not None and _passing(error):
            return False
        owed = 0 if error is None else self._owed.get((scene, version), 0) + 1
        self._owed[scene, version] = owed % FAILURES
        return owed == FAILURES

    def forget(self, scene: str, version: str) -> None:
        """The version is ready now."""
        self._held.pop((scene, version), None)

    def waits(self, scene: str, version: str) -> bool:
        """Whether it is too early to try the version again."""
        fault = self._held.get((scene, version))
        return fault is not None and self._clock() < fault.at + RETRY_SECONDS

    def due(self) -> bool:
        """Whether something that failed may be tried again; told once."""
        if self._clock() < self._retry_at:
            return False
        self._retry_at = math.inf
        return True

    def reason(self, scene: str) -> str:
        """Why a scene cannot be served; empty where nothing is known."""
        return next((fault.reason for (held, _), fault in reversed([*self._held.items()]) if held == scene), "")

    def scenes(self) -> set[str]:
        """Scenes with a version that failed."""
        return {scene for scene, _ in list(self._held)}


def explained(error: Exception) -> LeptonError:
    """Why a model gave no answer, as it is told to clients and counted against its version."""
    if isinstance(error, LeptonError):
        return error
    if full(error):
        return Unavailable("the GPU has no memory left for this model just now", "send the request again in a second")
    return BrokenBundle(
        f"the model could not answer: {type(error).__name__}: {str(error)[:200]}",
        "try another input; where every input fails, roll back to a version that answers",
    )


def _passing(error: Exception) -> bool:
    """Whether a version may answer as soon as something around it is well again."""
    short = isinstance(error, OSError) and error.errno in SHORT
    return short or isinstance(error, Unavailable | BadConfiguration | OperationalError)
