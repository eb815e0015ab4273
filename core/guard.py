"""Whether a head may be served that labels have moved: what it would change, against how much evidence there is.

Pure. Two measures. *Anchors*: labelled rows that both heads know, each answered without itself (leave-one-out), so that
nothing is learned by heart; held where more answers are lost than chance explains (a sign test) and more than a share.
Golden rows are too few for that, and validation rows know nothing of what was learned since; the sample of the rows
that stand (``core/sample.py``) moves along, cannot be chosen from outside, and its answers are there after every solve.
*Churn*: recent answers that would be others, beside what new labels can honestly change: the square root of their share
of all weight. So early learning is never held: few anchors tell nothing, and few labels may change everything.

What it cannot see: damage where there are neither anchors nor traffic (a trigger that nobody else shows), and damage
that comes in steps below the limits.

Legend: B answers, D features.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from scipy.stats import binom

from core.head import Checked, Row
from core.label_settings import GuardSettings
from core.statistics import from_grid
from core.types import GridRows, Head


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a head would change.

    Attributes:
        anchors: labelled rows that both heads answered without themselves.
        lost, won: those that only the head before, and only the new one, answers rightly.
        answers: recent answers. moved: those that would be others.
        fresh: share that new or changed labels have of all weight.
    """

    anchors: int
    lost: int
    won: int
    answers: int
    moved: int
    fresh: float

    @property
    def net(self) -> int:
        """Right answers to anchors that are lost on balance."""
        return self.lost - self.won

    @property
    def churn(self) -> float:
        """Share of recent answers that would be others."""
        return self.moved / self.answers if self.answers else 0.0

    def loses(self, settings: GuardSettings) -> bool:
        """Whether more anchors are lost than chance and the limit allow."""
        if self.net <= 0 or self.net < settings.lost * self.anchors:
            return False
        return float(binom.sf(self.lost - 1, self.lost + self.won, 0.5)) <= settings.level

    def churns(self, settings: GuardSettings) -> bool:
        """Whether more recent answers would be others than the limit and the new labels allow."""
        return self.churn > settings.churn + math.sqrt(self.fresh)

    def words(self, settings: GuardSettings) -> str:
        """What is beyond the limits, for a person; empty where nothing is."""
        told = []
        if self.loses(settings):
            told.append(
                f"{self.lost} of {self.anchors} labelled anchor rows that were answered rightly would be wrong, "
                f"{self.won} the other way round"
            )
        if self.churns(settings):
            told.append(f"{self.moved} of the last {self.answers} answers would be others")
        return "; ".join(told)


def anchored(before: Checked, after: Checked) -> tuple[int, int, int]:
    """Anchors, lost and won, of the rows that are in both samples and say the same in both."""
    rows = {row.example: row for row in before.rows}
    was, now = before.right(), after.right()
    both = [row.example for row in after.rows if row.example in rows and rows[row.example].same(row)]
    lost = sum(was[example] and not now[example] for example in both)
    won = sum(now[example] and not was[example] for example in both)
    return len(both), lost, won


def moved(before: Head, after: Head, traffic_BD: GridRows) -> int:
    """Answers that would be others."""
    if not len(traffic_BD):
        return 0
    rows_BD = from_grid(traffic_BD)
    told = [(rows_BD @ head.weight + head.bias).argmax(axis=1) for head in (before, after)]
    return sum(before.labels[k] != after.labels[j] for k, j in zip(*told, strict=True))


def fresh_rows(before: Mapping[str, Row], after: Mapping[str, Row]) -> list[str]:
    """Examples that came, or say something else than before."""
    return [e for e, row in after.items() if e not in before or not before[e].same(row)]
