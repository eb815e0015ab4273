"""CORAL in closed form: the target's features get mean and covariance of the source's, as an affine step in the graph.

When to use: where the two scenes differ in look rather than in content, and there are hundreds of inputs of both.
Limit: with fewer rows than features the covariances are mostly noise; they are shrunk towards a multiple of the
identity, so far that with few rows little more than the means is aligned. Where classes have other shares in the
target than in the source, aligning moves them onto each other.

The step is (φ - mean of the target) C_t^(-1/2) C_s^(1/2) + mean of the source, so that the labelled rows of the source
need no change. In the paper the source is mapped to the target; then no labelled row would keep its features.

Reference: Sun, Feng and Saenko, "Return of frustratingly easy domain adaptation", arXiv 1511.05547.

Legend: N source rows, M target rows, D features, R directions that rows span.
"""

from __future__ import annotations

import numpy as np

from core.statistics import from_grid
from core.types import Doubles
from exporters.recolour import recoloured
from training.assemble import Assembly
from training.situation import Situation, with_model

SHRINKAGE = 0.98  # of covariances towards a multiple of the identity; see docs/benchmarks/transfer.md


def adapt(situation: Situation) -> Assembly:
    """The graph with the step in it."""
    matrix_DD, shift_D = step(from_grid(situation.source_ND), from_grid(situation.target_MD))
    return with_model(situation.assembly, recoloured(situation.assembly.model, matrix_DD, shift_D))


def step(source_ND: Doubles, target_MD: Doubles, shrinkage: float = SHRINKAGE) -> tuple[Doubles, Doubles]:
    """Matrix (D, D) and shift (D,) that give the target's rows the source's first two moments.

    >>> random = np.random.default_rng(0)
    >>> source, target = random.standard_normal((500, 3)), 2 * random.standard_normal((500, 3)) + 5
    >>> matrix, shift = step(source, target, shrinkage=0.0)
    >>> moved = target @ matrix + shift
    >>> bool(np.allclose(moved.mean(axis=0), source.mean(axis=0))), bool(np.allclose(np.cov(moved.T), np.cov(source.T)))
    (True, True)
    """
    matrix_DD = _power(target_MD, shrinkage, -0.5) @ _power(source_ND, shrinkage, 0.5)
    return matrix_DD, source_ND.mean(axis=0) - target_MD.mean(axis=0) @ matrix_DD


def _power(rows_ND: Doubles, shrinkage: float, exponent: float) -> Doubles:
    """(D, D) power of the shrunk covariance: of its rows' directions, and one number for all others."""
    centred_ND = (rows_ND - rows_ND.mean(axis=0)) / np.sqrt(len(rows_ND) - 1)
    _, sizes_R, axes_RD = np.linalg.svd(centred_ND, full_matrices=False)
    least = max(shrinkage * float(np.square(sizes_R).sum()) / rows_ND.shape[1], np.finfo(np.float64).eps)
    values_R = (1 - shrinkage) * np.square(sizes_R) + least
    raised_DD: Doubles = (axes_RD.T * (values_R**exponent - least**exponent)) @ axes_RD
    raised_DD[np.diag_indices_from(raised_DD)] += least**exponent
    return raised_DD
