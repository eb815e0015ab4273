"""Classes that nobody can vouch for himself: probabilities, and when they contradict a label.

A label contradicts a confident model where another class is the likeliest, with ``confident`` at least. Quarantine is
confident learning: another class is as probable as it usually is where it is right, and more so than the label.
Promises a function of the rows given.

Confident learning: Northcutt, Jiang and Chuang, "Confident learning: estimating uncertainty in dataset labels",
Journal of Artificial Intelligence Research 70 (2021), arXiv 1911.00068.

Legend: N rows of the sample, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.special import softmax

from core.ballots import Ballot, Held
from core.calibrate import temperature
from core.head import SERVED_FROM
from core.label_settings import HygieneSettings
from core.opinion import Opinion
from core.solve import one_thread
from core.types import Doubles, Flags


class ClassOpinion(Opinion):
    """What a sample of ballots says of classes.

    Args:
        ballots: the sample, of examples (not of names), at least two of each of ``columns`` and of no other class.
        columns: K classes, two at least.
        annotators: all that are to be grouped, sorted.
    """

    def __init__(self, ballots: Sequence[Ballot], columns: Sequence[str], annotators: Sequence[str]):
        self._place = {label: k for k, label in enumerate(columns)}
        self._classes_N = np.array([self._place[ballot.row.column] for ballot in ballots])
        super().__init__(ballots, np.eye(len(columns))[self._classes_N], annotators)
        with one_thread():
            self._temperature = temperature(self._scores_NK, self._classes_N, self._weights_N)
        self._learn(ballots)
        own = [self._own_NK[self._classes_N == k, k].mean() for k in range(len(columns))]
        self._threshold_K: Doubles = np.array(own)

    def settled(self, ballot: Ballot) -> Ballot:
        """As it is: labels are the same or they are not."""
        return ballot

    def knows(self, ballot: Ballot) -> bool:
        """Whether the sample has shown its class."""
        return ballot.row.column in self._place

    def doubt(self, ballot: Ballot, told_K: Doubles, settings: HygieneSettings) -> Held | None:
        """Why a ballot waits to which these probabilities were told, or None."""
        said, labels = ballot.row.column, list(self._place)
        own, rival = self._place[said], int(told_K.argmax())
        words = f"without it, or its annotator, the labels that stand say {labels[rival]!r}"
        words += f" with {told_K[rival]:.2f} and {said!r} with {told_K[own]:.2f}"
        if settings.second_opinion and rival != own and told_K[rival] >= settings.confident:
            return Held(reason="second_opinion", words=words)
        if settings.quarantine and off_diagonal(told_K, self._threshold_K, own) is not None:
            return Held(reason="quarantine", words=words)
        return None

    def _answer(self, scores_XK: Doubles) -> Doubles:
        shares_XK: Doubles = softmax(scores_XK / self._temperature, axis=-1)
        return shares_XK

    def _alike(self, ballot: Ballot) -> Flags:
        alike_N: Flags = self._classes_N == self._place[ballot.row.column]
        return alike_N


def off_diagonal(told_K: Doubles, threshold_K: Doubles, said: int) -> int | None:
    """The class that a label should be, where confident learning takes it for wrong: another class is as probable as it
    usually is where it is right, and more so than the label; None otherwise.

    >>> off_diagonal(np.array([0.1, 0.9]), np.array([0.8, 0.8]), 0), off_diagonal(np.array([0.5, 0.5]), np.ones(2), 0)
    (1, None)
    """
    over_K = np.where(told_K >= threshold_K, told_K, -1.0)
    best = int(over_K.argmax())
    return best if over_K[best] > 0 and best != said and told_K[best] > told_K[said] else None


def columns_of(ballots: Mapping[str, Ballot], sample: Sequence[str]) -> tuple[str, ...]:
    """Classes with enough examples in the sample, sorted."""
    counts: dict[str, int] = {}
    for example in sample:
        if not ballots[example].row.named:
            counts[ballots[example].row.column] = counts.get(ballots[example].row.column, 0) + 1
    return tuple(sorted(label for label, count in counts.items() if count >= SERVED_FROM))
