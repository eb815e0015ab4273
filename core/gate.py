"""Candidate against champion on paired outcomes: accept or refuse, with every number and reason.

Promises that a candidate which is accepted was shown not to be worse, overall, in each class and in each slice, on
every hold-out, and to be better on a group of them; that what was not measured refuses; and that a decision is a record
which can be read without the program. Pure functions; knows nothing of models, storage or traffic. The cycle of
retraining asks ``decide``, and of whom it refuses whether it is ``undecided``, and then ``likely_harmless``; the
comparison of a challenger uses ``evidence``.

The order: non-inferiority (lower bound of the paired difference in balanced accuracy, bootstrap stratified by class),
superiority (exact McNemar test, on fresh labels or on all that judge), then what it costs (calibration, latency, size,
parity, abstention). A hold-out that has decided before has spent of its level: its k-th use gets 6 / (pi k)**2 of it,
which sums to the whole (alpha-spending).

McNemar, Psychometrika 12 (1947). Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapter 13. For
``evidence``: Ville (1939); Ramdas et al., "Game-theoretic statistics and safe anytime-valid inference",
arXiv 2210.01948; the mixture over alternatives is Robbins' (1970).

Legend: N examples, K classes, R resamples.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtrc, betaincc, betaln

from core.errors import InvalidInput
from core.paired import Flags, Outcomes, alone, classes_of

RESAMPLES = 2000
EVEN = 0.5  # the level at which a lower bound is what was observed
LIKELY = 0.25  # the level at which it is three to one
Z = 1.6448536269514722  # of a one-sided bound at 5 %
RARE = "rare classes"  # name of the group of those with fewer rows than can be judged alone
SHARP = 5  # of the mixture over chances to win: few challengers that are worth it win more than seven of ten duels
HALF = 0.5  # added to each kind of outcome of a class: twenty rows without a difference are no proof of none

Doubles = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What a candidate must show.

    Attributes:
        margin: loss in balanced accuracy that is none, overall. part_margin: the same of a class or a slice.
        alpha: chance that a candidate no better than the champion is called better.
        least: rows of a hold-out, and of a class or slice to be judged by itself.
        calibration: rise of the calibration error that is allowed, beyond what chance explains of it (one-sided at 5 %:
            by 150 rows every fourth candidate would be refused that is as well calibrated). latency, size: factors that
            are.
        holdouts: names of the hold-outs that must be there.
        superior: groups of them, on one of which, all of its examples together, it must be better; none where the
            champion has to go whatever serves instead. Of a group those count that must be there.
        confidence, abstention: of answers less sure than ``confidence`` this share is allowed; 1 asks nothing.
    """

    margin: float = 0.01
    part_margin: float = 0.10
    alpha: float = 0.05
    least: int = 20
    calibration: float = 0.02
    latency: float = 1.25
    size: float = 1.5
    holdouts: tuple[str, ...] = ("anchor", "fresh")
    superior: tuple[tuple[str, ...], ...] = (("fresh",), ("anchor", "fresh"))
    confidence: float = 0.0
    abstention: float = 1.0

    def __post_init__(self) -> None:
        """Check ranges."""
        if not 0 < self.alpha < 1:
            raise InvalidInput(f"alpha is {self.alpha}", "give a chance between 0 and 1, such as 0.05")
        if min(self.margin, self.part_margin, self.calibration) < 0 or min(self.latency, self.size) <= 0:
            raise InvalidInput("a margin of the gate is negative", "give margins of 0 or more, factors above 0")
        if not 0 <= self.confidence <= 1 or not 0 <= self.abstention <= 1:
            raise InvalidInput(
                f"confidence is {self.confidence} and abstention {self.abstention}", "give shares between 0 and 1"
            )


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What else was measured of a version; None where it was not, which refuses.

    Attributes:
        calibration_error: 0 to 1; of a regression the root mean square error over the deviation of the truth.
        chance: of the candidate: standard error of how much larger its calibration error is than the champion's.
        milliseconds: of one prediction. size: of the model in bytes.
        parity: whether the exported graph was shown to answer as the original.
        abstained: share of answers that are less sure than the policy asks.
    """

    calibration_error: float | None = None
    chance: float = 0.0
    milliseconds: float | None = None
    size: int | None = None
    parity: bool | None = None
    abstained: float | None = None


@dataclass(frozen=True)
class Check:
    """One thing that was asked: its value, the bound, whether it holds, and in words."""

    name: str
    value: float | None
    bound: float
    holds: bool
    words: str


@dataclass(frozen=True)
class Decision:
    """Accepted where every check holds; ``reasons`` are the words of those that do not."""

    accepted: bool
    checks: tuple[Check, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it was refused; empty where it was not."""
        return tuple(check.words for check in self.checks if not check.holds)

    def to_json(self) -> dict[str, object]:
        """The record; a bound that there is none of is null."""
        checks = [asdict(check) for check in self.checks]
        plain = [check | {"bound": None if math.isnan(check["bound"]) else check["bound"]} for check in checks]
        return {"accepted": self.accepted, "reasons": list(self.reasons), "checks": plain}


