"""The ledger followed for one version: events in, the heads of what stands out.

Promises that following step by step and reading from the start give the same state, to the bit; and that a label of
one task never reaches the head of another. Knows nothing of leases, processes or timing: the learner, promotion and
training all use it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from core.errors import InvalidInput
from core.events import Ledger
from core.evidence import EvidenceStore
from core.federation import Share, site_of
from core.head import HeadState, Row
from core.labels import target_of
from core.standing import Outcome, Standing
from core.statistics import VALUE
from core.types import Block, GridRows, Head, LabelEvent, Scene


class Followed:
    """The standing labels of one task, as features of one extractor.

    Attributes:
        task: the task, as a scene that has no other.
        state: the rows that are in its head.
        conflicts, missing: as :class:`Follower` says.
    """

    def __init__(
        self,
        task: Scene,
        width: int,
        weight_of: Callable[[str], int],
        blocks: Sequence[Block] = (),
        foreign: Share | None = None,
    ):
        self.task = task
        self.state = HeadState(
            width, task=task.task, declared=task.labels, key=task.hash_key, blocks=blocks, foreign=foreign
        )
        self.conflicts: set[str] = set()
        self.missing: set[str] = set()
        self._standing = Standing(weight_of, task.task_name)
        self._touched: set[str] = set()

    def take(self, event: LabelEvent) -> int:
        """Take the next event; returns how many rows went with it at once."""
        examples = self._standing.apply(event)
        self._touched |= examples
        if event.kind != "erase":
            return 0
        erased = len(examples & self.state.rows.keys())
        self.state.remove(examples)  # their features are gone; should the examples come again, with new ones
        return erased

    def wanted(self) -> set[str]:
        """Examples whose features ``refresh`` may need."""
        return self._touched | self.missing

    def refresh(self, features: Mapping[str, GridRows]) -> int:
        """Bring the rows of what was touched up to date; returns how many came, changed or went."""
        touched = self.wanted()
        self._touched = set()
        wanted = {example: self._standing.outcome(example) for example in touched}
        self.conflicts -= touched
        self.conflicts |= {e for e, o in wanted.items() if o is not None and o.conflict}
        counting = {e: o for e, o in wanted.items() if o is not None and not o.conflict}
        held = self.state.rows
        self.missing = counting.keys() - features.keys()
        rows = [self._row(e, outcome, features[e]) for e, outcome in counting.items() if e in features]
        changed = [row for row in rows if row.example not in held or not _same(held[row.example], row)]
        gone = [example for example in touched if example in held and example not in counting]
        self.state.remove([*gone, *(row.example for row in changed)])
        self.state.add(changed)
        return len(gone) + len(changed)

    def head(self, sequence: int, fallback: Head | None) -> Head | None:
        """The head of what stands; where nothing does, ``fallback`` marked as such."""
        head = self.state.solve(sequence=sequence)
        if head is None and fallback is not None:
            return Head(
                weight=fallback.weight,
                bias=fallback.bias,
                labels=fallback.labels,
                sequence=sequence,
                lam=fallback.lam,
                temperature=fallback.temperature,
                fallback=True,
            )
        return head

    def _row(self, example: str, outcome: Outcome, features: GridRows) -> Row:
        assert features.dtype == np.int16 and features.shape == (self.state.width,)
        if outcome.value is not None:
            return Row(example, features, VALUE, target_of(self.task, outcome.value), outcome.weight)
        assert outcome.label is not None
        return Row(example, features, outcome.label, None, outcome.weight, outcome.named)


class Follower:
    """The standing labels of a scene, task by task.

    Attributes:
        tasks: of the scene, the first one first.
        sequence: the last event taken in.
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
        blocks: Sequence[Block] = (),
        foreign: Share | None = None,
    ):
        self.scene = scene
        self.extractor = extractor
        self.width = width
        self.sequence = 0
        first, *others = scene.tasks
        self.tasks = (
            Followed(first, width, weight_of, blocks, foreign),
            *(Followed(task, width, weight_of, blocks) for task in others),
        )
        self._ledger = ledger
        self._evidence = evidence

    @property
    def state(self) -> HeadState:
        """The rows that are in the head of the first task."""
        return self.tasks[0].state

    @property
    def conflicts(self) -> set[str]:
        """Examples that do not count for some task because their annotators tie."""
        return set[str]().union(*(each.conflicts for each in self.tasks))

    @property
    def missing(self) -> set[str]:
        """Examples that stand, but have no features under this extractor yet; they are in no head."""
        return set[str]().union(*(each.missing for each in self.tasks))

    @property
    def standing(self) -> set[str]:
        """Examples that are in the head of some task."""
        return set[str]().union(*(each.state.rows for each in self.tasks))

    @property
    def serves(self) -> bool:
        """Whether enough stands to answer some task."""
        return any(each.state.served() for each in self.tasks)

    def catch_up(self) -> int:
        """Take in all events since the last time, and features that have come for missing examples.

        Returns:
            How many rows came, changed or went.
        """
        changed = 0
        while events := self._ledger.events(self.scene.name, self.sequence):
            for event in events:
                changed += sum(each.take(event) for each in self.tasks)
            self.sequence = events[-1].sequence
        features = self._features(set[str]().union(*(each.wanted() for each in self.tasks)))
        return changed + sum(each.refresh(features) for each in self.tasks)

    def head(self, fallback: Head | None = None) -> Head | None:
        """The head of what stands, with those of further tasks; None where nothing stands, and there is no fallback.

        A task of which nothing stands has its head of ``fallback``, marked as such; where there is none, one of zeros.
        """
        if fallback is None and not self.serves:
            return None
        heads = {each.task.task_name: self._head(each, fallback) for each in self.tasks}
        first = heads.pop(self.tasks[0].task.task_name)
        return replace(first, further=heads) if heads else first

    def _head(self, each: Followed, fallback: Head | None) -> Head:
        name, first = each.task.task_name, each is self.tasks[0]
        known = fallback if first or fallback is None else fallback.further.get(name)
        head = each.head(self.sequence, known or blank(each.task, self.width))
        assert head is not None, "a fallback always serves"
        return head

    def share(self, each: Followed) -> Share:
        """The sums of what stands for a task, those of other sites included, for other sites to add.

        Raises:
            InvalidInput: no class has two examples.
        """
        task, state = each.task, each.state
        head = state.solve()
        if head is None:
            raise InvalidInput(f"nothing stands in scene {task.name!r}", "label two examples of a class first")
        foreign = state.foreign
        return Share(
            sites=(site_of(task), *(foreign.sites if foreign else ())),
            extractor=self.extractor,
            task=task.task,
            offset=task.offset,
            scale=task.scale,
            blocks=state.blocks,
            parts=state.parts,
            lams=state.lams(),
            temperature=head.temperature,
            examples=len(state.rows) + (foreign.examples if foreign else 0),
        )

    def _features(self, examples: set[str]) -> dict[str, GridRows]:
        """Features of these examples: one array an example, however many tasks it is in."""
        found = {e: each.state.rows[e].features for each in self.tasks for e in examples & each.state.rows.keys()}
        return found | self._evidence.features(self.extractor, examples - found.keys())


def blank(task: Scene, width: int) -> Head:
    """A head that has learned nothing."""
    labels = task.labels or (VALUE,)
    zeros = np.zeros((width, len(labels)), np.float32)
    return Head(weight=zeros, bias=np.zeros(len(labels), np.float32), labels=labels)


def _same(one: Row, other: Row) -> bool:
    told, other_told = ((row.column, row.target, row.weight, row.named) for row in (one, other))
    return told == other_told
