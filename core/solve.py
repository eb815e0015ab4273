"""Sufficient statistics to a ridge-regression head, in closed form.

Promises one answer, to the bit, for the same statistics and λ on the same machine: BLAS runs on one thread here.
Knows nothing of how λ is chosen. The intercept is not penalised.

Source: Hoerl and Kennard, "Ridge regression", Technometrics 12 (1970): W = (G + λI)⁻¹ Q.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve, solve_triangular
from scipy.linalg.blas import dsyr
from threadpoolctl import ThreadpoolController

from core.statistics import Statistics
from core.types import Doubles

_blas = ThreadpoolController()
_alone = threading.RLock()  # the limit is the process's: a second thread leaving early would lift it for the first


@contextmanager
def one_thread() -> Iterator[None]:
    """BLAS on one thread: the order of its sums, and so the last bit, then depends on nothing but the input."""
    with _alone, _blas.limit(limits=1, user_api="blas"):
        yield


@dataclass(frozen=True)
class Factor:
    """Cholesky factor of the centred Gram matrix plus λI.

    Attributes:
        lower: (D, D) lower factor.
        mean: (D,) sum of the weighted features over ``total``, names (core.statistics) left out.
        total: weight of all but names, and their spread, which holds the intercept back.
        lam: the λ that was used; larger than asked for only where the matrix was not positive definite in float64.
    """

    lower: Doubles
    mean: Doubles
    total: float
    lam: float

    def leverage(self, rows_ND: Doubles, weights_N: Doubles, constants_N: Doubles) -> Doubles:
        """(N,) diagonal of the hat matrix for rows that are part of the fit, the intercept included.

        ``constants_N`` is 1, and 0 for names.
        """
        centred_ND = rows_ND - np.outer(constants_N, self.mean)
        whitened_DN = solve_triangular(self.lower, centred_ND.T, lower=True, check_finite=False)
        own_N = constants_N / self.total
        leverage_N: Doubles = weights_N * (own_N + np.einsum("dn,dn->n", whitened_DN, whitened_DN))
        return leverage_N


def factorise(statistics: Statistics, lam: float) -> Factor:
    """Factorise Σ w (φ - μ)(φ - μ)ᵀ + λI; λ grows tenfold until that is positive definite in float64."""
    assert statistics.units > 0, "there is nothing to solve from"
    assert lam > 0, f"λ is {lam}, expected above zero"
    total = float(statistics.gram[-1, -1])
    sums_D = statistics.gram[-1, :-1].copy()
    while True:
        centred_DD = dsyr(-1.0 / total, sums_D, lower=1, a=statistics.gram[:-1, :-1].copy(order="F"), overwrite_a=1)
        centred_DD[np.diag_indices_from(centred_DD)] += lam
        try:
            lower_DD, _ = cho_factor(centred_DD, lower=True, overwrite_a=True, check_finite=False)
        except LinAlgError:
            lam *= 10.0
            continue
        return Factor(lower_DD, sums_D / total, total, lam)


def solve(statistics: Statistics, factor: Factor, columns: Sequence[str]) -> tuple[Doubles, Doubles]:
    """Weights (D, K) and bias (K,) of the named columns."""
    cross_EK = np.stack([statistics.cross[column] for column in columns], axis=1)
    centred_DK = cross_EK[:-1] - np.outer(factor.mean, cross_EK[-1])
    weight_DK = cho_solve((factor.lower, True), np.asfortranarray(centred_DK), check_finite=False)
    bias_K = cross_EK[-1] / factor.total - factor.mean @ weight_DK
    return weight_DK, bias_K
