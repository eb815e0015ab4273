"""Which labels of one task stand: the only definition, used by the learner, by promotion, by training and by the
service.

Promises that the outcome is a function of the events that were not withdrawn or erased: withdrawn equals never seen.
Knows nothing of features or of storage.

Rules. A label event counts once its example is known (a join brings it, where the prediction came late); it is as old
as when it was said. A correction replaces what its event says, and makes it as old as the correction. For one example
and one annotator the latest event stands. An example counts once: with the weighted majority of its annotators, each
voting with its weight, that of its source and its own (``core/weights.py``), times its confidence (in sixteenths). A
tie is a conflict and does not count. Values are decided by the weighted median. The example weighs as much as the
heaviest vote for the winner, in whole units. A release says that what an event says was looked at and stands: it lasts
until the event is corrected.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from core.types import NAMES, LabelEvent
from core.weights import EVEN, SIXTEENTHS, Weights

CONFIDENCE_STEPS = 16


@dataclass(frozen=True)
class Outcome:
    """What stands for one example: a label or a value, and its weight; ``conflict`` where annotators tie.

    ``named``: it is no input, but a name that stands for its label. ``supporters``: annotators who said what stands;
    ``disputed``: others said something else; ``released``: what a supporter said was released. Of values, near ones may
    be as good as the same, which is not decided here: everybody supports the median, and ``said`` has what each says.
    """

    label: str | None = None
    value: float | None = None
    weight: int = 0
    conflict: bool = False
    named: bool = False
    supporters: frozenset[str] = field(default=frozenset(), compare=False)
    disputed: bool = field(default=False, compare=False)
    released: bool = field(default=False, compare=False)
    said: tuple[tuple[str, float], ...] = field(default=(), compare=False)


@dataclass(frozen=True)
class Vote:
    """What an annotator says of an example; ``moment`` is the sequence since when."""

    moment: int
    said: LabelEvent
    released: bool = False


class Standing:
    """The labels that stand, kept up to date event by event; those of other tasks are passed over.

    Args:
        weight_of: source name → whole-number weight.
        task: the name of the task; empty where the scene has one.
        weights: what was changed of them.
    """

    def __init__(self, weight_of: Callable[[str], int], task: str = "", weights: Weights = EVEN):
        self._weight_of = weight_of
        self._weights = weights
        self._task = task
        self._waiting: dict[str, LabelEvent] = {}  # event id → label whose example is not known yet
        self._votes: dict[str, dict[str, Vote]] = {}  # example → event id → vote
        self._example: dict[str, str] = {}  # event id → example

    def apply(self, event: LabelEvent) -> set[str]:
        """Take the next event of the ledger; returns the examples whose outcome may have changed."""
        if event.kind == "label":
            return self._label(event)
        if event.kind == "erase":
            return self._erase(frozenset(event.erased))
        assert event.target is not None, f"a {event.kind} event names its target"
        if event.kind == "join":
            return self._join(event, event.target)
        if event.kind == "withdraw":
            return self._forget(event.target)
        if event.kind == "release":
            return self._release(event.target)
        return self._correct(event, event.target)

    def outcome(self, example: str, without: str | None = None) -> Outcome | None:
        """What stands for an example, or None where nothing does; ``without`` leaves an annotator out."""
        votes = [vote for vote in self.votes(example) if vote.said.annotator != without]
        if not votes:
            return None
        return self._median(votes) if votes[0].said.value is not None else self._majority(votes)

    def votes(self, example: str) -> list[Vote]:
        """The latest that each annotator says of an example."""
        latest: dict[str, Vote] = {}
        for vote in self._votes.get(example, {}).values():
            held = latest.get(vote.said.annotator)
            if held is None or vote.moment > held.moment:
                latest[vote.said.annotator] = vote
        return list(latest.values())

    def examples(self) -> Iterable[str]:
        """Examples that have at least one label."""
        return self._votes.keys()

    def _label(self, event: LabelEvent) -> set[str]:
        if event.task != self._task:  # whatever is done to it later finds nothing here, either
            return set()
        if event.example is None:
            self._waiting[event.event_id] = event
            return set()
        return self._vote(event.event_id, event.example, Vote(event.sequence, event))

    def _join(self, event: LabelEvent, target: str) -> set[str]:
        waiting = self._waiting.pop(target, None)
        if waiting is None or event.example is None:
            return set()
        return self._vote(target, event.example, Vote(waiting.sequence, waiting))

    def _correct(self, event: LabelEvent, target: str) -> set[str]:
        if target in self._waiting:
            self._waiting[target] = _corrected(self._waiting[target], event)
            return set()
        example = self._example.get(target)
        if example is None:
            return set()
        held = self._votes[example][target]
        return self._vote(target, example, Vote(event.sequence, _corrected(held.said, event)))

    def _vote(self, event_id: str, example: str, vote: Vote) -> set[str]:
        self._votes.setdefault(example, {})[event_id] = vote
        self._example[event_id] = example
        return {example}

    def _forget(self, event_id: str) -> set[str]:
        self._waiting.pop(event_id, None)
        example = self._example.pop(event_id, None)
        if example is None:
            return set()
        votes = self._votes[example]
        del votes[event_id]
        if not votes:
            del self._votes[example]
        return {example}

    def _erase(self, digests: frozenset[str]) -> set[str]:
        known = [event_id for event_id in (*self._example, *self._waiting) if digest_of(event_id) in digests]
        return {example for event_id in known for example in self._forget(event_id)}

    def _release(self, target: str) -> set[str]:
        example = self._example.get(target)
        if example is None:
            return set()
        self._votes[example][target] = replace(self._votes[example][target], released=True)
        return {example}

    def _sixteenths(self, said: LabelEvent) -> int:
        return self._weights.of(said.annotator, said.source, self._weight_of(said.source))

    def _units(self, said: LabelEvent) -> int:
        return self._sixteenths(said) * max(1, round(said.confidence * CONFIDENCE_STEPS))

    def _heaviest(self, votes: list[Vote]) -> int:
        return max(1, max(self._sixteenths(vote.said) for vote in votes) // SIXTEENTHS)

    def _majority(self, votes: list[Vote]) -> Outcome:
        tally: dict[str, int] = {}
        for vote in votes:
            assert vote.said.label is not None
            tally[vote.said.label] = tally.get(vote.said.label, 0) + self._units(vote.said)
        most = max(tally.values())
        winners = [label for label, units in tally.items() if units == most]
        if len(winners) > 1:
            return Outcome(conflict=True)
        won = [vote for vote in votes if vote.said.label == winners[0]]
        return Outcome(
            label=winners[0],
            weight=self._heaviest(won),
            named=all(vote.said.source == NAMES for vote in votes),
            supporters=frozenset(vote.said.annotator for vote in won),
            disputed=len(won) < len(votes),
            released=any(vote.released for vote in won),
        )

    def _median(self, votes: list[Vote]) -> Outcome:
        ranked = sorted((vote.said.value, self._units(vote.said)) for vote in votes if vote.said.value is not None)
        half = sum(units for _, units in ranked) / 2
        reached = [sum(units for _, units in ranked[: place + 1]) >= half for place in range(len(ranked))]
        median = ranked[reached.index(True)][0]
        return Outcome(
            value=median,
            weight=self._heaviest(votes),
            supporters=frozenset(vote.said.annotator for vote in votes),
            released=any(vote.released for vote in votes if vote.said.value == median),
            said=tuple(sorted((v.said.annotator, v.said.value) for v in votes if v.said.value is not None)),
        )


def digest_of(identifier: str) -> str:
    """SHA-256 of an identifier, as tombstones keep it."""
    return hashlib.sha256(identifier.encode()).hexdigest()


def _corrected(said: LabelEvent, event: LabelEvent) -> LabelEvent:
    return replace(said, sequence=event.sequence, label=event.label, value=event.value, confidence=event.confidence)
