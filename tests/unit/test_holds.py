"""What is held, what labels weigh and what the queue offered, as rows, on both databases; erasing leaves none of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.ballots import Held
from core.erasure import erase
from core.errors import InvalidInput, NotFound
from core.holds import GUARD, Hold, Waiting
from core.home import Home
from core.label_settings import HygieneSettings
from core.lease import Lease, acquire
from core.offers import Lot
from core.weights import EVEN, Weights, parse, weigh
from tests.homes import SCENE, declare, evidence_of, example_of, feedback_of, home_at, prediction_of

WRONG = Held(reason="quarantine", words="it looks wrong")


@pytest.fixture
def home(tmp_path: Path, url: str) -> Iterator[Home]:
    made = home_at(tmp_path, url)
    declare(made)
    yield made
    made.close()


def lease_of(home: Home) -> Lease:
    lease = acquire(home.ledger.database, "learner", "me", 60.0)
    assert lease is not None
    return lease


def hold_of(since: int, events: tuple[str, ...]) -> Hold:
    return Hold(
        scene=SCENE,
        version="v",
        since=since,
        base=since,
        sequence=since + 1,
        at=5.0,
        words="much would change",
        annotator="bob",
        events=events,
    )


def test_a_hold_is_kept_accepted_and_lifted_and_the_audit_says_so(home: Home) -> None:
    lease = lease_of(home)
    first = home.ledger.add(feedback_of("a", "cat", event_id="a"), evidence_of("a"))
    second = home.ledger.add(feedback_of("b", "cat", event_id="b"), evidence_of("b"))
    assert home.holds.of(SCENE) is None and home.holds.upto(SCENE) is None
    home.holds.hold(hold_of(first.sequence, ("b",)), lease)
    assert home.holds.of(SCENE) == hold_of(first.sequence, ("b",)) and home.holds.upto(SCENE) == first.sequence
    assert home.holds.about("a", first.sequence) is None
    waits = home.holds.about("b", second.sequence)
    assert waits is not None and (waits.reason, waits.words) == (GUARD, "much would change")
    home.holds.accept(SCENE)
    home.holds.hold(hold_of(first.sequence, ()), lease)
    held = home.holds.of(SCENE)
    assert held is not None and held.accepted, "who said yes meanwhile is heard"
    home.holds.lift(SCENE, "accepted", lease)
    assert home.holds.of(SCENE) is None and home.holds.about("b", second.sequence) is None
    assert [row["action"] for row in home.registry.history(SCENE)] == ["lift", "accept", "hold"]
    with pytest.raises(NotFound):
        home.holds.accept(SCENE)


def test_labels_that_wait_are_listed_with_their_events(home: Home) -> None:
    home.ledger.add(feedback_of("a", "cat", event_id="a"), evidence_of("a"))
    late = home.ledger.add(feedback_of("b", "cat", event_id="b", example=None, prediction_id="p"), None)
    assert home.holds.about("b", late.sequence) is None
    home.ledger.join("b", evidence_of("b"))
    home.holds.keep(SCENE, "", {example_of("a"): WRONG, example_of("b"): WRONG})
    since = {each.example: each.at for each in home.holds.waiting(SCENE)}
    home.holds.keep(SCENE, "", {example_of("b"): WRONG})
    (waiting,) = home.holds.waiting(SCENE)
    assert waiting == Waiting(
        task="", example=example_of("b"), reason="quarantine", words=WRONG.words, at=since[example_of("b")]
    )
    assert home.holds.events(SCENE, [example_of("a"), example_of("b")]) == {
        example_of("a"): ["a"],
        example_of("b"): ["b"],
    }
    about = home.holds.about("b", 1)
    assert about is not None and about.reason == "quarantine"


def test_erasing_a_person_leaves_nothing_of_what_was_held_or_offered(home: Home) -> None:
    lease = lease_of(home)
    home.ledger.add(feedback_of("a", "cat", event_id="a", subject="p"), evidence_of("a"))
    home.holds.hold(hold_of(0, ("a", "other")), lease)
    home.holds.keep(SCENE, "", {example_of("a"): WRONG, example_of("z"): WRONG})
    home.offers.draw(SCENE, "", lambda since: Lot({example_of("a"): 0.5, example_of("z"): 1.0}, 7.0))
    erase(home, "p")
    held = home.holds.of(SCENE)
    assert held is not None and held.events == ("other",)
    assert [each.example for each in home.holds.waiting(SCENE)] == [example_of("z")]
    assert home.offers.chances(SCENE, "", [example_of("a"), example_of("z")]) == {example_of("z"): 1.0}


def test_an_example_is_offered_once_and_turns_go_on(home: Home) -> None:
    seen: list[float] = []

    def lot(since: float, until: float | None = 3.0) -> Lot:
        seen.append(since)
        return Lot({"e": 1.0 / len(seen)}, until)

    for _ in range(2):
        home.offers.draw(SCENE, "", lot)
    home.offers.draw(SCENE, "", lambda since: lot(since, None))
    home.offers.draw(SCENE, "other", lot)
    assert seen == [0.0, 3.0, 3.0, 0.0]
    assert home.offers.chances(SCENE, "", ["e", "f"]) == {"e": 1.0}


def test_what_a_scene_asks_of_its_labels_is_kept_for_it_alone(home: Home) -> None:
    assert home.label_policy(SCENE).weights == EVEN
    weigh(home.ledger.database, SCENE, "annotator", "bob", parse("1/4"))
    weigh(home.ledger.database, SCENE, "source", "camera", parse("8"))
    weigh(home.ledger.database, SCENE, "annotator", "ann", parse("2"))
    weigh(home.ledger.database, SCENE, "annotator", "ann", None)
    home.hygiene.change(SCENE, {"quarantine": True})
    policy = home.label_policy(SCENE)
    assert policy.weights == Weights({"bob": 4}, {"camera": 128}) and policy.hygiene == HygieneSettings(quarantine=True)
    assert home.label_policy("other").hygiene == HygieneSettings()
    for text in ("3", "0", "-1", "1/0", "x", "1/32"):
        with pytest.raises(InvalidInput, match="power of two"):
            parse(text)


def test_a_weight_counts_wherever_labels_are_counted(home: Home) -> None:
    weigh(home.ledger.database, SCENE, "annotator", "bob", parse("1/2"))
    home.ledger.add(feedback_of("a", "cat", event_id="a", annotator="ann"), evidence_of("a"))
    assert (
        home.ledger.add(feedback_of("a", "dog", event_id="b", annotator="bob"), evidence_of("a")).status == "accepted"
    )
    third = home.ledger.add(feedback_of("a", "dog", event_id="c", annotator="cy", confidence=0.5), evidence_of("a"))
    assert third.status == "conflict", "a half and a half are one"


def test_the_newest_answers_are_found_by_example(home: Home) -> None:
    home.predictions.append([prediction_of(name, f"{SCENE}:{n}", at=float(n)) for n, name in enumerate("abcb")])
    assert set(home.predictions.newest(SCENE, "extractor-1", 3)) == {example_of("b"), example_of("c")}
    found = home.predictions.of_example(example_of("b"))
    assert found is not None and found.created_at == 3.0
    assert home.predictions.of_example(example_of("z")) is None
