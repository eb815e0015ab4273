"""Hygiene of values is a function of the labels that stand, too: any order, any steps, and withdrawn is never seen.

Legend: D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.follow import Followed
from core.hygiene import LabelPolicy
from core.label_settings import HygieneSettings
from core.statistics import from_grid
from core.types import GridRows, LabelEvent, Scene
from tests import screened
from tests.screened import ALL_AT_ONCE, WEIGHTS, WIDTH, outcome, shuffled, weight_of, without_the_withdrawn

TASK = Scene(name="s", task="regression", modality="image", hash_key=b"key", offset=50.0, scale=64.0)
POLICIES = {
    "second opinion": HygieneSettings(second_opinion=True),
    "quarantine": HygieneSettings(quarantine=True),
    "caps": HygieneSettings(annotator_share=0.4, leverage=0.3),
    "all": HygieneSettings(second_opinion=True, confident=0.8, quarantine=True, annotator_share=0.5, leverage=0.2),
}


def features(example: str) -> GridRows:
    return np.random.default_rng(int(example[1:])).integers(-9000, 9000, WIDTH).astype(np.int16)


def value(example: str) -> float:
    """What a careful annotator says, give or take one."""
    noise = float(np.random.default_rng(10**6 + int(example[1:])).normal())
    return 50.0 + 40.0 * float(from_grid(features(example))[:4].sum()) + noise


def said(number: int, example: str, who: str, off: float = 0.0) -> LabelEvent:
    return LabelEvent(
        sequence=number,
        event_id=f"l{number}",
        kind="label",
        scene="s",
        example=example,
        value=value(example) + off,
        annotator=who,
    )


def history(chance: Random, count: int) -> list[LabelEvent]:
    def told(number: int, who: str, wrong: bool) -> LabelEvent:
        off = chance.choice([-25.0, -5.0, 2.0, 20.0]) if wrong else 0.0
        return said(number, f"e{chance.randrange(count * 2 // 3)}", who, off)

    return screened.history(chance, count, told, lambda deed: replace(deed, value=chance.uniform(20.0, 80.0)))


def followed(events: Sequence[LabelEvent], policy: LabelPolicy, step: int = ALL_AT_ONCE) -> Followed:
    return screened.followed(TASK, features, events, policy, step)


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=6)
@given(st.randoms(use_true_random=False), st.integers(1, 40))
def test_following_equals_from_scratch_and_withdrawn_or_erased_equals_never_seen(
    name: str, chance: Random, step: int
) -> None:
    policy, events = LabelPolicy(WEIGHTS, POLICIES[name]), history(chance, 60)
    told = outcome(followed(events, policy, step))
    assert told == outcome(followed(events, policy))
    assert told == outcome(followed(without_the_withdrawn(events), policy, 7))


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=4)
@given(st.randoms(use_true_random=False))
def test_only_the_order_within_an_example_matters(name: str, chance: Random) -> None:
    policy, events = LabelPolicy(WEIGHTS, POLICIES[name]), history(chance, 60)
    kept = [event for event in events if event.kind != "erase"]
    assert outcome(followed(shuffled(chance, events), policy, 9)) == outcome(followed(kept, policy, 9))


def clean(count: int = 60) -> list[LabelEvent]:
    """Right values of two annotators in turn."""
    return [said(number, f"e{number}", ("ann", "bob")[number % 2]) for number in range(1, count + 1)]


@pytest.mark.parametrize("name", ["second opinion", "quarantine"])
def test_a_wrong_value_waits_until_it_is_confirmed_released_corrected_or_withdrawn(name: str) -> None:
    policy, wrong = LabelPolicy(hygiene=POLICIES[name]), said(100, "e99", "ann", 20.0)
    made = followed([*clean(), wrong], policy)
    assert set(made.held) == {"e99"} and "e99" not in made.state.rows
    why = made.held["e99"]
    assert why.reason == name.replace(" ", "_")
    assert f"{value('e99') + 20:.4g} is" in why.words and "usual misses away" in why.words
    deed = LabelEvent(sequence=101, event_id="d", kind="release", scene="s", target="l100")
    deeds = {
        "confirmed": said(101, "e99", "cy", 20.2),
        "released": deed,
        "corrected": replace(deed, kind="correct", value=value("e99")),
        "withdrawn": replace(deed, kind="withdraw"),
    }
    for what, each in deeds.items():
        after = followed([*clean(), wrong, each], policy)
        assert not after.held, what
        assert ("e99" in after.state.rows) == (what != "withdrawn")


def test_forty_values_of_one_annotator_do_not_vouch_for_each_other() -> None:
    events = [*clean(90), *(said(200 + n, f"e{200 + n}", "mallory", 20.0) for n in range(40))]
    held = followed(events, LabelPolicy(hygiene=POLICIES["quarantine"])).held
    theirs = {example for example in held if int(example[1:]) >= 200}
    assert len(theirs) >= 30 and len(held) - len(theirs) <= 3


def test_annotators_whose_values_are_further_apart_than_the_usual_miss_wait_for_a_third() -> None:
    policy = LabelPolicy(hygiene=HygieneSettings(second_opinion=True, confident=1.0))
    one, near, far = said(100, "e99", "ann"), said(101, "e99", "bob", 0.2), said(102, "e99", "bob", 9.0)
    assert "e99" in followed([*clean(), one, near], policy).state.rows
    assert followed([*clean(), one, far], policy).held["e99"].words.startswith("annotators disagree")
    third = followed([*clean(), one, far, said(103, "e99", "cy", 0.1)], policy)
    assert "e99" in third.state.rows and not third.held
    looked_at = LabelEvent(sequence=103, event_id="r", kind="release", scene="s", target="l100")
    assert "e99" in followed([*clean(), one, far, looked_at], policy).state.rows
    other = replace(looked_at, target="l102")
    assert "e99" in followed([*clean(), one, far, other], policy).held, "not what stands was looked at"


def test_before_a_miss_can_be_called_usual_and_where_the_model_knows_nothing_no_value_waits() -> None:
    policy = LabelPolicy(hygiene=POLICIES["all"])
    assert not followed([*clean(8), said(100, "e99", "ann", 30.0)], policy).held
    chance = np.random.default_rng(0)
    noise = [replace(each, value=float(chance.normal(50, 10))) for each in clean(80)]
    made = followed(noise, LabelPolicy(hygiene=POLICIES["second opinion"]))
    assert not made.held, "an answer that is hardly more than the mean contradicts nobody"


def test_no_annotator_has_more_than_the_share_and_no_row_more_than_the_leverage() -> None:
    events = [replace(event, annotator="ann" if event.sequence % 10 else "bob") for event in clean()]
    made = followed(events, LabelPolicy(hygiene=HygieneSettings(annotator_share=0.5)))
    weights = {example: row.weight for example, row in made.state.rows.items()}
    ann = sum(weight for example, weight in weights.items() if int(example[1:]) % 10)
    assert ann <= sum(weights.values()) / 2
    capped = Followed(TASK, WIDTH, weight_of, policy=LabelPolicy(hygiene=HygieneSettings(leverage=0.5)))
    for event in (*clean(), said(100, "e300", "ann")):
        capped.take(event)
    rows = {example: features(example) for example in capped.wanted()}
    rows["e300"] = np.full(WIDTH, 32767, np.int16)
    capped.refresh(rows)
    weights = {example: row.weight for example, row in capped.state.rows.items()}
    assert weights.pop("e300") < 64 and set(weights.values()) == {64}
