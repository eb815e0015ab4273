"""Which labels stand, against a plain restatement of the rules, over random histories of everything that can happen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from core.standing import Outcome, Standing, digest_of
from core.types import EventKind, LabelEvent

EXAMPLES = ("e1", "e2", "e3")
ANNOTATORS = ("", "ann", "bob", "cy")
SOURCES = ("training", "feedback")
CONFIDENCES = (0.0, 0.25, 0.5, 1.0)


def weight_of(source: str) -> int:
    return 1 if source == "training" else 4


@dataclass
class Said:
    """What one label event amounts to, after its corrections."""

    example: str | None
    annotator: str
    source: str
    label: str | None
    value: float | None
    confidence: float
    moment: int


def restated(events: Sequence[LabelEvent]) -> dict[str, Outcome]:
    """The rules, said again in the plainest way: which labels are alive, who said what last, who has the most."""
    said: dict[str, Said] = {}
    for event in events:
        if event.kind == "label":
            about = (event.example, event.annotator, event.source, event.label, event.value, event.confidence)
            said[event.event_id] = Said(*about, event.sequence)
        elif event.kind == "join" and event.target in said:
            said[event.target].example = event.example
        elif event.kind == "correct" and event.target in said:
            held = said[event.target]
            held.label, held.value, held.confidence = event.label, event.value, event.confidence
            held.moment = event.sequence
    dead = {event.target for event in events if event.kind == "withdraw"}
    buried = {digest for event in events for digest in event.erased}
    alive = [s for name, s in said.items() if name not in dead and digest_of(name) not in buried]
    outcomes = {e: decided([s for s in alive if s.example == e]) for e in EXAMPLES}
    return {example: outcome for example, outcome in outcomes.items() if outcome is not None}


def decided(said: list[Said]) -> Outcome | None:
    last = {s.annotator: s for s in sorted(said, key=lambda s: s.moment)}
    if not last:
        return None
    ballots = [(s, max(1, round(s.confidence * 16)) * weight_of(s.source)) for s in last.values()]
    heaviest = max(weight_of(s.source) for s in last.values())
    if ballots[0][0].value is not None:
        values = sorted(s.value for s, units in ballots for _ in range(units) if s.value is not None)
        return Outcome(value=values[(len(values) - 1) // 2], weight=heaviest)
    count = Counter([s.label for s, units in ballots for _ in range(units)]).most_common(2)
    if len(count) == 2 and count[0][1] == count[1][1]:
        return Outcome(conflict=True)
    winner = count[0][0]
    return Outcome(label=winner, weight=max(weight_of(s.source) for s in last.values() if s.label == winner))


def outcomes_of(standing: Standing) -> dict[str, Outcome]:
    found = {example: standing.outcome(example) for example in EXAMPLES}
    return {example: outcome for example, outcome in found.items() if outcome is not None}


def rebuilt(events: Iterable[LabelEvent]) -> dict[str, Outcome]:
    standing = Standing(weight_of)
    for event in events:
        standing.apply(event)
    assert set(standing.examples()) == set(outcomes_of(standing))
    return outcomes_of(standing)


def without(events: Sequence[LabelEvent], gone: set[str | None]) -> list[LabelEvent]:
    """The history in which some label events never were, nor anything that was done to them."""
    return [e for e in events if e.event_id not in gone and e.target not in gone and e.kind != "erase"]


def dead_of(events: Sequence[LabelEvent]) -> set[str | None]:
    buried = {digest for event in events for digest in event.erased}
    withdrawn = {event.target for event in events if event.kind == "withdraw"}
    return withdrawn | {event.event_id for event in events if digest_of(event.event_id) in buried}


class History(RuleBasedStateMachine):
    """The ledger of one scene, as far as standing sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.standing = Standing(weight_of)
        self.events: list[LabelEvent] = []
        self.alive: list[str] = []
        self.waiting: list[str] = []
        self.known = outcomes_of(self.standing)

    def take(self, event: LabelEvent) -> None:
        self.events.append(event)
        changed = self.standing.apply(event)
        now = outcomes_of(self.standing)
        assert {e for e in EXAMPLES if now.get(e) != self.known.get(e)} <= changed
        self.known = now

    def event(self, kind: str, **more: object) -> LabelEvent:
        number = len(self.events) + 1
        told = {"sequence": number, "event_id": f"event {number}", "kind": kind, "scene": "s"} | more
        return LabelEvent(**told)  # type: ignore[arg-type]

    def what(self, word: int) -> dict[str, object]:
        return {"label": f"class {word}"}

    @rule(
        example=st.sampled_from([*EXAMPLES, None]),
        annotator=st.sampled_from(ANNOTATORS),
        source=st.sampled_from(SOURCES),
        confidence=st.sampled_from(CONFIDENCES),
        word=st.integers(0, 2),
    )
    def label(self, example: str | None, annotator: str, source: str, confidence: float, word: int) -> None:
        about = {"example": example, "annotator": annotator, "source": source, "confidence": confidence}
        event = self.event("label", **about, **self.what(word))
        self.alive.append(event.event_id)
        if example is None:
            self.waiting.append(event.event_id)
        self.take(event)

    @precondition(lambda self: self.alive)
    @rule(which=st.randoms(use_true_random=False), confidence=st.sampled_from(CONFIDENCES), word=st.integers(0, 3))
    def correct(self, which: Random, confidence: float, word: int) -> None:
        self.take(self.event("correct", target=which.choice(self.alive), confidence=confidence, **self.what(word)))

    @precondition(lambda self: self.alive)
    @rule(which=st.randoms(use_true_random=False))
    def withdraw(self, which: Random) -> None:
        target = which.choice(self.alive)
        self.gone({target})
        self.take(self.event("withdraw", target=target))

    @precondition(lambda self: self.waiting)
    @rule(which=st.randoms(use_true_random=False), example=st.sampled_from(EXAMPLES))
    def join(self, which: Random, example: str) -> None:
        target = which.choice(self.waiting)
        self.waiting.remove(target)
        self.take(self.event("join", target=target, example=example))

    @precondition(lambda self: len(self.alive) > 2)
    @rule(which=st.randoms(use_true_random=False), count=st.integers(1, 3))
    def erase(self, which: Random, count: int) -> None:
        gone = set(which.sample(self.alive, min(count, len(self.alive))))
        self.gone(gone)
        self.take(self.event("erase", erased=tuple(digest_of(event_id) for event_id in gone)))

    def gone(self, targets: set[str]) -> None:
        self.alive = [event_id for event_id in self.alive if event_id not in targets]
        self.waiting = [event_id for event_id in self.waiting if event_id not in targets]

    @invariant()
    def following_equals_the_rules(self) -> None:
        assert self.known == restated(self.events)

    @invariant()
    def following_equals_reading_from_the_start(self) -> None:
        assert self.known == rebuilt(self.events)

    @invariant()
    def withdrawn_and_erased_equal_never_seen(self) -> None:
        assert self.known == rebuilt(without(self.events, dead_of(self.events)))

    @invariant()
    def what_erasing_leaves_of_the_ledger_says_the_same(self) -> None:
        buried = {digest for event in self.events for digest in event.erased}
        gone = {event.event_id for event in self.events if digest_of(event.event_id) in buried}
        assert self.known == rebuilt([e for e in self.events if e.event_id not in gone and e.target not in gone])


