"""Copies of the traffic for a challenger: answered when the worker has nothing else to do, logged, told to nobody.

Promises that a copy begins only when no request has come for some milliseconds, so that a champion's answer shares the
processor with one copy at most; that copies which find no room are dropped and counted; and that a challenger which
fails is reported and nothing else happens. Knows nothing of HTTP.

Legend: B batch, K classes, D features.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np

from core.errors import LeptonError
from core.ids import prediction_id
from core.types import GridRows, Prediction
from service.engine.answer import Verdict, verdict
from service.engine.faults import explained
from service.engine.snapshot import Snapshot

logger = logging.getLogger(__name__)

Fate = Literal["answered", "dropped", "failed"]
TICK = 0.002  # seconds between two looks for room
QUIET = 4  # looks in a row without a request: whoever sends one after the other does not meet a copy every time


class Judge(Protocol):
    """Who is told how a challenger does."""

    def judge(self, challenger: Snapshot, error: LeptonError | None) -> None:
        """It has answered what the champion has answered, or failed."""


@dataclass(frozen=True, kw_only=True)
class ShadowSettings:
    """Bounds.

    Attributes:
        most: copies that may wait.
        bytes_kept: of inputs that wait.
        patience: seconds that a copy waits for room.
    """

    most: int = 256
    bytes_kept: int = 64 * 2**20
    patience: float = 2.0


@dataclass(frozen=True)
class _Copy:
    snapshot: Snapshot
    answered: Prediction
    data: bytes
    due: float


class Shadows:
    """A short queue of copies, and the thread that answers them.

    Args:
        settings: bounds.
        judge: told how the challenger does.
        traffic: how many instances are being answered, and how many have ever come.
        known: whether a prediction is logged still; of one that was erased meanwhile no copy is.
        log: takes predictions.
        told: told of every copy what became of it: scene, fate.
    """

    def __init__(
        self,
        settings: ShadowSettings,
        judge: Judge,
        traffic: Callable[[], tuple[int, int]],
        known: Callable[[str], bool],
        log: Callable[[Sequence[Prediction]], None],
        told: Callable[[str, Fate], None],
    ) -> None:
        self._settings = settings
        self._judge = judge
        self._traffic = traffic
        self._come, self._looks = 0, 0  # instances that have come, and looks in a row at which none was seen
        self._known = known
        self._log = log
        self._told = told
        self._copies: deque[_Copy] = deque()
        self._bytes = 0
        self._more = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="shadows", daemon=True)

    def start(self) -> None:
        """Begin to answer copies."""
        self._thread.start()

    def put(self, challenger: Snapshot, answered: Prediction, data: bytes) -> None:
        """Take a copy of an instance that ``answered`` is the answer to; never waits."""
        with self._more:
            room = len(self._copies) < self._settings.most and self._bytes + len(data) <= self._settings.bytes_kept
            if room and not self._closed:
                due = time.monotonic() + self._settings.patience
                self._copies.append(_Copy(challenger, answered, data, due))
                self._bytes += len(data)
                self._more.notify()
                return
        self._told(challenger.scene.name, "dropped")

    def close(self) -> None:
        """Drop what waits, and end."""
        with self._more:
            self._closed = True
            self._more.notify()
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        while (copy := self._next()) is not None:
            fate = self._answer(copy) if self._has_room(copy.due) else "dropped"
            self._told(copy.snapshot.scene.name, fate)
            del copy  # its model may be retired while the next one is waited for

    def _next(self) -> _Copy | None:
        with self._more:
            self._more.wait_for(lambda: self._copies or self._closed)
            if self._closed:
                return None
            copy = self._copies.popleft()
            self._bytes -= len(copy.data)
            return copy

    def _has_room(self, due: float) -> bool:
        """Wait until the worker has been idle for a little while; False where it is not in time."""
        with self._more:
            while not self._closed:
                inside, come = self._traffic()
                self._looks = 0 if inside or come != self._come else self._looks + 1
                self._come = come
                if self._looks >= QUIET:
                    return True
                if time.monotonic() >= due:
                    return False
                self._more.wait(TICK)
            return False

    def _answer(self, copy: _Copy) -> Fate:
        try:
            row = copy.snapshot.preprocessor.read(copy.data)
            output = copy.snapshot.run([row])
            if not all(np.isfinite(outputs_BK).all() for outputs_BK in (output.outputs, *output.further.values())):
                raise ValueError("an answer that is no finite number")
            further = {task: outputs_BK[0] for task, outputs_BK in output.further.items()}
            said = verdict(copy.snapshot, output.outputs[0], further)
        except Exception as error:
            broken = explained(error)
            logger.warning("scene %s: the challenger failed: %s", copy.snapshot.scene.name, broken)
            self._judge.judge(copy.snapshot, broken)
            return "failed"
        if self._is_known(copy.answered):
            self._log([_shadow(copy, said, output.features[0])])
        self._judge.judge(copy.snapshot, None)
        return "answered"

    def _is_known(self, answered: Prediction) -> bool:
        try:
            return self._known(answered.prediction_id)
        except Exception:  # a database that cannot be read
            logger.exception("prediction %s could not be looked up; its copy is not logged", answered.prediction_id)
            return False


def _shadow(copy: _Copy, said: Verdict, features_D: GridRows) -> Prediction:
    """What is logged of a copy, beside the answer that it is a copy of."""
    return replace(
        copy.answered,
        prediction_id=prediction_id(copy.answered.scene, copy.answered.created_at),
        version=copy.snapshot.version,
        extractor=copy.snapshot.extractor,
        revision=copy.snapshot.revision,
        features=features_D,
        label=said.label,
        value=said.value,
        confidence=said.confidence,
        margin=said.margin,
        further=said.further,
        role="shadow",
        parent=copy.answered.prediction_id,
        media="",
        instance=None,
    )