def decide(
    holdouts: Mapping[str, Outcomes], champion: Cost, candidate: Cost, policy: Policy | None = None, seed: int = 0
) -> Decision:
    """Accept or refuse a candidate.

    Example:
        >>> right = np.arange(400) % 10 > 0
        >>> same = Outcomes(truth=["cat", "dog"] * 200, champion=right, candidate=right)
        >>> cost = Cost(calibration_error=0.05, milliseconds=5.0, size=10**7, parity=True)
        >>> told = decide({"anchor": same, "fresh": same}, cost, cost, Policy(margin=0.05))
        >>> told.accepted, told.reasons
        (False, ('better on no hold-out: the smallest p is 1, of 0.0152 at most',))
    """
    asked = policy or Policy()
    chance = np.random.default_rng(seed)
    checks = [check for name in asked.holdouts for check in not_worse(name, holdouts.get(name), asked, chance)]
    if asked.superior:
        checks.append(better(holdouts, asked))
    checks += _affordable(champion, candidate, asked)
    return Decision(all(check.holds for check in checks), tuple(checks))


def undecided(holdouts: Mapping[str, Outcomes], champion: Cost, candidate: Cost, policy: Policy, seed: int = 0) -> bool:
    """Whether only too few examples speak against a candidate: what was observed is a gain in all, and no loss beyond a
    margin anywhere, and it costs no more than it may. That is no evidence, but a reason to gather some.

    Example:
        >>> right = np.arange(400) % 10 > 0
        >>> gain = Outcomes(truth=["cat", "dog"] * 200, champion=right, candidate=right | (np.arange(400) == 10))
        >>> cost = Cost(calibration_error=0.05, milliseconds=5.0, size=10**7, parity=True)
        >>> asked = Policy(holdouts=("fresh",))
        >>> decide({"fresh": gain}, cost, cost, asked).accepted, undecided({"fresh": gain}, cost, cost, asked)
        (False, True)
    """
    observed = decide(holdouts, champion, candidate, replace(policy, alpha=EVEN, superior=()), seed)
    if not observed.accepted:
        return False
    wins, losses = np.sum([alone(holdouts[name]) for name in policy.holdouts], axis=0)
    return bool(wins > losses)


def likely_harmless(holdouts: Mapping[str, Outcomes], policy: Policy, seed: int = 0) -> bool:
    """Whether it is three to one that no hold-out, class or slice lost more than the margins: then what fresh labels
    say for a candidate need not be shown all over again on live traffic.
    """
    asked, chance = replace(policy, alpha=LIKELY), np.random.default_rng(seed)
    checks = [check for name in asked.holdouts for check in not_worse(name, holdouts.get(name), asked, chance)]
    return all(check.holds for check in checks)


