"""Laws of the gate: what is no better does not pass, what is worse is kept out, and looking often costs nothing."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import gate
from core.errors import InvalidInput
from core.gate import Cost, Decision, Policy
from core.paired import Outcomes, alone, by_class, joined

CYCLES = 1000
COST = Cost(calibration_error=0.05, milliseconds=5.0, size=10_000_000, parity=True)
counts = st.integers(0, 400)


def outcomes(chance: np.random.Generator, rows: int, champion: float, candidate: float, churn: float) -> Outcomes:
    """Both answer alike but for a share ``churn`` of the rows, where each is right by itself."""
    shared_N = chance.random(rows)
    apart_N = chance.random(rows) < churn
    alone_N = np.where(apart_N, chance.random(rows), shared_N)
    truth = [str(k) for k in chance.integers(0, 4, rows)]
    return Outcomes(truth=truth, champion=shared_N < champion, candidate=alone_N < candidate)


def decided(chance: np.random.Generator, candidate: float, policy: Policy, uses: int = 0) -> Decision:
    held = {name: outcomes(chance, 600, 0.85, candidate, 0.1) for name in policy.holdouts}
    return gate.decide({name: replace(o, uses=uses) for name, o in held.items()}, COST, COST, policy, seed=uses)


def test_of_a_thousand_candidates_that_are_no_better_no_more_than_alpha_pass() -> None:
    chance, policy = np.random.default_rng(1), Policy()
    passed = sum(decided(chance, 0.85, policy).accepted for _ in range(CYCLES))
    assert passed <= policy.alpha * CYCLES


def test_a_hold_out_used_over_and_over_lets_no_more_than_alpha_pass_in_all_its_life() -> None:
    policy, lives, passed = Policy(), 100, 0
    for life in range(lives):
        chance = np.random.default_rng(life)
        passed += any(decided(chance, 0.85, policy, uses).accepted for uses in range(20))
    assert passed <= 0.15 * lives  # 0.05 expected at most; 0.15 is beyond four standard deviations


def test_a_loss_of_three_points_is_refused() -> None:
    chance = np.random.default_rng(2)
    refused = sum(not decided(chance, 0.82, Policy()).accepted for _ in range(CYCLES))
    assert refused >= 0.95 * CYCLES


def test_a_gain_of_six_points_passes_with_rows_enough() -> None:
    chance, policy = np.random.default_rng(3), Policy()
    passed = 0
    for seed in range(50):
        held = {name: outcomes(chance, 3000, 0.85, 0.91, 0.1) for name in policy.holdouts}
        passed += gate.decide(held, COST, COST, policy, seed).accepted
    assert passed >= 45


def test_where_one_that_answers_everything_right_is_refused_every_other_is() -> None:
    chance, policy, refused = np.random.default_rng(5), Policy(margin=0.1), 0
    for seed in range(100):
        held = {name: outcomes(chance, 40, chance.uniform(0.6, 1.0), 0.9, 0.3) for name in policy.holdouts}
        best = {name: replace(each, candidate=np.ones(40, np.bool_)) for name, each in held.items()}
        if not gate.better(best, policy).holds:
            refused += 1
            assert not gate.decide(held, COST, COST, policy, seed).accepted
    assert 10 < refused < 90


@pytest.mark.parametrize(("anchor", "fresh"), [((8, 2), (8, 2)), ((0, 0), (9, 1)), ((40, 40), (9, 1))])
def test_a_gain_shows_on_fresh_labels_alone_or_on_all_that_judge(
    anchor: tuple[int, int], fresh: tuple[int, int]
) -> None:
    assert gate.better({"anchor": apart(*anchor), "fresh": apart(*fresh)}, Policy()).holds


def test_a_gain_on_old_examples_alone_is_none() -> None:
    assert not gate.better({"anchor": apart(9, 1), "fresh": apart(8, 8)}, Policy()).holds
    alone = {"anchor": apart(8, 1)}  # where nothing else may judge, it is the one try and has the whole level
    assert gate.better(alone, Policy(holdouts=("anchor",))).holds


@given(st.tuples(*[st.integers(0, 60)] * 4), st.integers(0, 5), st.integers(0, 5))
def test_a_group_spends_as_the_most_used_of_it(alone: tuple[int, int, int, int], old: int, new: int) -> None:
    held = {"anchor": apart(*alone[:2], uses=old), "fresh": apart(*alone[2:], uses=new)}
    told = gate.better(held, Policy())
    by_fresh = gate.mcnemar(*alone[2:]) <= gate.spent(0.05, new) / 2
    by_all = gate.mcnemar(alone[0] + alone[2], alone[1] + alone[3]) <= gate.spent(0.05, max(old, new)) / 2
    assert told.holds == (by_fresh or by_all)


def apart(wins: int, losses: int, uses: int = 0) -> Outcomes:
    """As many examples are answered right by the candidate alone, and by the champion alone; ten by both."""
    candidate_N = np.arange(wins + losses + 10) < wins
    champion_N = ~candidate_N
    champion_N[-10:] = candidate_N[-10:] = True
    return Outcomes(truth=["cat"] * len(champion_N), champion=champion_N, candidate=candidate_N, uses=uses)


def test_the_anytime_test_holds_its_level_when_looked_at_after_every_label() -> None:
    chance, alpha, crossed, streams = np.random.default_rng(4), 0.05, 0, 2000
    for wins_N in np.cumsum(chance.random((streams, 300)) < 0.5, axis=1):
        seen = range(1, 301)
        crossed += any(gate.evidence(int(w), n - int(w)) >= 1 / alpha for n, w in zip(seen, wins_N, strict=True))
    assert crossed <= (alpha + 4 * math.sqrt(alpha * (1 - alpha) / streams)) * streams


def test_a_shadow_that_is_no_better_passes_no_more_often_than_alpha_with_what_the_gate_saw_of_it() -> None:
    chance, policy, alpha, cycles = np.random.default_rng(8), Policy(margin=0.02), 0.05, 1000
    shadows = passed = 0
    for _ in range(cycles):
        held = {name: outcomes(chance, 200, 0.85, 0.85, 0.2) for name in policy.holdouts}
        if gate.decide(held, COST, COST, policy).accepted or not gate.undecided(held, COST, COST, policy):
            continue
        shadows += 1
        brought = alone(held["fresh"]) if gate.likely_harmless(held, policy) else (0, 0)
        won_N = np.cumsum(chance.random(60) < 0.5)
        passed += any(
            gate.evidence(brought[0] + int(won), brought[1] + count - int(won)) >= 1 / alpha
            for count, won in enumerate(won_N, 1)
        )
    assert shadows > 0.2 * cycles
    assert passed <= alpha * cycles


@given(st.integers(0, 10_000), st.floats(0.75, 0.95), st.integers(20, 300))
def test_what_is_shown_is_likely_and_what_is_likely_was_observed(seed: int, candidate: float, rows: int) -> None:
    chance, policy = np.random.default_rng(seed), Policy(margin=0.03, superior=())
    held = {name: outcomes(chance, rows, 0.85, candidate, 0.2) for name in policy.holdouts}
    shown, likely = gate.decide(held, COST, COST, policy, seed).accepted, gate.likely_harmless(held, policy, seed)
    observed = gate.decide(held, COST, COST, replace(policy, alpha=gate.EVEN), seed).accepted
    assert shown <= likely <= observed
    assert not gate.likely_harmless({"fresh": held["fresh"]}, policy, seed), "what was not measured speaks for nobody"


@given(st.integers(0, 10_000), st.integers(20, 200), st.integers(1, 200))
def test_counts_of_the_classes_judge_as_the_examples_that_they_stand_for(seed: int, few: int, many: int) -> None:
    chance, policy = np.random.default_rng(seed), Policy()
    some, more = outcomes(chance, few, 0.8, 0.85, 0.3), outcomes(chance, many, 0.8, 0.85, 0.3)
    both = Outcomes(
        truth=[*some.truth, *more.truth],
        champion=np.concatenate([some.champion, more.champion]),
        candidate=np.concatenate([some.candidate, more.candidate]),
    )
    told = joined(some, by_class(more))
    assert by_class(told) == by_class(both) and alone(told) == alone(both)
    asked, again = (gate.not_worse("live", each, policy, np.random.default_rng(seed)) for each in (told, both))
    assert list(asked) == list(again)
    assert by_class(joined(some, {})) == by_class(some)


@given(counts, counts)
def test_the_evidence_is_a_fair_bet_at_every_step(wins: int, losses: int) -> None:
    """Under an even chance the next value is, on average, no more than the present one; wins raise it."""
    now = gate.evidence(wins, losses)
    won, lost = gate.evidence(wins + 1, losses), gate.evidence(wins, losses + 1)
    assert (won + lost) / 2 <= now * (1 + 1e-9)
    assert won >= now >= lost


@given(counts, counts)
def test_mcnemar_is_the_binomial_tail(wins: int, losses: int) -> None:
    n = wins + losses
    tail = sum(math.comb(n, k) for k in range(wins, n + 1)) / 2**n if n <= 60 else None
    p = gate.mcnemar(wins, losses)
    assert 0 < p <= 1
    assert tail is None or p == pytest.approx(tail)


@pytest.mark.parametrize("missing", ["calibration_error", "milliseconds", "size", "parity"])
def test_what_was_not_measured_refuses(missing: str) -> None:
    held = good()
    assert gate.decide(held, COST, COST).accepted
    lacking: dict[str, Any] = {missing: None}
    told = gate.decide(held, COST, replace(COST, **lacking))
    assert not told.accepted
    assert len(told.reasons) == 1 and ("not measured" in told.reasons[0] or "not shown" in told.reasons[0])


@pytest.mark.parametrize("absent", ["anchor", "fresh"])
def test_a_hold_out_that_is_not_there_refuses(absent: str) -> None:
    held = good()
    del held[absent]
    told = gate.decide(held, COST, COST)
    assert not told.accepted
    assert told.reasons == (f"{absent}: 0 labelled examples, of 20 at least",)


@pytest.mark.parametrize(
    "worse",
    [
        Cost(calibration_error=0.08, milliseconds=5.0, size=10_000_000, parity=True),
        Cost(calibration_error=0.05, milliseconds=7.0, size=10_000_000, parity=True),
        Cost(calibration_error=0.05, milliseconds=5.0, size=16_000_000, parity=True),
        Cost(calibration_error=0.05, milliseconds=5.0, size=10_000_000, parity=False),
    ],
)
def test_what_costs_too_much_is_refused_by_that_reason_alone(worse: Cost) -> None:
    assert len(gate.decide(good(), COST, worse).reasons) == 1


@given(st.floats(0.0, 0.05), st.floats(-0.05, 0.05))
def test_calibration_may_rise_by_what_is_allowed_and_by_what_chance_explains(chance: float, beyond: float) -> None:
    assert COST.calibration_error is not None
    allowed = COST.calibration_error + Policy.calibration + gate.Z * chance
    worse = replace(COST, calibration_error=allowed + beyond, chance=chance)
    (check,) = [check for check in gate.decide(good(), COST, worse).checks if check.name == "calibration_error"]
    assert check.holds == (allowed + beyond <= check.bound) and check.bound == pytest.approx(allowed)
    assert not gate.decide(good(), COST, replace(worse, calibration_error=None)).accepted
    assert gate.undecided({}, COST, worse, Policy()) is False


def test_a_gain_overall_does_not_buy_the_loss_of_a_class_or_of_a_slice() -> None:
    truth = ["common"] * 3000 + ["seldom"] * 100
    champion_N = np.arange(3100) % 10 > 1
    candidate_N = champion_N | (np.arange(3100) % 10 == 1)
    candidate_N[3000:] &= np.arange(100) % 3 > 0
    for slices in ({}, {"night": np.arange(3100) >= 3000}):
        alike = Outcomes(truth=truth, champion=champion_N, candidate=candidate_N, slices=slices)
        told = gate.decide({"anchor": alike, "fresh": alike}, COST, COST, Policy(margin=0.2))
        named = {check.name for check in told.checks if not check.holds}
        assert {"anchor.seldom.not_worse", "fresh.seldom.not_worse"} <= named
        assert ("anchor.slice night.not_worse" in named) == bool(slices)


@given(st.integers(0, 10_000), st.floats(0.7, 0.95))
def test_who_is_undecided_would_be_accepted_if_many_more_examples_said_the_same(seed: int, candidate: float) -> None:
    chance, policy, wider = np.random.default_rng(seed), Policy(margin=0.02), Policy(margin=0.03, part_margin=0.12)
    held = {name: outcomes(chance, 160, 0.85, candidate, 0.2) for name in policy.holdouts}
    told = gate.undecided(held, COST, COST, policy, seed)
    many = {
        name: Outcomes(
            truth=[*each.truth] * 200, champion=np.tile(each.champion, 200), candidate=np.tile(each.candidate, 200)
        )
        for name, each in held.items()
    }
    assert not told or gate.decide(many, COST, COST, wider, seed).accepted
    assert not gate.undecided(held, COST, replace(COST, parity=None), policy, seed), "what was not measured refuses"
    assert not gate.undecided({"fresh": held["fresh"]}, COST, COST, policy, seed)
    assert not gate.undecided({}, COST, COST, policy, seed)


def test_many_gains_that_cannot_be_shown_are_undecided_and_few_losses_are() -> None:
    chance, policy = np.random.default_rng(6), Policy(margin=0.02)
    shares = []
    for candidate in (0.9, 0.82):
        held = [{n: outcomes(chance, 150, 0.85, candidate, 0.2) for n in policy.holdouts} for _ in range(100)]
        assert not all(gate.decide(each, COST, COST, policy).accepted for each in held)
        shares.append(sum(gate.undecided(each, COST, COST, policy) for each in held))
    assert shares[0] > 50 and shares[1] < 15


def test_rare_classes_are_judged_together() -> None:
    truth = ["common"] * 1000 + [f"rare {k}" for k in range(30)]
    champion_N = np.ones(1030, np.bool_)
    candidate_N = champion_N.copy()
    candidate_N[1000:1020] = False
    alike = Outcomes(truth=truth, champion=champion_N, candidate=candidate_N)
    told = gate.decide({"anchor": alike, "fresh": alike}, COST, COST, Policy(margin=1.0))
    assert any(reason.startswith("anchor.rare classes") for reason in told.reasons)


def test_a_decision_is_a_record_with_all_its_numbers() -> None:
    told = gate.decide(good(), COST, COST)
    record = json.loads(json.dumps(told.to_json()))
    assert record["accepted"] is True and record["reasons"] == []
    assert {"name", "value", "bound", "holds", "words"} == set(record["checks"][0])


def test_answers_that_are_not_sure_enough_may_be_so_many_and_have_to_be_counted() -> None:
    policy = Policy(confidence=0.6, abstention=0.1)
    assert gate.decide(good(), COST, replace(COST, abstained=0.1), policy).accepted
    (reason,) = gate.decide(good(), COST, replace(COST, abstained=0.11), policy).reasons
    assert reason == "11.0 % of the answers are less sure than 60 %, of 10 % at most"
    assert gate.decide(good(), COST, COST, policy).reasons == ("abstained was not measured",)
    assert gate.decide(good(), COST, COST).accepted, "nobody asks"
    with pytest.raises(InvalidInput, match="abstention 2"):
        Policy(abstention=2)


def test_a_champion_that_has_to_go_need_not_be_surpassed_but_nothing_worse_takes_its_place() -> None:
    same = {name: replace(each, candidate=each.champion) for name, each in good().items()}
    assert not gate.decide(same, COST, COST, Policy(margin=0.02)).accepted
    assert gate.decide(same, COST, COST, Policy(margin=0.02, superior=())).accepted
    worse = {name: replace(each, candidate=each.champion & (np.arange(1200) % 9 > 0)) for name, each in good().items()}
    assert not gate.decide(worse, COST, COST, Policy(margin=0.02, superior=())).accepted


@given(st.dictionaries(st.sampled_from(["anchor", "fresh"]), st.integers(0, 40)))
def test_what_is_lacking_beforehand_is_what_refuses_afterwards(rows: dict[str, int]) -> None:
    policy = Policy()
    held = {name: outcomes(np.random.default_rng(0), count, 0.5, 0.5, 0.1) for name, count in rows.items()}
    told = gate.decide(held, COST, COST, policy)
    assert gate.lacking(rows, policy) == tuple(check for check in told.checks if check.name.endswith(".rows"))


@given(st.floats(0.001, 0.5), st.integers(1, 200))
def test_what_a_hold_out_spends_in_all_its_uses_never_exceeds_the_level(alpha: float, uses: int) -> None:
    each = [gate.spent(alpha, number) for number in range(uses)]
    assert sum(each) <= alpha * (1 + 1e-12)
    assert each == sorted(each, reverse=True) and min(each) > 0


def test_the_same_outcomes_and_seed_give_the_same_decision() -> None:
    assert gate.decide(good(), COST, COST, seed=5) == gate.decide(good(), COST, COST, seed=5)


def test_unpaired_outcomes_and_senseless_policies_are_refused() -> None:
    flags = np.ones(3, np.bool_)
    with pytest.raises(InvalidInput, match=r"have \[2, 3\] rows"):
        Outcomes(truth=["a", "b"], champion=flags, candidate=flags)
    with pytest.raises(InvalidInput, match="alpha is 0"):
        Policy(alpha=0)
    with pytest.raises(InvalidInput, match="negative"):
        Policy(margin=-0.1)


def good() -> dict[str, Outcomes]:
    """A candidate that is better on both hold-outs beyond doubt."""
    truth = [str(n % 4) for n in range(1200)]
    champion_N = np.arange(1200) % 7 > 1
    candidate_N = np.arange(1200) % 7 > 0
    return {name: Outcomes(truth=truth, champion=champion_N, candidate=candidate_N) for name in ("anchor", "fresh")}
