"""The ledger followed for one version: events in, the head of what stands out.

Promises that following step by step and reading from the start give the same state, to the bit. Knows nothing of
leases, processes or timing: the learner, promotion and training all use it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from core.events import Ledger
from core.evidence import EvidenceStore
from core.head import HeadState, Row
from core.labels import target_of
from core.standing import Outcome, Standing
from core.statistics import VALUE
from core.types import GridRows, Head, Scene


class Follower:
    """The standing labels of a scene, as features of one extractor.

    Attributes:
        sequence: the last event taken in.
        conflicts: examples that do not count because their annotators tie.
        missing: examples that stand, but have no features under this extractor yet; they are not in the head.
    """

    def __init__(
        self,
        ledger: Ledger,
        evidence: EvidenceStore,
        scene: Scene,
        *,
        extractor: str,
        width: int,
        weight_of: Callable[[str], int],
    ):
        self.scene = scene
        self.extractor = extractor
        self.sequence = 0
        self.missing: set[str] = set()
        self.conflicts: set[str] = set()
        self.state = HeadState(width, task=scene.task, declared=scene.labels, key=scene.hash_key)
        self._standing = Standing(weight_of)
        self._ledger = ledger
        self._evidence = evidence

    def catch_up(self) -> int:
        """Take in all events since the last time, and features that have come for missing examples.

        Returns:
            How many rows came, changed or went.
        """
        touched, erased = set(self.missing), 0
        while events := self._ledger.events(self.scene.name, self.sequence):
            for event in events:
                examples = self._standing.apply(event)
                touched |= examples
                if event.kind == "erase":  # their features are gone; should the examples come again, with new ones
                    erased += len(examples & self.state.rows.keys())
                    self.state.remove(examples)
            self.sequence = events[-1].sequence
        return erased + self._refresh(touched)

    def head(self, fallback: Head | None = None) -> Head | None:
        """The head of what stands; where nothing does, ``fallback`` marked as such."""
        head = self.state.solve(sequence=self.sequence)
        if head is None and fallback is not None:
            return Head(
                weight=fallback.weight,
                bias=fallback.bias,
                labels=fallback.labels,
                sequence=self.sequence,
                lam=fallback.lam,
                temperature=fallback.temperature,
                fallback=True,
            )
        return head

    def _refresh(self, touched: set[str]) -> int:
        wanted = {example: self._standing.outcome(example) for example in touched}
        self.conflicts -= touched
        self.conflicts |= {e for e, o in wanted.items() if o is not None and o.conflict}
        counting = {e: o for e, o in wanted.items() if o is not None and not o.conflict}
        held = self.state.rows
        features = {e: held[e].features for e in counting if e in held}
        features |= self._evidence.features(self.extractor, counting.keys() - features.keys())
        self.missing = (self.missing - touched) | (counting.keys() - features.keys())
        rows = [self._row(e, counting[e], values) for e, values in features.items()]
        changed = [row for row in rows if row.example not in held or not _same(held[row.example], row)]
        gone = [example for example in touched if example in held and example not in counting]
        self.state.remove([*gone, *(row.example for row in changed)])
        self.state.add(changed)
        return len(gone) + len(changed)

    def _row(self, example: str, outcome: Outcome, features: GridRows) -> Row:
        assert features.dtype == np.int16 and features.shape == (self.state.statistics.width,)
        if outcome.value is not None:
            return Row(example, features, VALUE, target_of(self.scene, outcome.value), outcome.weight)
        assert outcome.label is not None
        return Row(example, features, outcome.label, None, outcome.weight, outcome.named)


def _same(one: Row, other: Row) -> bool:
    told, other_told = ((row.column, row.target, row.weight, row.named) for row in (one, other))
    return told == other_told
