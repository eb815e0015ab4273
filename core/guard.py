"""Whether a head may be served that labels have moved: what it would change, against how much evidence there is.

Pure. *Anchors* decide: labelled rows that both heads know and that say the same in both, each answered without itself
(leave-one-out), so that nothing is learned by heart. Held where more answers are lost than won, by more than chance
explains (a sign test) and more than a share. A class is lost where it was right and would be wrong; a value where it
would be missed by 0.4 usual misses (``core/misses.py``) of the head before more than before. Two kinds are asked apart:
rows of feedback, where a scene is labelled now, and the sample of all that stands (``core/sample.py``), where it came
from. Golden rows are too few for that, and validation rows know nothing of what was learned since; these move along,
and cannot be chosen from outside. *Churn*, recent answers that would be others, makes the test stricter; by itself it
holds nothing: measured on real scenes, the first honest label from a new place changes 60 % of what was answered there.
So early learning is never held: where few anchors stand, nothing is lost beyond chance.

The head before is that of some labels ago, so that damage which comes label by label adds up. What cannot be seen:
damage where there are no anchors (a trigger that nobody else shows), and damage that is slower than that.

Legend: B answers, D features.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from core.gate import mcnemar
from core.head import Row
from core.label_settings import GuardSettings
from core.statistics import from_grid
from core.types import GridRows, Head

TELLING = 0.4  # of the usual miss, by which a value has to be missed more, or less, to count


@dataclass(frozen=True, kw_only=True)
class Anchors:
    """Labelled rows that both heads answered without themselves.

    Attributes:
        lost, won: those that only the head before, and only the new one, answers rightly; of values, those that would
            be missed by more than before, and by less.
    """

    rows: int = 0
    lost: int = 0
    won: int = 0

    @property
    def net(self) -> float:
        """Share of right answers that is lost on balance; below zero where more are won."""
        return (self.lost - self.won) / max(1, self.rows)

    @property
    def chance(self) -> float:
        """Chance of so many lost among those that differ, if neither head is better."""
        return mcnemar(self.lost, self.won)


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a head would change.

    Attributes:
        feedback, sample: anchors that feedback has labelled, and of the sample of all that stands.
        answers: recent answers. moved: those that would be others.
        usual: of values, the usual miss in their own unit.
    """

    feedback: Anchors
    sample: Anchors
    answers: int
    moved: int
    usual: float | None = None

    @property
    def churn(self) -> float:
        """Share of recent answers that would be others."""
        return self.moved / self.answers if self.answers else 0.0

    @property
    def damage(self) -> float:
        """Share of anchors that is lost on balance, where more are lost."""
        return max(0.0, self.feedback.net, self.sample.net)

    def beyond(self, anchors: Anchors, settings: GuardSettings) -> bool:
        """Whether more of these anchors are lost than the limit and chance allow."""
        level = settings.level if self.churn <= settings.churn else settings.level_churning
        return anchors.net >= settings.lost and anchors.chance <= level

    def words(self, settings: GuardSettings) -> str:
        """What is beyond the limits, for a person; empty where nothing is."""
        kinds = (("labelled by feedback", self.feedback), ("of all that stands", self.sample))
        told = [self._words(each, kind) for kind, each in kinds if self.beyond(each, settings)]
        if told and self.answers:
            far = "" if self.usual is None else f", by more than {self.usual:.3g}"
            told.append(f"{self.moved} of the last {self.answers} answers would be others{far}")
        return "; ".join(told)

    def _words(self, each: Anchors, kind: str) -> str:
        if self.usual is None:
            return (
                f"{each.lost} of {each.rows} rows {kind} that were answered rightly would be wrong, "
                f"{each.won} the other way round"
            )
        far = f"{TELLING * self.usual:.3g}"
        return f"{each.lost} of {each.rows} rows {kind} would be missed by {far} more, {each.won} the other way round"


def anchored(
    before: Mapping[str, float], after: Mapping[str, float], same: Collection[str], as_usual: float = 0.0
) -> Anchors:
    """Anchors of two heads: example → by how much it was missed without itself; ``same`` say the same in both.

    ``as_usual`` is the usual miss of the head before; 0 of classes, which are missed by 0 or 1.

    >>> anchored({"a": 0.0, "b": 1.0}, {"a": 1.0, "b": 0.0, "c": 0.0}, {"a", "b", "c"})
    Anchors(rows=2, lost=1, won=1)
    """
    both = [example for example in after if example in before and example in same]
    lost = sum(after[example] - before[example] > TELLING * as_usual for example in both)
    won = sum(before[example] - after[example] > TELLING * as_usual for example in both)
    return Anchors(rows=len(both), lost=lost, won=won)


def moved(before: Head, after: Head, traffic_BD: GridRows, as_usual: float | None = None) -> int:
    """Answers that would be others: another class; of values, by more than the usual miss, which is given for them."""
    if not len(traffic_BD):
        return 0
    rows_BD = from_grid(traffic_BD)
    if as_usual is not None:
        apart_BK = rows_BD @ (after.weight - before.weight) + (after.bias - before.bias)
        return int((np.abs(apart_BK) > as_usual).sum())
    told = [(rows_BD @ head.weight + head.bias).argmax(axis=1) for head in (before, after)]
    return sum(before.labels[k] != after.labels[j] for k, j in zip(*told, strict=True))


def fresh_rows(before: Mapping[str, Row], after: Mapping[str, Row]) -> list[str]:
    """Examples that came, or say something else than before."""
    return [e for e, row in after.items() if e not in before or not before[e].same(row)]
