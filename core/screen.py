"""Which of the labels that stand wait, and what the others weigh: hygiene, as one function of all that stands.

Promises that nothing is dropped: a label that waits still stands, and counts as soon as the rules let it; and that the
outcome depends on nothing but the ballots and the settings, so that withdrawn equals never seen. What training data
say, what two annotators say alike, and what was released never waits. When labels are alike, and when what stands
contradicts one, say the opinions: of classes and of values. Knows nothing of storage.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from core.ballots import ANYBODY, Ballot, Held
from core.class_opinion import ClassOpinion, columns_of
from core.events import TRAINING
from core.label_settings import HygieneSettings
from core.labels import value_of
from core.opinion import Opinion
from core.sample import Sample
from core.types import Doubles, Scene
from core.value_opinion import KNOWN_FROM, ValueOpinion

UNIT = 16  # of weight, where weights may be lowered: so that a sixteenth of one is whole
HALVINGS = 16


@dataclass(frozen=True)
class Verdicts:
    """Of every example either why it waits, or what it weighs."""

    held: Mapping[str, Held]
    weights: Mapping[str, int]


class Screen:
    """The ballots of a scene, kept as they come and go.

    Attributes:
        ballots: by example, whether they wait or not.
    """

    def __init__(self, settings: HygieneSettings, task: Scene):
        self._settings = settings
        self._task = task
        self._sample = Sample(task.hash_key)
        self.ballots: dict[str, Ballot] = {}
        self._known: tuple[object, Opinion | None] = (None, None)
        self._told: dict[str, Doubles] = {}
        self._odds: dict[str, float] = {}

    def replace(self, gone: Iterable[str], came: Sequence[Ballot]) -> None:
        """Forget ballots, and take in others."""
        old = [self.ballots.pop(example) for example in gone if example in self.ballots]
        self._sample.remove(old)
        for ballot in came:
            self.ballots[ballot.example] = ballot
        self._sample.add(came)
        for ballot in (*old, *came):
            self._told.pop(ballot.example, None)
            self._odds.pop(ballot.example, None)

    def verdicts(self) -> Verdicts:
        """What holds now."""
        opinion = self._opinion()
        ballots = [ballot if opinion is None else opinion.settled(ballot) for ballot in self.ballots.values()]
        asked = [ballot for ballot in ballots if _waits(ballot)]
        known = [ballot for ballot in asked if opinion is not None and opinion.knows(ballot)]
        if opinion is not None and known and (self._settings.second_opinion or self._settings.quarantine):
            new = [ballot for ballot in known if ballot.example not in self._told]
            if new:
                told = zip(new, opinion.told(new), strict=True)
                self._told |= {ballot.example: told_K for ballot, told_K in told}
        held = {ballot.example: found for ballot in asked if (found := self._held(ballot, opinion)) is not None}
        kept = [ballot for ballot in ballots if ballot.example not in held]
        return Verdicts(held, self._capped(kept, opinion))

    def _opinion(self) -> Opinion | None:
        """What the sample says; kept until the sample, or who said it, changes."""
        sample = self._sample.examples()
        columns = columns_of(self.ballots, sample)
        mine = [self.ballots[example] for example in sample]
        mine = [ballot for ballot in mine if not ballot.row.named and ballot.row.column in columns]
        annotators = {name for ballot in self.ballots.values() for name in ballot.supporters}
        named = tuple(sorted(annotators - {ANYBODY, TRAINING}))
        key = self._sample.digest(columns), named, tuple((ballot.supporters, ballot.said) for ballot in mine)
        if self._known[0] != key:
            self._known = key, self._asked(mine, columns, named)
            self._told.clear()
            self._odds.clear()
        return self._known[1]

    def _asked(self, mine: Sequence[Ballot], columns: Sequence[str], named: Sequence[str]) -> Opinion | None:
        if self._task.task == "regression":
            return ValueOpinion(mine, self._task, named) if len(mine) >= KNOWN_FROM else None
        return ClassOpinion(mine, columns, named) if len(columns) > 1 else None

    def _held(self, ballot: Ballot, opinion: Opinion | None) -> Held | None:
        if self._settings.second_opinion and ballot.disputed:
            words = f"annotators disagree, and only one of them says {self._said(ballot)}"
            return Held(reason="second_opinion", words=words)
        told_K = self._told.get(ballot.example)
        return None if told_K is None or opinion is None else opinion.doubt(ballot, told_K, self._settings)

    def _said(self, ballot: Ballot) -> str:
        target = ballot.row.target
        return repr(ballot.row.column) if target is None else f"{value_of(self._task, target):.4g}"

    def _capped(self, kept: Sequence[Ballot], opinion: Opinion | None) -> dict[str, int]:
        weights = {ballot.example: ballot.weight for ballot in kept}
        if not self._settings.caps:
            return weights
        halvings = _by_share(kept, self._settings.annotator_share)
        if opinion is not None and self._settings.leverage < 1.0:
            most = self._settings.leverage / (1.0 - self._settings.leverage)
            for ballot in kept:
                if _of_feedback(ballot):
                    odds = self._reach(ballot, opinion)
                    done = halvings.get(ballot.example, 0)
                    halvings[ballot.example] = next(k for k in range(done, 99) if odds <= most * 2**k)
        return {example: max(1, UNIT * weight >> halvings.get(example, 0)) for example, weight in weights.items()}

    def _reach(self, ballot: Ballot, opinion: Opinion) -> float:
        if ballot.example not in self._odds:
            self._odds[ballot.example] = opinion.odds(ballot)
        return self._odds[ballot.example]


def _of_feedback(ballot: Ballot) -> bool:
    return not ballot.row.named and TRAINING not in ballot.supporters


def _waits(ballot: Ballot) -> bool:
    """Whether a ballot may be held: it hangs on one annotator of feedback, and nobody has looked at it."""
    return _of_feedback(ballot) and len(ballot.supporters) == 1 and not ballot.released


def _by_share(kept: Sequence[Ballot], most: float) -> dict[str, int]:
    """Example → how often its weight is halved, so that no annotator has more than this share of a class, once there
    are others; as near as powers of two come."""
    if most >= 1.0:
        return {}
    mine: dict[tuple[str, str], list[Ballot]] = {}
    total: dict[str, int] = {}
    for ballot in kept:
        if _of_feedback(ballot):
            total[ballot.row.column] = total.get(ballot.row.column, 0) + ballot.weight
            if len(ballot.supporters) == 1:
                mine.setdefault((ballot.row.column, next(iter(ballot.supporters))), []).append(ballot)
    halvings: dict[str, int] = {}
    for (label, _), ballots in mine.items():
        weight = sum(ballot.weight for ballot in ballots)
        others = total[label] - weight
        allowed = others * most / (1.0 - most)
        if others:
            times = next((k for k in range(HALVINGS) if weight <= allowed * 2**k), HALVINGS)
            halvings |= {ballot.example: times for ballot in ballots}
    return halvings