def lacking(rows: Mapping[str, int], policy: Policy) -> tuple[Check, ...]:
    """Hold-outs of the policy that have too few labelled examples: it will refuse, so nothing need be computed."""
    held = [(name, rows.get(name, 0)) for name in policy.holdouts]
    return tuple(_too_few(name, count, policy) for name, count in held if count < policy.least)


def not_worse(name: str, outcomes: Outcomes | None, policy: Policy, chance: np.random.Generator) -> Iterator[Check]:
    """Whether no more than the margins can be lost on one hold-out: overall, in each class and in each slice."""
    rows = 0 if outcomes is None else len(outcomes.truth)
    if outcomes is None or rows < policy.least:
        yield _too_few(name, rows, policy)
        return
    classes = classes_of(outcomes)
    drawn = {part: _resampled(outcomes, of_N, chance) for part, of_N in classes.items()}
    yield _bounded(name, _overall(drawn, policy.alpha), policy.margin)
    for part, of_N in _parts(classes, outcomes.slices, policy.least):
        drawn_R = drawn[part] if part in drawn else _resampled(outcomes, of_N, chance)
        yield _bounded(f"{name}.{part}", float(np.quantile(drawn_R, policy.alpha)), policy.part_margin)


def better(holdouts: Mapping[str, Outcomes], policy: Policy) -> Check:
    """Superiority on one group of hold-outs. Several tries share the level; a group was used as often as the most used
    of it.

    Where it does not hold of a candidate that is always right, it holds of none.
    """
    asked = dict.fromkeys(tuple(name for name in group if name in policy.holdouts) for group in policy.superior)
    groups = [[holdouts[name] for name in group if name in holdouts] for group in asked if group]
    tries = max(1, len(groups))
    best, bound = 1.0, spent(policy.alpha, 0) / tries
    holds = False
    for group in filter(None, groups):
        wins, losses = np.sum([alone(outcomes) for outcomes in group], axis=0)
        p, allowed = mcnemar(int(wins), int(losses)), spent(policy.alpha, max(each.uses for each in group)) / tries
        holds = holds or p <= allowed
        if p / allowed <= best / bound:
            best, bound = p, allowed
    words = f"better on no hold-out: the smallest p is {best:.3g}, of {bound:.3g} at most"
    return Check("better", best, bound, holds, words)


def lower_bound(outcomes: Outcomes, alpha: float, chance: np.random.Generator) -> float:
    """Lower bound of candidate minus champion in balanced accuracy, one-sided at ``alpha``.

    Paired bootstrap, stratified by class: only how often a class's examples were lost, kept or won matters, so a
    resample is a draw of these three counts.
    """
    return _overall({name: _resampled(outcomes, of_N, chance) for name, of_N in classes_of(outcomes).items()}, alpha)


def mcnemar(wins: int, losses: int) -> float:
    """Exact one-sided p of as many wins among the examples on which exactly one of the two is right.

    >>> round(mcnemar(9, 1), 4), mcnemar(0, 0)
    (0.0107, 1.0)
    """
    return float(bdtrc(wins - 1, wins + losses, 0.5)) if wins else 1.0


def spent(alpha: float, uses: int) -> float:
    """What a hold-out that was used so often before may still spend of ``alpha`` in this decision.

    >>> round(sum(spent(0.05, uses) for uses in range(100_000)), 4)
    0.05
    """
    return alpha * 6 / (math.pi * (uses + 1)) ** 2


def evidence(wins: int, losses: int) -> float:
    """How strongly the outcomes so far speak for the candidate: an e-value, valid however often it is looked at.

    Under the hypothesis that the candidate is no better, the chance that this ever reaches 1 / alpha is at most alpha.
    ``evidence(losses, wins)`` speaks for the champion.

    >>> evidence(0, 0), round(evidence(20, 2)), round(evidence(11, 11), 2)
    (1.0, 287, 0.55)
    """
    won, lost = wins + SHARP, losses + SHARP
    above_half = betaincc(won, lost, 0.5)  # of a beta mixture over chances to win, of which the upper half alone counts
    if above_half == 0.0:
        return 0.0
    told = (wins + losses + 1) * math.log(2) + betaln(won, lost) - betaln(SHARP, SHARP)
    return float(np.exp(told + math.log(above_half)))


