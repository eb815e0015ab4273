"""Ridge regression block by block: each block of features has a λ and a head of its own, and their scores are mixed.

Promises that the mixed head *is* a linear head on all features, W = α₁W₁ … αₖWₖ one above the other and b = Σ αᵢbᵢ, and
that a single block with α = 1 gives the very bits of a head without blocks. Knows nothing of where α comes from.

Legend: N rows, D features, K columns, M blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.calibrate import held_out_scores
from core.solve import Factor, factorise, solve
from core.statistics import Statistics, from_grid
from core.types import Block, Doubles, Flags, GridRows


def whole(width: int) -> tuple[Block, ...]:
    """All features as the only block."""
    return (Block(start=0, stop=width, alpha=1.0),)


def tile(blocks: Sequence[Block], width: int) -> bool:
    """Whether blocks follow each other from the first to the last of ``width`` features."""
    ends = [0, *(block.stop for block in blocks)]
    return all(end == block.start < block.stop for end, block in zip(ends, blocks, strict=False)) and ends[-1] == width


def columns(rows_ND: GridRows, block: Block) -> GridRows:
    """A block's features, laid out as if there were no others: the last bit of BLAS may depend on the layout."""
    return np.ascontiguousarray(rows_ND[:, block.start : block.stop])


@dataclass(frozen=True, eq=False)
class Solved:
    """One block: its factor, (D, K) weights and (K,) bias, before its share."""

    block: Block
    factor: Factor
    weight_DK: Doubles
    bias_K: Doubles

    def held_out(self, rows_ND: GridRows, targets_NK: Doubles, weights_N: Doubles, named_N: Flags) -> Doubles:
        """(N, K) leave-one-out scores of rows (of all features) that are part of the fit."""
        mine_ND = columns(rows_ND, self.block)
        scores_NK = from_grid(mine_ND) @ self.weight_DK + np.outer(~named_N, self.bias_K)
        return held_out_scores(self.factor, scores_NK, mine_ND, targets_NK, weights_N, named_N)


@dataclass(frozen=True, eq=False)
class Fit:
    """All blocks, solved for the same columns; what mixes them is their shares α."""

    solved: tuple[Solved, ...]

    @property
    def lam(self) -> float:
        """λ; of several blocks, their mean by α."""
        return sum(each.block.alpha * each.factor.lam for each in self.solved)

    def weight(self) -> Doubles:
        """(D, K) weights of the linear head on all features."""
        return np.concatenate([each.block.alpha * each.weight_DK for each in self.solved])

    def bias(self) -> Doubles:
        """(K,) its bias."""
        bias_K: Doubles = np.sum([each.block.alpha * each.bias_K for each in self.solved], axis=0)
        return bias_K

    def held_out(self, rows_ND: GridRows, targets_NK: Doubles, weights_N: Doubles, named_N: Flags) -> Doubles:
        """(N, K) mixed leave-one-out scores of rows that are part of the fit; of them ``named_N`` are names."""
        parts_MNK = self.parts_held_out(rows_ND, targets_NK, weights_N, named_N)
        mixed_NK: Doubles = np.sum([e.block.alpha * s for e, s in zip(self.solved, parts_MNK, strict=True)], axis=0)
        return mixed_NK

    def parts_held_out(self, rows_ND: GridRows, targets_NK: Doubles, weights_N: Doubles, named_N: Flags) -> Doubles:
        """(M, N, K) leave-one-out scores of each block alone."""
        return np.stack([each.held_out(rows_ND, targets_NK, weights_N, named_N) for each in self.solved])


def fit(blocks: Sequence[Block], parts: Sequence[Statistics], lams: Sequence[float], columns_K: Sequence[str]) -> Fit:
    """Solve every block from its own statistics with its own λ."""
    solved = []
    for block, part, lam in zip(blocks, parts, lams, strict=True):
        factor = factorise(part, lam)
        solved.append(Solved(block, factor, *solve(part, factor, columns_K)))
    return Fit(tuple(solved))
