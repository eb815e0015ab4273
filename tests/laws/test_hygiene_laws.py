"""Hygiene is a function of the labels that stand: whatever the order in which they came, and withdrawn is never seen.

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
from core.guard import Anchors, Change
from core.hygiene import LabelPolicy
from core.label_settings import GuardSettings, HygieneSettings
from core.standing import Standing, digest_of
from core.types import GridRows, LabelEvent, Scene
from core.weights import EVEN, Weights
from tests import screened
from tests.screened import ALL_AT_ONCE, WEIGHTS, WIDTH, outcome, shuffled, weight_of, without_the_withdrawn

TASK = Scene(name="s", task="classification", modality="image", labels=("a", "b", "c"), hash_key=b"key")
POLICIES = {
    "second opinion": HygieneSettings(second_opinion=True, confident=0.6),
    "quarantine": HygieneSettings(quarantine=True),
    "caps": HygieneSettings(annotator_share=0.4, leverage=0.3),
    "all": HygieneSettings(second_opinion=True, confident=0.6, quarantine=True, annotator_share=0.5, leverage=0.2),
}


def features(example: str) -> GridRows:
    number = int(example[1:])
    row = np.random.default_rng(number).integers(-4000, 4000, WIDTH)
    row[number % 3] += 16000
    return row.astype(np.int16)


def said(number: int, example: str, label: str, who: str) -> LabelEvent:
    return LabelEvent(
        sequence=number, event_id=f"l{number}", kind="label", scene="s", example=example, label=label, annotator=who
    )


def history(chance: Random, count: int) -> list[LabelEvent]:
    def told(number: int, who: str, wrong: bool) -> LabelEvent:
        example = f"e{chance.randrange(count)}"
        right = TASK.labels[int(example[1:]) % 3]
        return said(number, example, chance.choice(TASK.labels) if wrong else right, who)

    return screened.history(chance, count, told, lambda deed: replace(deed, label=chance.choice(TASK.labels)))


def followed(events: Sequence[LabelEvent], policy: LabelPolicy, step: int = ALL_AT_ONCE) -> Followed:
    return screened.followed(TASK, features, events, policy, step)


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=6)
@given(st.randoms(use_true_random=False), st.integers(1, 40))
def test_following_equals_from_scratch_and_withdrawn_or_erased_equals_never_seen(
    name: str, chance: Random, step: int
) -> None:
    policy = LabelPolicy(WEIGHTS, POLICIES[name])
    events = history(chance, 60)
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
    """Right labels of two annotators in turn."""
    return [said(n, f"e{n}", TASK.labels[n % 3], ("ann", "bob")[n % 2]) for n in range(1, count + 1)]


@pytest.mark.parametrize("name", ["second opinion", "quarantine"])
def test_a_wrong_label_waits_until_it_is_confirmed_released_or_withdrawn(name: str) -> None:
    policy, events = LabelPolicy(hygiene=POLICIES[name]), clean()
    wrong = replace(events[0], sequence=100, event_id="wrong", example="e99", label="b", annotator="ann")  # an a
    made = followed([*events, wrong], policy)
    assert set(made.held) == {"e99"} and "e99" not in made.state.rows
    assert "'a'" in made.held["e99"].words
    second = replace(wrong, sequence=101, event_id="second", annotator="cy")
    deeds = {
        "confirmed": second,
        "released": LabelEvent(sequence=101, event_id="r", kind="release", scene="s", target="wrong"),
        "withdrawn": LabelEvent(sequence=101, event_id="w", kind="withdraw", scene="s", target="wrong"),
    }
    for what, deed in deeds.items():
        after = followed([*events, wrong, deed], policy)
        assert not after.held, what
        assert ("e99" in after.state.rows) == (what != "withdrawn")
    corrected = LabelEvent(sequence=102, event_id="c", kind="correct", scene="s", target="wrong", label="b")
    assert set(followed([*events, wrong, deeds["released"], corrected], policy).held) == {"e99"}, "it is said anew"


def test_annotators_who_disagree_wait_for_a_third_where_a_second_opinion_is_asked() -> None:
    policy = LabelPolicy(Weights({"ann": 64}), HygieneSettings(second_opinion=True, confident=1.0))
    events = clean()
    one = replace(events[0], sequence=100, event_id="one", example="e99", label="a", annotator="ann")
    other = replace(one, sequence=101, event_id="other", label="b", annotator="bob")
    assert followed([*events, one, other], policy).held["e99"].words.startswith("annotators disagree")
    third = replace(one, sequence=102, event_id="third", annotator="cy")
    assert "e99" in followed([*events, one, other, third], policy).state.rows


def test_no_annotator_has_more_than_the_share_of_a_class_once_there_are_others() -> None:
    policy = LabelPolicy(hygiene=HygieneSettings(annotator_share=0.5))
    events = [replace(event, annotator="ann" if event.sequence % 10 else "bob") for event in clean()]
    made = followed(events, policy)
    for label in TASK.labels:
        mine = {e: r.weight for e, r in made.state.rows.items() if r.column == label}
        ann = sum(weight for e, weight in mine.items() if int(e[1:]) % 10)
        assert ann <= sum(mine.values()) / 2
    alone = followed([replace(event, annotator="ann") for event in events], policy)
    assert {row.weight for row in alone.state.rows.values()} == {64}, "who is alone may have all"


def test_what_an_erasure_leaves_is_weighed_anew() -> None:
    policy = LabelPolicy(hygiene=HygieneSettings(annotator_share=0.5))
    events = [replace(event, annotator="ann" if event.sequence % 10 else "bob") for event in clean()]
    made = followed(events, policy)
    gone = tuple(digest_of(event.event_id) for event in events if event.annotator == "bob")
    made.take(LabelEvent(sequence=100, event_id="x", kind="erase", scene="s", erased=gone))
    made.refresh({example: features(example) for example in made.wanted()})
    assert outcome(made) == outcome(followed([e for e in events if e.annotator == "ann"], policy))


def test_an_example_that_was_erased_and_comes_again_is_none_that_weights_were_tuned_on() -> None:
    first = said(1, "e1", "b", "ann")
    gone = LabelEvent(sequence=2, event_id="x", kind="erase", scene="s", erased=(digest_of(first.event_id),))
    made = Followed(TASK, WIDTH, weight_of, learned={"e1", "e2"})
    learned = []
    for event in (first, said(3, "e2", "c", "ann"), gone, said(4, "e1", "b", "ann")):
        made.take(event)
        made.refresh({example: features(example) for example in made.wanted()})
        learned.append({example: row.learned for example, row in made.state.rows.items()})
    assert learned == [{"e1": True}, {"e1": True, "e2": True}, {"e2": True}, {"e1": False, "e2": True}]


def test_leverage_is_capped_and_other_rows_weigh_as_ever() -> None:
    events = clean()
    far = replace(events[0], sequence=100, event_id="far", example="e300")
    made = Followed(TASK, WIDTH, weight_of, policy=LabelPolicy(hygiene=HygieneSettings(leverage=0.5)))
    for event in (*events, far):
        made.take(event)
    rows = {example: features(example) for example in made.wanted()}
    rows["e300"] = np.full(WIDTH, 32767, np.int16)
    made.refresh(rows)
    weights = {example: row.weight for example, row in made.state.rows.items()}
    assert weights.pop("e300") < 64 and set(weights.values()) == {64}


@given(st.sampled_from([-4, -2, 0, 1, 4]), st.sampled_from([1, 4, 8]))
def test_a_weight_is_a_whole_number_in_proportion(power: int, units: int) -> None:
    sixteenths = int(16 * 2.0**power)
    said = LabelEvent(sequence=1, event_id="e", kind="label", scene="s", example="e1", label="a", annotator="ann")
    standing = Standing(lambda source: units, "", Weights({"ann": sixteenths}))
    standing.apply(said)
    found = standing.outcome("e1")
    assert found is not None and found.weight == max(1, int(units * 2.0**power))
    assert EVEN.of("ann", "feedback", units) == 16 * units


@given(st.integers(0, 500), st.integers(0, 300))
def test_the_guard_never_holds_what_changes_nothing(rows: int, answers: int) -> None:
    still = Change(feedback=Anchors(rows=rows), sample=Anchors(rows=rows), answers=answers, moved=0)
    assert not still.words(GuardSettings(lost=0.001, level=0.5))
