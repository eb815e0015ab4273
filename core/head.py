"""The head as a function of the rows that stand: statistics, sample, λ, temperature, offsets, weights.

Promises that any history of adding and removing rows leaves the very state, and the very head, of a fit from scratch
on the rows that are left. Knows nothing of events, scenes or storage: a row is features, a column and a weight.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from core import blocks as blockwise
from core.blocks import Fit
from core.calibrate import Classes, leave_one_out, offsets, temperature
from core.federation import Share
from core.sample import Sample
from core.solve import one_thread
from core.statistics import VALUE, Statistics, from_grid
from core.types import Block, Doubles, Flags, GridRows, Head, Task

SERVED_FROM = 2  # examples that a class needs to be served
CALIBRATED_FROM = 64  # examples that no weight was tuned on, to tell how sure a head is: of fewer, smoothing says more


@dataclass(frozen=True, eq=False)
class Row:
    """One standing example as the head sees it: ``target`` is on the 16-bit grid, for regression only.

    ``named``: it stands for its class by its name alone (core.statistics says what that changes).
    ``learned``: weights that made its features were tuned on it, so that what it is answered without itself is better
    than what others are answered, and tells nothing of how sure the head may be.
    """

    example: str
    features: GridRows
    column: str
    target: int | None
    weight: int
    named: bool = False
    learned: bool = False

    def same(self, other: Row) -> bool:
        """Whether both say the same of their example, whose features are one."""
        return (self.column, self.target, self.weight, self.named) == (
            other.column,
            other.target,
            other.weight,
            other.named,
        )

    def digest(self, key: bytes) -> bytes:
        """Keyed hash of (features, label): which rows are in the sample cannot be steered from outside."""
        told = f"{self.column}\0{self.target}\0{'name' if self.named else ''}".encode()
        return hashlib.blake2b(told + self.features.tobytes(), key=key[:64], digest_size=16).digest()


@dataclass(frozen=True, eq=False)
class Checked:
    """What a head answers to each row of its sample, had it never seen that row: (N, K) cooled scores."""

    rows: tuple[Row, ...]
    labels: tuple[str, ...]
    answered_NK: Doubles

    def right(self) -> dict[str, bool]:
        """Example → whether the answer is its label."""
        told = self.answered_NK.argmax(axis=1)
        return {row.example: self.labels[k] == row.column for row, k in zip(self.rows, told, strict=True)}


class HeadState:
    """Statistics and sample of the rows that stand, kept as they come and go.

    Attributes:
        sample: the rows by which λ and the temperature are chosen; the latter by those that no weight was tuned on.
        checked: what the last solve found of its sample; None before, for a regression, and where λ was given.

    Args:
        width: D, the features of one row.
        declared: class order of the scene; other classes follow, sorted.
        key: secret of the sample's keyed hash.
        blocks: features that have heads of their own; all together where there are none.
        foreign: sums of other sites, which stand beside the rows.
    """

    def __init__(
        self,
        width: int,
        *,
        task: Task = "classification",
        declared: Sequence[str] = (),
        key: bytes = b"",
        blocks: Sequence[Block] = (),
        foreign: Share | None = None,
    ):
        self.width = width
        self.blocks = tuple(blocks) or blockwise.whole(width)
        assert blockwise.tile(self.blocks, width), f"blocks {self.blocks} do not cover {width} features"
        self.parts = tuple(Statistics(block.stop - block.start) for block in self.blocks)
        self.foreign = foreign
        if foreign is not None:
            for part, sums in zip(self.parts, foreign.parts, strict=True):
                part.merge(sums)
        self.task = task
        self.declared = tuple(declared)
        self.key = key
        self.rows: dict[str, Row] = {}
        self.sample = Sample(key)
        self.checked: Checked | None = None
        self._lams: tuple[str, tuple[float, ...]] | None = None
        self._fitted: tuple[tuple[object, ...], Fit] | None = None  # what the sums were last solved to

    @property
    def statistics(self) -> Statistics:
        """The sums of a head of one block."""
        assert len(self.parts) == 1, "each block has sums of its own"
        return self.parts[0]

    def add(self, rows: Iterable[Row]) -> None:
        """Add rows of examples that are not here yet."""
        new, self._fitted = list(rows), None
        for row in new:
            assert row.example not in self.rows, f"example {row.example} already stands"
            self.rows[row.example] = row
        self.sample.add(new)
        if new:
            rows_ND, columns, targets_N, weights, named = _arrays(new)
            with one_thread():
                for block, part in zip(self.blocks, self.parts, strict=True):
                    part.add(blockwise.columns(rows_ND, block), columns, targets_N, weights, named)

    def remove(self, examples: Iterable[str]) -> None:
        """Forget the rows of these examples, exactly; those that are not here are passed over."""
        gone = [self.rows.pop(example) for example in examples if example in self.rows]
        self.sample.remove(gone)
        self._fitted = None
        if gone:
            rows_ND, columns, targets_N, weights, named = _arrays(gone)
            with one_thread():
                for block, part in zip(self.blocks, self.parts, strict=True):
                    part.subtract(blockwise.columns(rows_ND, block), columns, targets_N, weights, named)

    def served(self) -> tuple[str, ...]:
        """Columns with enough examples: declared classes in their order, then the others, sorted."""
        counts = self.parts[0].counts  # the same in every block
        if self.task == "regression":
            return (VALUE,) if counts.get(VALUE, 0) >= SERVED_FROM else ()
        known = [label for label in self.declared if counts.get(label, 0) >= SERVED_FROM]
        more = sorted(label for label, count in counts.items() if count >= SERVED_FROM and label not in self.declared)
        return tuple(known + more)

    def solve(self, *, sequence: int = 0, lam: float | None = None, cooled: float | None = None) -> Head | None:
        """The head of what stands, or None where no class can be served.

        Args:
            sequence: the last label event that is in the rows; recorded in the head.
            lam: λ of every block, where it is given (federation, tests) rather than chosen by leave-one-out.
            cooled: the temperature, likewise; nothing is moved then.
        """
        columns, self.checked = self.served(), None
        if not columns:
            return None
        digest = self.sample.digest(columns)
        with one_thread():
            fit = self._fit(columns, digest, lam)
            cooled, moved_K = self._calibrated(fit, columns) if cooled is None else (cooled, np.zeros(len(columns)))
        return Head(
            weight=(fit.weight() / cooled).astype(np.float32),
            bias=(fit.bias() / cooled + moved_K).astype(np.float32),
            labels=columns,
            sequence=sequence,
            lam=fit.lam,
            temperature=cooled,
            sample_digest=digest,
            examples=len(self.rows),
        )

    def held_out(self, examples: Sequence[str], columns: Sequence[str]) -> Doubles:
        """(M, N, K) leave-one-out scores of standing examples by each of M blocks, before shares and temperature."""
        rows = [self.rows[example] for example in examples]
        with one_thread():
            fit = self._fit(columns, self.sample.digest(columns), None)
            return fit.parts_held_out(*_problem(rows, columns))

    def answered(self, examples: Sequence[str], head: Head) -> Doubles:
        """(N, K) leave-one-out scores of standing examples by ``head``, which this state solved: cooled and moved."""
        rows = [self.rows[example] for example in examples]
        with one_thread():
            fit = self._fit(head.labels, self.sample.digest(head.labels), None)
            moved_K = head.bias - fit.bias() / head.temperature
            answered_NK: Doubles = fit.held_out(*_problem(rows, head.labels)) / head.temperature + moved_K
            return answered_NK

    def lams(self) -> tuple[float, ...]:
        """λ of each block, as what stands decides it; some class has to be served."""
        columns = self.served()
        with one_thread():
            return self._choose(self.sample.digest(columns), columns)

    def _fit(self, columns: Sequence[str], digest: str, lam: float | None) -> Fit:
        key = tuple(columns), digest, lam
        if self._fitted is None or self._fitted[0] != key:
            lams = self._choose(digest, columns) if lam is None else (lam,) * len(self.blocks)
            self._fitted = key, blockwise.fit(self.blocks, self.parts, lams, columns)
        return self._fitted[1]

    def _calibrated(self, fit: Fit, columns: Sequence[str]) -> tuple[float, Doubles]:
        """The temperature, and (K,) offsets."""
        still_K = np.zeros(len(columns))
        if self.task == "regression":
            return 1.0, still_K
        sample = self._sample()
        if not sample and self.foreign is not None:
            return self.foreign.temperature, still_K
        rows_ND, targets_NK, weights_N, named_N = _problem(sample, columns)
        held_NK = fit.held_out(rows_ND, targets_NK, weights_N, named_N)
        mine = targets_NK.any(axis=1)
        seen = mine & ~named_N
        known = seen if seen.any() else mine
        sure = held_NK[known], targets_NK[known].argmax(axis=1), weights_N[known]
        if any(row.learned for row in sample):
            sure = self._apart(fit, columns) or sure
        cooled = temperature(*sure)
        moved_K = still_K  # how frequent a class is, no name tells
        if seen.any():
            moved_K = offsets(held_NK[mine] / cooled, targets_NK[mine], weights_N[mine])
        self.checked = Checked(tuple(sample), tuple(columns), held_NK / cooled + moved_K)
        return cooled, moved_K

    def _apart(self, fit: Fit, columns: Sequence[str]) -> tuple[Doubles, Classes, Doubles] | None:
        """Leave-one-out scores, classes and weights of rows that no weight was tuned on, as many as a sample has; None
        where they are too few."""
        drawn = [self.rows[example] for example in self.sample.first(lambda example: not self.rows[example].learned)]
        rows = [row for row in drawn if row.column in columns and not row.named]
        if len(rows) < CALIBRATED_FROM:
            return None
        rows_ND, targets_NK, weights_N, named_N = _problem(rows, columns)
        return fit.held_out(rows_ND, targets_NK, weights_N, named_N), targets_NK.argmax(axis=1), weights_N

    def _sample(self) -> list[Row]:
        return [self.rows[example] for example in self.sample.examples()]

    def _choose(self, digest: str, columns: Sequence[str]) -> tuple[float, ...]:
        """λ of each block by leave-one-out on the sample; as the other sites say where there is too little of it."""
        sample = self._sample()
        if len(sample) < SERVED_FROM and self.foreign is not None:
            return self.foreign.lams
        if self._lams is None or self._lams[0] != digest:
            rows_ND, targets_NK, weights_N, named_N = _problem(sample, columns)
            parts = [blockwise.columns(rows_ND, block) for block in self.blocks]
            found = [leave_one_out(part_ND, targets_NK, weights_N, named_N).lam for part_ND in parts]
            self._lams = (digest, tuple(found))
        return self._lams[1]


def fit_head(
    features_ND: GridRows,
    labels: Sequence[str],
    *,
    weights: Sequence[int] | None = None,
    declared: Sequence[str] = (),
    key: bytes = b"lepton",
) -> Head:
    """A classification head from scratch on (N, D) int16 features and N labels.

    Raises:
        ValueError: no class has two examples.

    >>> rows = np.array([[9000, 100], [9100, 0], [0, 9000], [50, 9200]], np.int16)
    >>> head = fit_head(rows, ["cat", "cat", "dog", "dog"])
    >>> [head.labels[i] for i in (from_grid(rows) @ head.weight + head.bias).argmax(axis=1)]
    ['cat', 'cat', 'dog', 'dog']
    """
    state = HeadState(features_ND.shape[1], declared=declared, key=key)
    shares = weights if weights is not None else [1] * len(labels)
    state.add(Row(str(i), features_ND[i], label, None, shares[i]) for i, label in enumerate(labels))
    head = state.solve()
    if head is None:
        raise ValueError(f"no class has {SERVED_FROM} examples among {len(labels)}; give more labels")
    return head


def _arrays(rows: Sequence[Row]) -> tuple[GridRows, list[str], GridRows | None, list[int], list[bool]]:
    """Features, columns, targets, weights and names, as ``Statistics.add`` takes them."""
    targets = [row.target for row in rows]
    targets_N = None if None in targets else np.asarray(targets, np.int16)
    features_ND = np.stack([row.features for row in rows])
    return features_ND, [r.column for r in rows], targets_N, [r.weight for r in rows], [r.named for r in rows]


def _problem(rows: Sequence[Row], columns: Sequence[str]) -> tuple[GridRows, Doubles, Doubles, Flags]:
    """Features, (N, K) targets and weights of rows, and which of them are names."""
    rows_ND, _, targets_N, weights, named = _arrays(rows)
    return rows_ND, _targets(rows, columns, targets_N), np.asarray(weights, np.float64), np.asarray(named, np.bool_)


def _targets(rows: Sequence[Row], columns: Sequence[str], targets_N: GridRows | None) -> Doubles:
    if targets_N is not None:
        return from_grid(targets_N)[:, None]
    index = {column: k for k, column in enumerate(columns)}
    targets_NK = np.zeros((len(rows), len(columns)))
    for n, row in enumerate(rows):
        if row.column in index:
            targets_NK[n, index[row.column]] = 1.0
    return targets_NK
