"""Values that nobody can vouch for himself: when two of them say the same, and when the others contradict one.

The ruler is the *usual miss* (``core/misses.py``) of the very rows that answer, each of them without itself: whoever is
judged, honest or not, has no part in it. Two annotators say the same where they are no further apart than that of all
rows. What is missed by more than ``FAIR`` of them is looked at again, all misses studentised now: where the rows that
answer say little of an input, more is usual there. It waits in quarantine where it is missed by more than
``WRONG_FROM`` usual misses. It contradicts a confident model where it rather comes from among all values that stand
than from about the answer, with ``confident`` at least: both as normal distributions, at even odds. So a model that
knows little more than the mean contradicts nobody.

Promises a function of the rows given.

Studentised residuals: Cook and Weisberg, "Residuals and Influence in Regression", Chapman and Hall (1982), chapter 2.

Legend: N rows of the sample.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import sqrt

import numpy as np
from scipy.special import expit

from core.ballots import Ballot, Held
from core.label_settings import HygieneSettings
from core.misses import usual
from core.opinion import Opinion
from core.solve import one_thread
from core.statistics import GRID
from core.types import Doubles, Flags, Scene

KNOWN_FROM = 10  # rows of the sample, from which a miss may be called usual
WRONG_FROM = 2.5  # usual misses
FAIR = 2.0  # usual misses, up to which a value is not looked at again


class ValueOpinion(Opinion):
    """What a sample of ballots says of values.

    Args:
        ballots: the sample, ``KNOWN_FROM`` at least.
        task: whose values they are.
        annotators: all that are to be grouped, sorted.
    """

    _needed = KNOWN_FROM

    def __init__(self, ballots: Sequence[Ballot], task: Scene, annotators: Sequence[str]):
        self._task = task
        targets_N = np.array([_target(ballot) for ballot in ballots])
        super().__init__(ballots, targets_N[:, None], annotators)
        self._usuals: dict[int, tuple[float, float]] = {}
        self._wides: dict[tuple[str, int, int], float] = {}
        self._mean, self._spread = float(targets_N.mean()), max(float(targets_N.std()), 1 / GRID)
        self._learn([self.settled(ballot) for ballot in ballots])

    def settled(self, ballot: Ballot) -> Ballot:
        """Those support it who say what stands, or no further from it than the usual miss."""
        assert ballot.row.target is not None
        near = {name for name, said in ballot.said if abs(said - ballot.row.target) <= self._usual(-1)[0] * GRID}
        return replace(ballot, supporters=frozenset(near), disputed=len(near) < len(ballot.said))

    def knows(self, ballot: Ballot) -> bool:
        """Of any value something can be said."""
        return True

    def doubt(self, ballot: Ballot, told_K: Doubles, settings: HygieneSettings) -> Held | None:
        """Why a ballot waits to which this value was told, or None."""
        target, told, fold = _target(ballot), float(told_K[0]), self._left_out(ballot)
        if abs(target - told) <= FAIR * self._usual(fold)[0]:
            return None
        wide = self._wide(ballot, fold)
        there, said = (self._task.offset + self._task.scale * each for each in (told, target))
        words = f"without it, or its annotator, the labels that stand say {there:.4g}"
        words += f", and {said:.4g} is {abs(target - told) / wide:.1f} usual misses away"
        if settings.second_opinion and self._stray(target, told, wide) >= settings.confident:
            return Held(reason="second_opinion", words=words)
        if settings.quarantine and abs(target - told) > WRONG_FROM * wide:
            return Held(reason="quarantine", words=words)
        return None

    def _wide(self, ballot: Ballot, fold: int) -> float:
        """The usual miss of a ballot's input at its weight; kept, as it takes a while."""
        key = ballot.example, ballot.weight, fold
        if key not in self._wides:
            self._wides[key] = self._usual(fold)[1] * sqrt(1.0 + self._odds(ballot, fold))
        return self._wides[key]

    def _usual(self, fold: int) -> tuple[float, float]:
        """The usual miss of the rows that answer without a group (-1: of all), as it is and studentised."""
        if fold not in self._usuals:
            with one_thread():
                missed_NK, slack_N = self._of(fold).missed()
            plain, studentised = usual(missed_NK), usual(missed_NK * np.sqrt(slack_N)[:, None])
            self._usuals[fold] = max(plain, 1 / GRID), max(studentised, 1 / GRID)
        return self._usuals[fold]

    def _stray(self, target: float, told: float, wide: float) -> float:
        """Probability that a value comes from among all, and not from about the answer."""
        near, far = (target - told) / wide, (target - self._mean) / self._spread
        return float(expit((near**2 - far**2) / 2 + np.log(wide / self._spread)))

    def _answer(self, scores_XK: Doubles) -> Doubles:
        return scores_XK

    def _alike(self, ballot: Ballot) -> Flags:
        return np.ones(len(self._weights_N), np.bool_)


def _target(ballot: Ballot) -> float:
    assert ballot.row.target is not None, "a value stands"
    return ballot.row.target / GRID
