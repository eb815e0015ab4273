"""The mean of several models' scores with weights α, each model with a head of its own.

When to use it: models of very different widths or kinds, or many of them; every head stays as narrow as its member, so
nothing is projected. Limit: it cannot see what two members know only together (features can), and it costs the time of
all members; a member with α = 0 is left out of the graph.

α is chosen twice, on leave-one-out scores: greedily with replacement, and as the optimum of a convex problem. The one
that does better on rows it was not chosen on is taken, and equal shares where neither does better than those: with few
labels that is the rule. What is minimised is the log loss at the best temperature (of classes), or the squared error
(of values).

Reference: Caruana et al., "Ensemble selection from libraries of models", ICML 2004. With β = α / T ≥ 0 the log loss is
convex in β (a logistic regression without intercept whose inputs are the members' scores); so is the squared error.

>>> import numpy as np
>>> from training.merge.members import Member
>>> good_ND = np.array([[9, 1], [8, 0], [1, 9], [0, 8]], np.int16) * 1000
>>> members = [Member(name="good", features_ND=good_ND), Member(name="blind", features_ND=np.zeros_like(good_ND))]
>>> targets_NK = np.repeat(np.eye(2), 2, axis=0)
>>> given = Given(members=members, task="classification", targets_NK=targets_NK, judged_N=np.ones(4, bool))
>>> sum(fuse(given).alphas), sorted(fuse(given).tried)
(1.0, ['loss of convex', 'loss of equal', 'loss of greedy'])
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize, nnls
from scipy.special import logsumexp

from core.calibrate import COLDEST, temperature
from core.types import Doubles
from training.merge.members import Flags, Given, Mix, folds, held_out, outcomes, shares

SPACE = "features"
SYMMETRIC = True
_FIRM = 1e3  # weight of the equation Σα = 1 among squared errors, which are about 1

Choice = Callable[[Doubles, Doubles], tuple[float, ...]]  # (M, N, K) scores and (N, K) targets to α


@dataclass(frozen=True, kw_only=True)
class Config:
    """How α is sought."""

    rounds: int = 16
    """Members that are drawn greedily, with replacement."""
    folds: int = 5
    """Parts of the rows; α for each is chosen on the others to compare the ways."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if self.rounds < 1 or self.folds < 2:
            raise ValueError(f"rounds is {self.rounds} and folds {self.folds}; expected at least 1 and 2")


def examples() -> tuple[Config, ...]:
    """The default, and a coarse one."""
    return Config(), Config(rounds=4, folds=2)


def fuse(given: Given, config: Config = Config()) -> Mix:
    """The better α of the ways; ``tried`` has the loss of each, on rows that it was not chosen on."""
    scores_MNK = np.stack([held_out(given, member.features_ND) for member in given.members])
    loss = _squared if given.task == "regression" else _log_loss
    ways: dict[str, Choice] = {
        "equal": lambda s, t: shares([1.0] * len(s)),
        "greedy": lambda s, t: greedy(s, t, loss, config.rounds),
        "convex": _convex_squared if given.task == "regression" else _convex_log_loss,
    }
    mixed = {name: _crossed(given, scores_MNK, way, config.folds) for name, way in ways.items()}
    judged_N = given.judged_N
    losses = {name: loss(mixed_NK[judged_N], given.targets_NK[judged_N]) for name, mixed_NK in mixed.items()}
    best = min(losses, key=lambda name: losses[name])
    chosen = {name: way(scores_MNK[:, judged_N], given.targets_NK[judged_N]) for name, way in ways.items()}
    return Mix(
        alphas=chosen[best],
        widths=tuple(member.features_ND.shape[1] for member in given.members),
        blocks=True,
        outcomes_N=outcomes(given, mixed[best]),
        tried={f"loss of {name}": found for name, found in losses.items()},
        chosen={
            f"{name} share of {member.name}": alpha
            for name, alphas in chosen.items()
            for member, alpha in zip(given.members, alphas, strict=True)
        },
    )


def mix(scores_MNK: Doubles, alphas: tuple[float, ...]) -> Doubles:
    """(N, K): the mean by α."""
    mixed_NK: Doubles = np.tensordot(np.array(alphas), scores_MNK, axes=1)
    return mixed_NK


