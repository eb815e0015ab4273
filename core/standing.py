"""Which labels of one task stand: the only definition, used by the learner, by promotion, by training and by the
service.

Promises that the outcome is a function of the events that were not withdrawn or erased: withdrawn equals never seen.
Knows nothing of features or of storage.

Rules. A label event counts once its example is known (a join brings it, where the prediction came late); it is as old
as when it was said. A correction replaces what its event says, and makes it as old as the correction. For one example
and one annotator the latest event stands. An example counts once: with the weighted majority of its annotators, each
voting with the weight of its source times its confidence (in sixteenths). A tie is a conflict and does not count.
Values are decided by the weighted median. The example weighs as much as the heaviest source among those that voted for
the winner.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from core.types import NAMES, LabelEvent

CONFIDENCE_STEPS = 16


@dataclass(frozen=True)
class Outcome:
    """What stands for one example: a label or a value, and its weight; ``conflict`` where annotators tie.

    ``named``: it is no input, but a name that stands for its label.
    """

    label: str | None = None
    value: float | None = None
    weight: int = 0
    conflict: bool = False
    named: bool = False


@dataclass(frozen=True)
class _Vote:
    moment: int
    said: LabelEvent


class Standing:
    """The labels that stand, kept up to date event by event; those of other tasks are passed over.

    Args:
        weight_of: source name → whole-number weight.
        task: the name of the task; empty where the scene has one.
    """

    def __init__(self, weight_of: Callable[[str], int], task: str = ""):
        self._weight_of = weight_of
        self._task = task
        self._waiting: dict[str, LabelEvent] = {}  # event id → label whose example is not known yet
        self._votes: dict[str, dict[str, _Vote]] = {}  # example → event id → vote
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
        return self._correct(event, event.target)

    def outcome(self, example: str) -> Outcome | None:
        """What stands for an example, or None where nothing does."""
        latest: dict[str, _Vote] = {}
        for vote in self._votes.get(example, {}).values():
            held = latest.get(vote.said.annotator)
            if held is None or vote.moment > held.moment:
                latest[vote.said.annotator] = vote
        if not latest:
            return None
        said = [vote.said for vote in latest.values()]
        return self._median(said) if said[0].value is not None else self._majority(said)

    def examples(self) -> Iterable[str]:
        """Examples that have at least one label."""
        return self._votes.keys()

    def _label(self, event: LabelEvent) -> set[str]:
        if event.task != self._task:  # whatever is done to it later finds nothing here, either
            return set()
        if event.example is None:
            self._waiting[event.event_id] = event
            return set()
        return self._vote(event.event_id, event.example, _Vote(event.sequence, event))

    def _join(self, event: LabelEvent, target: str) -> set[str]:
        waiting = self._waiting.pop(target, None)
        if waiting is None or event.example is None:
            return set()
        return self._vote(target, event.example, _Vote(waiting.sequence, waiting))

    def _correct(self, event: LabelEvent, target: str) -> set[str]:
        if target in self._waiting:
            self._waiting[target] = _corrected(self._waiting[target], event)
            return set()
        example = self._example.get(target)
        if example is None:
            return set()
        held = self._votes[example][target]
        return self._vote(target, example, _Vote(event.sequence, _corrected(held.said, event)))

    def _vote(self, event_id: str, example: str, vote: _Vote) -> set[str]:
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

    def _units(self, said: LabelEvent) -> int:
        return self._weight_of(said.source) * max(1, round(said.confidence * CONFIDENCE_STEPS))

    def _majority(self, said: list[LabelEvent]) -> Outcome:
        tally: dict[str, int] = {}
        for vote in said:
            assert vote.label is not None
            tally[vote.label] = tally.get(vote.label, 0) + self._units(vote)
        most = max(tally.values())
        winners = [label for label, units in tally.items() if units == most]
        if len(winners) > 1:
            return Outcome(conflict=True)
        weight = max(self._weight_of(vote.source) for vote in said if vote.label == winners[0])
        return Outcome(label=winners[0], weight=weight, named=all(vote.source == NAMES for vote in said))

    def _median(self, said: list[LabelEvent]) -> Outcome:
        ranked = sorted((vote.value, self._units(vote)) for vote in said if vote.value is not None)
        half = sum(units for _, units in ranked) / 2
        reached = [sum(units for _, units in ranked[: place + 1]) >= half for place in range(len(ranked))]
        median = ranked[reached.index(True)][0]
        return Outcome(value=median, weight=max(self._weight_of(vote.source) for vote in said))


def digest_of(identifier: str) -> str:
    """SHA-256 of an identifier, as tombstones keep it."""
    return hashlib.sha256(identifier.encode()).hexdigest()


def _corrected(said: LabelEvent, event: LabelEvent) -> LabelEvent:
    return replace(said, sequence=event.sequence, label=event.label, value=event.value, confidence=event.confidence)
