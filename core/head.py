"""The head as a function of the rows that stand: statistics, sample, λ, temperature, offsets, weights.

Promises that any history of adding and removing rows leaves the very state, and the very head, of a fit from scratch
on the rows that are left. Knows nothing of events, scenes or storage: a row is features, a column and a weight.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from core.calibrate import held_out_scores, leave_one_out, offsets, temperature
from core.solve import factorise, one_thread, solve
from core.statistics import VALUE, Statistics, from_grid
from core.types import Doubles, Flags, GridRows, Head, Task

SAMPLE = 512  # rows from which λ and the temperature are drawn
SERVED_FROM = 2  # examples that a class needs to be served


@dataclass(frozen=True, eq=False)
class Row:
    """One standing example as the head sees it: ``target`` is on the 16-bit grid, for regression only.

    ``named``: it stands for its class by its name alone (core.statistics says what that changes).
    """

    example: str
    features: GridRows
    column: str
    target: int | None
    weight: int
    named: bool = False

    def digest(self, key: bytes) -> bytes:
        """Keyed hash of (features, label): which rows are in the sample cannot be steered from outside."""
        told = f"{self.column}\0{self.target}\0{'name' if self.named else ''}".encode()
        return hashlib.blake2b(told + self.features.tobytes(), key=key[:64], digest_size=16).digest()


class HeadState:
    """Statistics and sample of the rows that stand, kept as they come and go.

    Args:
        width: D, the features of one row.
        declared: class order of the scene; other classes follow, sorted.
        key: secret of the sample's keyed hash.
    """

    def __init__(self, width: int, *, task: Task = "classification", declared: Sequence[str] = (), key: bytes = b""):
        self.statistics = Statistics(width)
        self.task = task
        self.declared = tuple(declared)
        self.key = key
        self.rows: dict[str, Row] = {}
        self._order: list[tuple[bytes, int, str]] = []  # (digest, weight, example), sorted: the first 512 are sampled
        self._lam: tuple[str, float] | None = None

    def add(self, rows: Iterable[Row]) -> None:
        """Add rows of examples that are not here yet."""
        new = list(rows)
        for row in new:
            assert row.example not in self.rows, f"example {row.example} already stands"
            self.rows[row.example] = row
        if len(new) > SAMPLE:
            self._order = sorted(self._order + [self._rank(row) for row in new])
        else:
            for row in new:
                insort(self._order, self._rank(row))
        if new:
            with one_thread():
                self.statistics.add(*_arrays(new))

    def remove(self, examples: Iterable[str]) -> None:
        """Forget the rows of these examples, exactly; those that are not here are passed over."""
        gone = [self.rows.pop(example) for example in examples if example in self.rows]
        for row in gone:
            del self._order[bisect_left(self._order, self._rank(row))]
        if gone:
            with one_thread():
                self.statistics.subtract(*_arrays(gone))

    def served(self) -> tuple[str, ...]:
        """Columns with enough examples: declared classes in their order, then the others, sorted."""
        counts = self.statistics.counts
        if self.task == "regression":
            return (VALUE,) if counts.get(VALUE, 0) >= SERVED_FROM else ()
        known = [label for label in self.declared if counts.get(label, 0) >= SERVED_FROM]
        more = sorted(label for label, count in counts.items() if count >= SERVED_FROM and label not in self.declared)
        return tuple(known + more)

    def solve(self, *, sequence: int = 0, lam: float | None = None) -> Head | None:
        """The head of what stands, or None where no class can be served.

        Args:
            sequence: the last label event that is in the rows; recorded in the head.
            lam: λ, where it is given (federation, tests) rather than chosen by leave-one-out.
        """
        columns = self.served()
        if not columns:
            return None
        sample = [self.rows[example] for _, _, example in self._order[:SAMPLE]]
        features_ND, _, targets_N, weights, named = _arrays(sample)
        weights_N, named_N = np.asarray(weights, np.float64), np.asarray(named, np.bool_)
        targets_NK = _targets(sample, columns, targets_N)
        digest = self._sample_digest(columns)
        with one_thread():
            lam = lam if lam is not None else self._choose(digest, features_ND, targets_NK, weights_N, named_N)
            factor = factorise(self.statistics, lam)
            weight_DK, bias_K = solve(self.statistics, factor, columns)
            cooled, moved_K = 1.0, np.zeros(len(columns))
            if self.task == "classification":
                scores_NK = from_grid(features_ND) @ weight_DK + np.outer(~named_N, bias_K)
                held_NK = held_out_scores(factor, scores_NK, features_ND, targets_NK, weights_N, named_N)
                mine = targets_NK.any(axis=1)
                seen = mine & ~named_N
                sure = seen if seen.any() else mine  # how sure is told by examples, where there are any
                cooled = temperature(held_NK[sure], targets_NK[sure].argmax(axis=1), weights_N[sure])
                if seen.any():  # how frequent is told by no name
                    moved_K = offsets(held_NK[mine] / cooled, targets_NK[mine], weights_N[mine])
        return Head(
            weight=(weight_DK / cooled).astype(np.float32),
            bias=(bias_K / cooled + moved_K).astype(np.float32),
            labels=columns,
            sequence=sequence,
            lam=factor.lam,
            temperature=cooled,
            sample_digest=digest,
            examples=len(self.rows),
        )

    def _rank(self, row: Row) -> tuple[bytes, int, str]:
        return row.digest(self.key), row.weight, row.example

    def _sample_digest(self, columns: Sequence[str]) -> str:
        told = hashlib.sha256("\0".join(columns).encode())
        for digest, weight, _ in self._order[:SAMPLE]:
            told.update(digest + weight.to_bytes(8, "big"))
        return told.hexdigest()

    def _choose(
        self, digest: str, features_ND: GridRows, targets_NK: Doubles, weights_N: Doubles, named_N: Flags
    ) -> float:
        if self._lam is None or self._lam[0] != digest:
            self._lam = (digest, leave_one_out(features_ND, targets_NK, weights_N, named_N).lam)
        return self._lam[1]


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


def _targets(rows: Sequence[Row], columns: Sequence[str], targets_N: GridRows | None) -> Doubles:
    if targets_N is not None:
        return from_grid(targets_N)[:, None]
    index = {column: k for k, column in enumerate(columns)}
    targets_NK = np.zeros((len(rows), len(columns)))
    for n, row in enumerate(rows):
        if row.column in index:
            targets_NK[n, index[row.column]] = 1.0
    return targets_NK
