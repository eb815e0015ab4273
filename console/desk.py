"""Labelling in one window: which input is asked about, what is said of it, what is skipped and taken back.

Promises that an input which somebody labelled meanwhile is not asked about again, and that taking back acts on what
this window said last. The queue itself is ``core/labelling.py``; what is kept here ends with the window, and is no
label. Its methods block. Knows nothing of pages.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from console.guess import chances
from core.database import Database
from core.errors import Conflict
from core.home import Home
from core.ids import uuid7
from core.label_files import Said
from core.label_import import take_in
from core.labelling import Offer, offered
from core.outcomes import Said as Word
from core.tally import labelled
from core.types import Scene

AHEAD = 20  # inputs that are asked for at once


@dataclass(frozen=True, kw_only=True)
class Question:
    """An input that a label is wanted of.

    Attributes:
        data: its bytes; None where they were not kept. why: it is asked about.
        label, value: what is answered. confidence: of a label.
        chances: label → probability by the head that serves now, best first; empty where that cannot be told.
    """

    example: str
    data: bytes | None = field(repr=False)
    why: str
    label: str | None
    value: float | None
    confidence: float
    chances: Mapping[str, float]


class Desk:
    """The queue of a task as one window works it off.

    Args:
        strategy: of ``core/queueing.py``.
    """

    def __init__(self, home: Home, task: Scene, strategy: str):
        self.task = task
        self.strategy = strategy
        self._home = home
        self._queue: list[Offer] = []
        self._skipped: set[str] = set()
        self._said: list[tuple[str, Offer]] = []  # event id, and what it is about
        self._lock = threading.Lock()

    def turn(self, task: Scene, strategy: str) -> None:
        """Ask about another task, or by another strategy, from now on."""
        with self._lock:
            self.task, self.strategy, self._queue, self._skipped = task, strategy, [], set()

    def present(self) -> Question | None:
        """What is asked about now; None where nothing is left.

        Raises:
            InvalidInput: the strategy cannot be used here.
        """
        with self._lock:
            while self._queue or self._refill():
                offer = self._queue[0]
                if not labelled(self._ledger, self.task.name, [offer.prediction.example], self.task.task_name):
                    return self._question(offer)
                self._queue.pop(0)
            return None

    def say(self, question: Question, said: Word, annotator: str) -> str:
        """Say what it is; returns the event's id. Raises as ``core.label_import.take_in``, and as ``skip``."""
        with self._lock:
            offer, event_id = self._first(question), uuid7()
            label, value = (None, said) if isinstance(said, float) else (said, None)
            told = Said(event_id=event_id, example=question.example, label=label, value=value, annotator=annotator)
            take_in(self._home, self.task, [told])
            self._queue.pop(0)
            self._said.append((event_id, offer))
            return event_id

    def skip(self, question: Question) -> None:
        """Leave it out in this window.

        Raises:
            Conflict: another one is asked about by now.
        """
        with self._lock:
            self._first(question)
            self._queue.pop(0)
            self._skipped.add(question.example)

    def undo(self) -> bool:
        """Take back what was said last here, and ask about it again; False where nothing is left to take back."""
        with self._lock:
            if not self._said:
                return False
            event_id, offer = self._said[-1]
            self._home.ledger.withdraw(event_id)
            self._said.pop()
            if self._home.ledger.task_of(event_id) == (self.task.task_name or None):
                self._queue.insert(0, offer)
            return True

    @property
    def _ledger(self) -> Database:
        return self._home.ledger.database

    def _first(self, question: Question) -> Offer:
        if not self._queue or self._queue[0].prediction.example != question.example:
            raise Conflict("another input is asked about by now", "look at it, then answer")
        return self._queue[0]

    def _refill(self) -> bool:
        found = offered(self._home, self.task, self.strategy, AHEAD + len(self._skipped))
        self._queue = [offer for offer in found if offer.prediction.example not in self._skipped][:AHEAD]
        return bool(self._queue)

    def _question(self, offer: Offer) -> Question:
        prediction, reply = offer.prediction, offer.prediction.of(self.task.task_name)
        return Question(
            example=prediction.example,
            data=self._home.predictions.instance(prediction.example),
            why=offer.why,
            label=reply.label,
            value=reply.value,
            confidence=reply.confidence,
            chances=chances(self._home, self.task, prediction),
        )
