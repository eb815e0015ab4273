"""The gate and the anytime test under simulated outcomes: how often each errs, beside the chance that it allows itself.

Null cycles: candidate and champion are equally good and answer differently on a tenth of the rows. A planted loss: the
candidate is three points worse. The gate sees two hold-outs of 600 rows, once fresh each time, and once the same ones
used twenty times. What that caution costs is told beside it: how many gains it lets pass, where a candidate mends more
of the champion's errors than the three in a hundred right answers that it spoils. The anytime test is looked at after
every label of 300, and stops at the first look that says so; so is the one of shadows, which begins with what the gate
saw of them on fresh labels (hold-outs of 150 rows, of which few show anything).

Promises the product's own functions (``core.gate``) and the exact binomial interval of each share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from scipy.stats import binomtest

from benchmarks.adaptation_parts.measured import Measured
from benchmarks.report import Claim, Row
from core import gate
from core.gate import Cost, Policy
from core.job_settings import RetrainSettings
from core.paired import Outcomes, alone

ROWS, CLASSES, GOOD, CHURN, LOSS = 600, 4, 0.85, 0.1, 0.03
USES = 20  # of one pair of hold-outs
SPOILT = 0.03  # right answers of the champion that a better candidate gets wrong
GAINS, SIZES = (0.03, 0.05, 0.08), (150, 600)  # of candidates that are better; rows of each hold-out
LABELS = 300
REFUSED = 0.95  # of planted losses, at least
COST = Cost(calibration_error=0.05, milliseconds=5.0, size=10_000_000, parity=True)
POLICY = Policy()


def measured(*, quick: bool) -> Measured:
    """The table and the claims."""
    cycles, lives, streams = (200, 20, 500) if quick else (1000, 100, 2000)
    null = _share(cycles, lambda seed: _accepted(seed, GOOD))
    loss = _share(cycles, lambda seed: not _accepted(seed, GOOD - LOSS))
    used = _share(lives, lambda seed: any(_accepted(1000 * seed + uses, GOOD, uses) for uses in range(USES)))
    anytime = _share(streams, _crossed)
    shadows = _share(streams, _shadowed)
    refused = loss[0] / loss[1]
    gains = {
        f"gate: gains of {100 * gain:.0f} points promoted, by {size} rows each": _share(
            cycles, partial(_promoted, gain, size)
        )
        for gain in GAINS
        for size in SIZES
    }
    rows = [
        _row("gate: null cycles promoted", *null),
        _row(f"gate: hold-outs used {USES} times that ever promoted a null", *used),
        _row(f"gate: losses of {100 * LOSS:.0f} points refused", *loss),
        *(_row(words, *share) for words, share in gains.items()),
        _row(f"anytime test: null streams that crossed within {LABELS} labels", *anytime),
        _row(
            f"anytime test: null cycles whose shadow crossed within {LABELS} labels, with what the gate saw", *shadows
        ),
    ]
    claims = [
        _at_most("gate: share of null cycles promoted", null, POLICY.alpha),
        _at_most("gate: share of hold-outs that ever promoted a null", used, POLICY.alpha),
        Claim(claim="gate: share of planted losses refused", value=refused, bound=REFUSED, holds=refused >= REFUSED),
        _at_most("anytime test: share of null streams that ever crossed", anytime, POLICY.alpha),
        _at_most("anytime test: share of null cycles whose shadow ever crossed", shadows, POLICY.alpha),
    ]
    return Measured(rows=rows, claims=claims)


def _share(count: int, said: Callable[[int], bool]) -> tuple[int, int]:
    return sum(said(seed) for seed in range(count)), count


def _accepted(seed: int, candidate: float, uses: int = 0) -> bool:
    chance = np.random.default_rng(seed)
    held = {name: _outcomes(chance, candidate, uses) for name in POLICY.holdouts}
    return gate.decide(held, COST, COST, POLICY, seed=seed).accepted


def _outcomes(chance: np.random.Generator, candidate: float, uses: int, rows: int = ROWS) -> Outcomes:
    """Both answer alike but for a share of the rows, where each is right by itself."""
    shared_N = chance.random(rows)
    alone_N = np.where(chance.random(rows) < CHURN, chance.random(rows), shared_N)
    truth = [str(k) for k in chance.integers(0, CLASSES, rows)]
    lost = (GOOD - candidate) / CHURN  # all of a loss is where they differ
    right_N = np.where(alone_N == shared_N, alone_N < GOOD, alone_N < GOOD - lost)
    return Outcomes(truth=truth, champion=shared_N < GOOD, candidate=right_N, uses=uses)


def _promoted(gain: float, size: int, seed: int) -> bool:
    """Whether the gate takes a candidate that is better."""
    chance = np.random.default_rng(seed)
    held = {}
    for name in POLICY.holdouts:
        right_N, luck_N = chance.random(size) < GOOD, chance.random(size)
        mended_N, kept_N = luck_N < (gain + SPOILT) / (1 - GOOD), luck_N >= SPOILT / GOOD
        truth = [str(k) for k in chance.integers(0, CLASSES, size)]
        held[name] = Outcomes(truth=truth, champion=right_N, candidate=np.where(right_N, kept_N, mended_N))
    return gate.decide(held, COST, COST, POLICY, seed=seed).accepted


def _crossed(seed: int, brought: tuple[int, int] = (0, 0)) -> bool:
    """Whether a stream of duels that either wins by even chance ever speaks for one, with what was seen before."""
    won_N = np.random.default_rng(seed).random(LABELS) < 0.5
    return any(
        gate.evidence(brought[0] + int(wins), brought[1] + count - int(wins)) >= 1 / POLICY.alpha
        for count, wins in enumerate(np.cumsum(won_N), 1)
    )


def _shadowed(seed: int) -> bool:
    """Whether a null candidate becomes a shadow, and evidence ever speaks for it."""
    chance, policy = np.random.default_rng([seed, 1]), replace(POLICY, margin=RetrainSettings.margin)
    held = {name: _outcomes(chance, GOOD, 0, min(SIZES)) for name in policy.holdouts}
    asked = (held, COST, COST, policy, seed)
    if gate.decide(*asked).accepted or not gate.undecided(*asked):
        return False
    return _crossed(seed, alone(held["fresh"]) if gate.likely_harmless(held, policy, seed) else (0, 0))


def _row(what: str, found: int, count: int) -> Row:
    low, high = binomtest(found, count).proportion_ci()
    told = {"%": round(100 * found / count, 2), "from": round(100 * low, 2), "to": round(100 * high, 2)}
    return {"part": "levels", "what": what, "count": count, **told}


def _at_most(words: str, share: tuple[int, int], bound: float) -> Claim:
    """Held as long as the share is not above the bound by more than chance (one-sided, 1 %)."""
    found, count = share
    holds = binomtest(found, count, bound, alternative="greater").pvalue > 0.01
    return Claim(claim=words, value=found / count, bound=bound, holds=bool(holds))
