"""The ledger followed for one version: events in, the heads of what stands out.

Promises that following step by step and reading from the start give the same state, to the bit; and that a label of
one task never reaches the head of another. Knows nothing of leases, processes or timing: the learner, promotion and
training all use it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import replace

import numpy as np

from core.ballots import Ballot, Held
from core.errors import InvalidInput
from core.events import Ledger
from core.evidence import EvidenceStore
from core.federation import Share, site_of
from core.head import HeadState, Row
from core.hygiene import LabelPolicy
from core.labels import target_of
from core.screen import Screen
from core.standing import Outcome, Standing
from core.statistics import VALUE
from core.types import Block, GridRows, Head, LabelEvent, Scene

TAKEN_BACK = ("withdraw", "erase")


class Followed:
    """The standing labels of one task, as features of one extractor.

    Attributes:
        task: the task, as a scene that has no other.
        standing: the labels that stand.
        state: the rows that are in its head.
        learned: examples that weights which made the features were tuned on.
        held: labels that wait, and why, by example.
        conflicts, missing: as :class:`Follower` says.
    """

    def __init__(
        self,
        task: Scene,
        width: int,
        weight_of: Callable[[str], int],
        blocks: Sequence[Block] = (),
        foreign: Share | None = None,
        policy: LabelPolicy | None = None,
        learned: Set[str] = frozenset(),
    ):
        policy = policy or LabelPolicy()
        self.task = task
        self.learned = frozenset(learned)
        self.state = HeadState(
            width, task=task.task, declared=task.labels, key=task.hash_key, blocks=blocks, foreign=foreign
        )
        self.conflicts: set[str] = set()
        self.missing: set[str] = set()
        self.held: Mapping[str, Held] = {}
        self.standing = Standing(weight_of, task.task_name, policy.weights)
        self._touched: set[str] = set()
        self._screen = Screen(policy.hygiene, task) if policy.hygiene.screens else None
        self._erased = False  # since the screen was asked last

    def take(self, event: LabelEvent) -> int:
        """Take the next event; returns how many rows went with it at once."""
        examples = self.standing.apply(event)
        self._touched |= examples
        if event.kind != "erase":
            return 0
        self.learned -= examples  # should they come again, no ledger tells that weights were tuned on them
        erased = len(examples & self.state.rows.keys())
        self.state.remove(examples)  # their features are gone; should the examples come again, with new ones
        if self._screen is not None:
            self._screen.replace(examples, [])
            self._erased = True
        return erased

    def known(self, example: str) -> GridRows | None:
        """Features of an example that stands, whether it waits or not."""
        row = self.state.rows.get(example)
        if row is None and self._screen is not None and example in self._screen.ballots:
            row = self._screen.ballots[example].row
        return None if row is None else row.features

    def wanted(self) -> set[str]:
        """Examples whose features ``refresh`` may need."""
        return self._touched | self.missing

    def refresh(self, features: Mapping[str, GridRows]) -> int:
        """Bring the rows of what was touched up to date; returns how many came, changed or went."""
        touched = self.wanted()
        self._touched = set()
        wanted = {example: self.standing.outcome(example) for example in touched}
        self.conflicts -= touched
        self.conflicts |= {e for e, o in wanted.items() if o is not None and o.conflict}
        counting = {e: o for e, o in wanted.items() if o is not None and not o.conflict}
        self.missing = counting.keys() - features.keys()
        here = {e: self.row(e, outcome, features[e]) for e, outcome in counting.items() if e in features}
        if self._screen is None:
            return self._settle(touched - counting.keys(), here)
        return self._screened(self._screen, touched, {e: self._ballot(row, counting[e]) for e, row in here.items()})

    def _screened(self, screen: Screen, touched: set[str], here: Mapping[str, Ballot]) -> int:
        """Bring the screen up to date, and the rows to what it says."""
        known = screen.ballots
        came = [ballot for e, ballot in here.items() if e not in known or not known[e].same(ballot)]
        gone = [e for e in touched if e in known and e not in here] + [b.example for b in came if b.example in known]
        if not gone and not came and not self._erased:
            return 0
        self._erased = False
        screen.replace(gone, came)
        found = screen.verdicts()
        self.held = found.held
        rows = {e: replace(known[e].row, weight=weight) for e, weight in found.weights.items()}
        return self._settle(self.state.rows.keys() - rows.keys(), rows)

    def _settle(self, gone: Iterable[str], rows: Mapping[str, Row]) -> int:
        """Take rows out of the head and others in; returns how many came, changed or went."""
        held = self.state.rows
        changed = [row for row in rows.values() if row.example not in held or not held[row.example].same(row)]
        left = [example for example in gone if example in held]
        self.state.remove([*left, *(row.example for row in changed)])
        self.state.add(changed)
        return len(left) + len(changed)

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

    def row(self, example: str, outcome: Outcome, features: GridRows) -> Row:
        """What stands for an example as the head sees it."""
        assert features.dtype == np.int16 and features.shape == (self.state.width,)
        if outcome.value is not None:
            target = target_of(self.task, outcome.value)
            return Row(example, features, VALUE, target, outcome.weight, learned=example in self.learned)
        assert outcome.label is not None
        learned = example in self.learned
        return Row(example, features, outcome.label, None, outcome.weight, outcome.named, learned)

    def _ballot(self, row: Row, outcome: Outcome) -> Ballot:
        said = tuple((name, target_of(self.task, value)) for name, value in outcome.said)
        return Ballot(row, outcome.supporters, outcome.disputed, outcome.released, said)


class Follower:
    """The standing labels of a scene, task by task.

    Attributes:
        tasks: of the scene, the first one first.
        sequence: the last event taken in.
        upto: where it is a number, later events are taken in only where they withdraw or erase.
        leaving: an annotator whose labels are passed over, as if they had never been.
        taken_back: the last event that did.
    """

    def __init__(  # noqa: PLR0913 - what is followed, and how it is read
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
        policy: LabelPolicy | None = None,
        upto: int | None = None,
        leaving: str | None = None,
        learned: Set[str] = frozenset(),
    ):
        self.scene = scene
        self.extractor = extractor
        self.width = width
        self.sequence = 0
        self.upto = upto
        self.leaving = leaving
        self.taken_back = 0
        first, *others = scene.tasks
        self.tasks = (
            Followed(first, width, weight_of, blocks, foreign, policy, learned),
            *(Followed(task, width, weight_of, blocks, policy=policy, learned=learned) for task in others),
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

    def catch_up(self, to: int | None = None) -> int:
        """Take in all events since the last time, those up to ``to`` where it is given, and features that have come for
        missing examples.

        Returns:
            How many rows came, changed or went.
        """
        changed = 0
        while events := self._ledger.events(self.scene.name, self.sequence):
            events = [event for event in events if to is None or event.sequence <= to]
            for event in events:
                if event.kind in TAKEN_BACK:
                    self.taken_back = event.sequence
                elif (self.upto is not None and event.sequence > self.upto) or (
                    event.kind == "label" and event.annotator == self.leaving
                ):
                    continue
                changed += sum(each.take(event) for each in self.tasks)
            if not events:
                break
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
        first = replace(heads.pop(self.tasks[0].task.task_name), upto=self.upto)
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
        told = {e: each.known(e) for each in self.tasks for e in examples}
        found = {e: features for e, features in told.items() if features is not None}
        return found | self._evidence.features(self.extractor, examples - found.keys())


def blank(task: Scene, width: int) -> Head:
    """A head that has learned nothing."""
    labels = task.labels or (VALUE,)
    zeros = np.zeros((width, len(labels)), np.float32)
    return Head(weight=zeros, bias=np.zeros(len(labels), np.float32), labels=labels)
