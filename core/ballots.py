"""What hygiene looks at: a row that stands and who says so; and why one waits.

Knows nothing of how that is decided.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from core.head import Row

ANYBODY = ""  # the annotator of labels that name none: each of them is somebody else's

Reason = Literal["second_opinion", "quarantine"]


@dataclass(frozen=True, kw_only=True)
class Held:
    """Why a label waits."""

    reason: Reason
    words: str


@dataclass(frozen=True, eq=False)
class Ballot:
    """A row that stands, and who says so.

    Attributes:
        supporters: annotators who say its label. disputed: others say something else. released: it was looked at.
        said: of values, what each annotator says, on the grid. Which of them say the same is decided by the usual miss
            (``core/value_opinion.py``); until it is known, all of them support what stands.
    """

    row: Row
    supporters: frozenset[str]
    disputed: bool = False
    released: bool = False
    said: tuple[tuple[str, int], ...] = ()

    @property
    def example(self) -> str:
        """Which one it is."""
        return self.row.example

    @property
    def weight(self) -> int:
        """What it weighs."""
        return self.row.weight

    def same(self, other: Ballot) -> bool:
        """Whether both say the same of their example, and the same people say it."""
        alike = (self.supporters, self.disputed, self.released) == (other.supporters, other.disputed, other.released)
        return alike and self.said == other.said and self.row.same(other.row)

    def digest(self, key: bytes) -> bytes:
        """Keyed hash of features and label."""
        return self.row.digest(key)