def _resampled(outcomes: Outcomes, of_N: Flags, chance: np.random.Generator) -> Doubles:
    """R differences in the share of right answers among some examples."""
    won = np.count_nonzero(of_N & outcomes.candidate & ~outcomes.champion)
    lost = np.count_nonzero(of_N & outcomes.champion & ~outcomes.candidate)
    rows = np.count_nonzero(of_N)
    counts = np.array([won, lost, rows - won - lost]) + HALF
    drawn_R3 = chance.multinomial(rows, counts / counts.sum(), RESAMPLES)
    difference_R: Doubles = (drawn_R3[:, 0] - drawn_R3[:, 1]) / rows
    return difference_R


def _too_few(name: str, rows: int, policy: Policy) -> Check:
    words = f"{name}: {rows} labelled examples, of {policy.least} at least"
    return Check(f"{name}.rows", float(rows), float(policy.least), False, words)


def _bounded(name: str, low: float, margin: float) -> Check:
    words = f"{name}: may be worse by {100 * max(0.0, -low):.1f} points, of less than {100 * margin:.1f}"
    return Check(f"{name}.not_worse", low, -margin, low > -margin, words)


def _overall(drawn: Mapping[str, Doubles], alpha: float) -> float:
    """Lower bound of the mean over classes."""
    return float(np.quantile(np.mean(list(drawn.values()), axis=0), alpha))


def _parts(classes: Mapping[str, Flags], slices: Mapping[str, Flags], least: int) -> Iterator[tuple[str, Flags]]:
    """Classes and slices that can be judged by themselves; classes that cannot, together."""
    rare = [of_N for of_N in classes.values() if of_N.sum() < least]
    yield from ((name, of_N) for name, of_N in classes.items() if of_N.sum() >= least)
    if rare and sum(of_N.sum() for of_N in rare) >= least:
        yield RARE, np.logical_or.reduce(rare)
    yield from ((f"slice {name}", of_N) for name, of_N in slices.items() if of_N.sum() >= least)


def _affordable(champion: Cost, candidate: Cost, policy: Policy) -> list[Check]:
    risen = policy.calibration + Z * candidate.chance
    told = [
        _within("calibration_error", candidate.calibration_error, champion.calibration_error, add=risen),
        _within("milliseconds", candidate.milliseconds, champion.milliseconds, factor=policy.latency),
        _within("size", candidate.size, champion.size, factor=policy.size),
    ]
    shown = None if candidate.parity is None else float(candidate.parity)
    words = "parity with the original was not shown"
    told.append(Check("parity", shown, 1.0, bool(candidate.parity), words))
    return told + [_sure(candidate.abstained, policy)] * (policy.abstention < 1)


def _sure(abstained: float | None, policy: Policy) -> Check:
    """Whether few enough answers are less sure than the policy asks."""
    if abstained is None:
        return Check("abstained", None, policy.abstention, False, "abstained was not measured")
    words = (
        f"{100 * abstained:.1f} % of the answers are less sure than {100 * policy.confidence:g} %, "
        f"of {100 * policy.abstention:g} % at most"
    )
    return Check("abstained", abstained, policy.abstention, abstained <= policy.abstention, words)


def _within(name: str, value: float | None, held: float | None, *, add: float = 0.0, factor: float = 1.0) -> Check:
    """Whether a cost is at most ``factor`` times the champion's, and ``add``."""
    if value is None or held is None:
        return Check(name, value, math.nan, False, f"{name} was not measured")
    bound = held * factor + add
    return Check(name, float(value), bound, value <= bound, f"{name} is {value:.4g}, of {bound:.4g} at most")
