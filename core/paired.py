"""Examples that champion and candidate have both answered: who was right on each, and how often alone.

Promises that counts of the classes stand for the examples that they count, wherever nothing but who was right alone
matters. Pure; knows nothing of what is decided.

Legend: N examples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from core.errors import InvalidInput

Flags = NDArray[np.bool_]
Counts = tuple[int, int, int]  # of examples, and of those that only the candidate, or only the champion, answered right


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """The same examples answered by both.

    Attributes:
        truth: class of each of N examples.
        champion, candidate: (N,) whether it was answered right.
        slices: name to (N,) membership.
        uses: how many decisions were made by these examples before.
    """

    truth: Sequence[str]
    champion: Flags = field(repr=False)
    candidate: Flags = field(repr=False)
    slices: Mapping[str, Flags] = field(default_factory=dict)
    uses: int = 0

    def __post_init__(self) -> None:
        """Check shapes."""
        shapes = {len(self.truth), len(self.champion), len(self.candidate), *map(len, self.slices.values())}
        if len(shapes) != 1:
            raise InvalidInput(f"paired outcomes have {sorted(shapes)} rows", "answer the same examples by both")


def alone(outcomes: Outcomes) -> tuple[int, int]:
    """How often only the candidate was right, and how often only the champion."""
    wins = np.count_nonzero(outcomes.candidate & ~outcomes.champion)
    return int(wins), int(np.count_nonzero(outcomes.champion & ~outcomes.candidate))


def classes_of(outcomes: Outcomes) -> dict[str, Flags]:
    """Class → (N,) its examples."""
    truth_N = np.asarray(outcomes.truth)
    return {str(name): truth_N == name for name in np.unique(truth_N)}


def by_class(outcomes: Outcomes) -> dict[str, Counts]:
    """Class → its examples, and those that only the candidate or only the champion answered right.

    >>> right = np.array([True, False, True])
    >>> by_class(Outcomes(truth=["cat", "cat", "dog"], champion=~right, candidate=right))
    {'cat': (2, 1, 1), 'dog': (1, 1, 0)}
    """
    found = {}
    for name, of_N in classes_of(outcomes).items():
        both = Outcomes(
            truth=[name] * int(of_N.sum()), champion=outcomes.champion[of_N], candidate=outcomes.candidate[of_N]
        )
        found[name] = (len(both.truth), *alone(both))
    return found


def joined(outcomes: Outcomes, counts: Mapping[str, Counts]) -> Outcomes:
    """The outcomes, and those that such counts stand for; all that matters is who was right alone, so whom both or
    neither answered right is not told apart, and slices are left out.

    >>> right = np.array([True, False, True])
    >>> some = Outcomes(truth=["cat", "cat", "dog"], champion=~right, candidate=right)
    >>> by_class(joined(some, by_class(some)))
    {'cat': (4, 2, 2), 'dog': (2, 2, 0)}
    """
    truth, champion, candidate = list(outcomes.truth), [outcomes.champion], [outcomes.candidate]
    for name, (rows, wins, losses) in counts.items():
        places_N = np.arange(rows)
        truth += [name] * rows
        candidate.append(places_N < wins)
        champion.append((places_N >= wins) & (places_N < wins + losses))
    return Outcomes(truth=truth, champion=np.concatenate(champion), candidate=np.concatenate(candidate))