class ValueHistory(History):
    """The same for a regression."""

    def what(self, word: int) -> dict[str, object]:
        return {"value": word / 4}


History.TestCase.settings = settings(max_examples=60, stateful_step_count=25)
ValueHistory.TestCase.settings = settings(max_examples=40, stateful_step_count=25)
TestHistory = History.TestCase
TestValueHistory = ValueHistory.TestCase


@st.composite
def histories(draw: st.DrawFn) -> list[LabelEvent]:
    """Labels, corrections and withdrawals, each label with all that is done to it."""
    events: list[LabelEvent] = []
    for number in range(draw(st.integers(1, 12))):
        label = LabelEvent(
            sequence=0,
            event_id=f"event {number}",
            kind="label",
            scene="s",
            example=draw(st.sampled_from(EXAMPLES)),
            label=draw(st.sampled_from("abc")),
            annotator=draw(st.sampled_from(ANNOTATORS)),
            source=draw(st.sampled_from(SOURCES)),
            confidence=draw(st.sampled_from(CONFIDENCES)),
        )
        events.append(label)
        if draw(st.booleans()):
            deed: EventKind = "correct" if draw(st.booleans()) else "withdraw"
            said = draw(st.sampled_from("abcd"))
            later = replace(
                label, event_id=f"deed {number}", target=label.event_id, kind=deed, label=said, example=None
            )
            events.append(later)
    return [replace(event, sequence=place) for place, event in enumerate(events, 1)]


@settings(max_examples=150)
@given(histories(), st.randoms(use_true_random=False))
def test_only_the_order_within_an_example_and_its_annotator_matters(events: list[LabelEvent], chance: Random) -> None:
    root = {event.event_id: event for event in events if event.kind == "label"}
    lanes: dict[tuple[str | None, str], list[LabelEvent]] = {}
    for event in events:
        owner = root[event.target or event.event_id]
        lanes.setdefault((owner.example, owner.annotator), []).append(event)
    turns = chance.sample([key for key, lane in lanes.items() for _ in lane], len(events))
    queues = {key: iter(lane) for key, lane in lanes.items()}
    shuffled = [replace(next(queues[key]), sequence=place) for place, key in enumerate(turns, 1)]
    assert rebuilt(shuffled) == rebuilt(events)


def test_a_late_prediction_does_not_make_its_label_newer() -> None:
    early = LabelEvent(sequence=1, event_id="a", kind="label", scene="s", label="cat", annotator="ann")
    later = replace(early, sequence=2, event_id="b", example="e1", label="dog")
    join = LabelEvent(sequence=3, event_id="c", kind="join", scene="s", target="a", example="e1")
    assert rebuilt([early, later, join]) == {"e1": Outcome(label="dog", weight=4)}


def test_a_withdrawn_second_thought_leaves_the_first() -> None:
    first = LabelEvent(sequence=1, event_id="a", kind="label", scene="s", example="e1", label="cat", annotator="ann")
    second = replace(first, sequence=2, event_id="b", label="dog")
    taken = LabelEvent(sequence=3, event_id="c", kind="withdraw", scene="s", target="b")
    assert rebuilt([first, second, taken]) == {"e1": Outcome(label="cat", weight=4)}


def test_annotators_who_tie_are_a_conflict_until_one_more_speaks() -> None:
    first = LabelEvent(sequence=1, event_id="a", kind="label", scene="s", example="e1", label="cat", annotator="ann")
    second = replace(first, sequence=2, event_id="b", label="dog", annotator="bob")
    third = replace(first, sequence=3, event_id="c", label="dog", annotator="cy", source="training", confidence=0.25)
    assert rebuilt([first, second]) == {"e1": Outcome(conflict=True)}
    assert rebuilt([first, second, third]) == {"e1": Outcome(label="dog", weight=4)}