def greedy(
    scores_MNK: Doubles, targets_NK: Doubles, loss: Callable[[Doubles, Doubles], float], rounds: int
) -> tuple[float, ...]:
    """Members drawn one by one, each the one that makes the mean of all drawn best; the best mean on the way."""
    counts_M = np.zeros(len(scores_MNK))
    best, kept_M = np.inf, counts_M
    for _ in range(rounds):
        tried = [_with(counts_M, place) for place in range(len(counts_M))]
        losses = [loss(mix(scores_MNK, shares(counts)), targets_NK) for counts in tried]
        counts_M = tried[int(np.argmin(losses))]
        if min(losses) < best:
            best, kept_M = min(losses), counts_M
    return shares(kept_M)


def _crossed(given: Given, scores_MNK: Doubles, way: Choice, count: int) -> Doubles:
    """Mixed scores of the judged rows, each by an α that was chosen without it."""
    mixed_NK = np.zeros_like(scores_MNK[0])
    known_N: Flags = np.zeros(len(mixed_NK), np.bool_)
    for choose_N, judge_N in folds(given, count):
        alphas = way(scores_MNK[:, choose_N], given.targets_NK[choose_N])
        mixed_NK[judge_N] = mix(scores_MNK[:, judge_N], alphas)
        known_N |= judge_N
    crossed_NK: Doubles = np.where(known_N[:, None], mixed_NK, scores_MNK.mean(axis=0))
    return crossed_NK


def _with(counts_M: Doubles, place: int) -> Doubles:
    more_M = counts_M.copy()
    more_M[place] += 1
    return more_M


def _log_loss(scores_NK: Doubles, targets_NK: Doubles) -> float:
    """At the best temperature."""
    cooled = temperature(scores_NK, targets_NK.argmax(axis=1), np.ones(len(scores_NK)))
    return _negative(scores_NK / cooled, targets_NK)


def _negative(logits_NK: Doubles, targets_NK: Doubles) -> float:
    """Mean negative log likelihood; targets smoothed, so that a handful of rows makes nothing certain."""
    smoothed_NK = _smoothed(targets_NK)
    return float((logsumexp(logits_NK, axis=1) - (smoothed_NK * logits_NK).sum(axis=1)).mean())


def _smoothed(targets_NK: Doubles) -> Doubles:
    slack, columns = 1.0 / (len(targets_NK) + 2.0), targets_NK.shape[1]
    smoothed_NK: Doubles = targets_NK * (1.0 - slack) + (1.0 - targets_NK) * slack / max(1, columns - 1)
    return smoothed_NK


def _squared(scores_NK: Doubles, targets_NK: Doubles) -> float:
    return float(np.square(scores_NK - targets_NK).mean())


def _convex_log_loss(scores_MNK: Doubles, targets_NK: Doubles) -> tuple[float, ...]:
    smoothed_NK = _smoothed(targets_NK)

    def value(beta_M: Doubles) -> tuple[float, Doubles]:
        logits_NK = np.tensordot(beta_M, scores_MNK, axes=1)
        whole_N = logsumexp(logits_NK, axis=1)
        gap_NK = np.exp(logits_NK - whole_N[:, None]) - smoothed_NK
        lost = float((whole_N - (smoothed_NK * logits_NK).sum(axis=1)).mean())
        return lost, np.einsum("mnk,nk->m", scores_MNK, gap_NK) / len(targets_NK)

    count = len(scores_MNK)
    found = minimize(value, np.ones(count) / count, jac=True, method="L-BFGS-B", bounds=[(0.0, 1.0 / COLDEST)] * count)
    return shares(found.x)


def _convex_squared(scores_MNK: Doubles, targets_NK: Doubles) -> tuple[float, ...]:
    unit = max(float(np.sqrt(np.square(targets_NK).mean())), np.finfo(np.float64).tiny)
    equations = np.vstack([scores_MNK.reshape(len(scores_MNK), -1).T / unit, np.full(len(scores_MNK), _FIRM)])
    alphas_M, _ = nnls(equations, np.append(targets_NK.ravel() / unit, _FIRM))
    return shares(alphas_M)
