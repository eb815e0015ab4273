"""What the ledger answers: every status, what counts once, and what can be neither changed nor said again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from core.erasure import erase
from core.errors import Conflict, NotFound, Withdrawn
from core.events import TRAINING, Feedback
from core.home import Home
from tests.homes import SCENE, declare, evidence_of, example_of, feedback_of, home_at

PREDICTION = f"{SCENE}:{1:032x}"


@pytest.fixture
def home(tmp_path: Path, url: str) -> Iterator[Home]:
    opened = home_at(tmp_path, url)
    declare(opened)
    yield opened
    opened.close()


def send(home: Home, name: str, label: str, **more: object) -> tuple[str, str, int]:
    """Event id, status and sequence of a label whose example is known."""
    receipt = home.ledger.add(feedback_of(name, label, **more), evidence_of(name))
    return receipt.event_id, receipt.status, receipt.sequence


def early(label: str = "cat", **more: object) -> Feedback:
    """A label that is there before its prediction."""
    return feedback_of("late", label, **({"prediction_id": PREDICTION, "example": None} | more))


def test_a_label_is_accepted_with_the_next_sequence_and_an_id(home: Home) -> None:
    one, other = send(home, "a", "cat"), send(home, "b", "dog")
    assert (one[1:], other[1:]) == (("accepted", 1), ("accepted", 2))
    assert one[0] != other[0] and one[0][14] == "7"
    assert home.ledger.status(one[0]).status == "accepted"
    assert home.ledger.scene_of(one[0]) == SCENE


def test_the_same_body_again_is_a_duplicate_with_the_first_sequence(home: Home) -> None:
    send(home, "a", "cat", event_id="e")
    send(home, "b", "cat")
    assert send(home, "a", "cat", event_id="e") == ("e", "duplicate", 1)
    assert home.ledger.last_sequence(SCENE) == 2
    assert home.ledger.known(feedback_of("a", "cat", event_id="e")) is not None
    assert home.ledger.known(feedback_of("a", "cat", event_id="new")) is None
    assert home.ledger.known(feedback_of("a", "cat")) is None


@pytest.mark.parametrize(
    "change",
    [
        {"label": "dog"},
        {"annotator": "ann"},
        {"source": "audit"},
        {"confidence": 0.5},
        {"observed_at": "2026-11-01T00:00:00Z"},
        {"subject": "sue"},
        {"example": example_of("b")},
        {"prediction_id": PREDICTION},
    ],
)
def test_another_body_under_the_same_id_is_a_conflict(home: Home, change: dict[str, object]) -> None:
    first = feedback_of("a", "cat", event_id="e")
    home.ledger.add(first, evidence_of("a"))
    changed = replace(first, **change)  # type: ignore[arg-type]
    with pytest.raises(Conflict, match="'e' was sent before with another body") as caught:
        home.ledger.add(changed, evidence_of("a"))
    assert (caught.value.status, caught.value.code) == (409, "conflict")
    assert home.ledger.last_sequence(SCENE) == 1


def test_a_withdrawn_event_stays_withdrawn(home: Home) -> None:
    send(home, "a", "cat", event_id="e")
    receipt = home.ledger.withdraw("e")
    assert (receipt.status, receipt.sequence) == ("withdrawn", 2)
    assert home.ledger.status("e").status == "withdrawn"
    deeds = (
        lambda: send(home, "a", "cat", event_id="e"),
        lambda: home.ledger.correct("e", label="dog", value=None),
        lambda: home.ledger.withdraw("e"),
        lambda: home.ledger.known(feedback_of("a", "cat", event_id="e")),
    )
    for deed in deeds:
        with pytest.raises(Withdrawn) as caught:
            deed()
        assert (caught.value.status, caught.value.code) == (409, "withdrawn")
    assert home.ledger.last_sequence(SCENE) == 2


def test_an_erased_event_cannot_come_back_under_its_id(home: Home) -> None:
    send(home, "a", "cat", event_id="e", subject="sue")
    erase(home, "sue")
    with pytest.raises(Withdrawn, match="was erased"):
        send(home, "a", "cat", event_id="e", subject="sue")
    with pytest.raises(NotFound):
        home.ledger.status("e")
    assert send(home, "a", "cat", event_id="e2")[1] == "accepted"


def test_an_unknown_event_is_not_found(home: Home) -> None:
    for deed in (home.ledger.status, home.ledger.scene_of, home.ledger.withdraw):
        with pytest.raises(NotFound, match="no label event 'nobody'"):
            deed("nobody")
    with pytest.raises(NotFound):
        home.ledger.correct("nobody", label="cat", value=None)


def test_what_was_done_to_an_event_is_no_event_of_its_own_to_a_client(home: Home) -> None:
    send(home, "a", "cat", event_id="e")
    home.ledger.correct("e", label="dog", value=None)
    deed = home.ledger.events(SCENE, 1)[0]
    assert deed.kind == "correct"
    with pytest.raises(NotFound):
        home.ledger.status(deed.event_id)


def test_annotators_who_tie_are_told_and_one_more_decides(home: Home) -> None:
    assert send(home, "a", "cat", event_id="e", annotator="ann")[1] == "accepted"
    assert send(home, "a", "dog", annotator="bob")[1] == "conflict"
    assert home.ledger.status("e").status == "conflict"
    assert send(home, "a", "dog", annotator="cy")[1] == "accepted"
    assert home.ledger.status("e").status == "accepted"


def test_a_correction_can_end_a_conflict_and_begin_one(home: Home) -> None:
    send(home, "a", "cat", event_id="e", annotator="ann")
    send(home, "a", "dog", annotator="bob")
    ended = home.ledger.correct("e", label="dog", value=None)
    assert (ended.status, ended.sequence) == ("accepted", 3)
    assert home.ledger.correct("e", label="emu", value=None).status == "conflict"
    assert home.ledger.status("e").sequence == 4


def test_a_correction_keeps_the_confidence_last_given(home: Home) -> None:
    send(home, "a", "cat", event_id="e", confidence=0.25)
    home.ledger.correct("e", label="dog", value=None)
    home.ledger.correct("e", label="dog", value=None, confidence=0.75)
    home.ledger.correct("e", label="emu", value=None)
    assert [event.confidence for event in home.ledger.events(SCENE, 0)] == [0.25, 0.25, 0.75, 0.75]


def test_a_label_without_its_prediction_is_pending_until_joined(home: Home) -> None:
    receipt = home.ledger.add(early(event_id="e"), None)
    assert (receipt.status, receipt.sequence) == ("pending", 1)
    assert home.ledger.status("e").status == "pending"
    assert [w.prediction_id for w in home.ledger.waiting()] == [PREDICTION]
    assert home.ledger.add(early(event_id="e"), None).status == "duplicate"
    joined = home.ledger.join("e", evidence_of("late"))
    assert joined is not None
    assert (joined.status, joined.sequence) == ("accepted", 2)
    assert home.ledger.status("e").sequence == 2
    assert home.ledger.waiting() == []
    assert home.ledger.join("e", evidence_of("late")) is None


def test_a_duplicate_that_knows_its_example_by_now_is_still_a_duplicate(home: Home) -> None:
    home.ledger.add(early(event_id="e"), None)
    assert home.ledger.add(early(event_id="e", example=example_of("late")), evidence_of("late")).status == "duplicate"


def test_a_joined_label_can_be_in_conflict(home: Home) -> None:
    send(home, "late", "dog", annotator="ann")
    home.ledger.add(early(event_id="e", annotator="bob"), None)
    joined = home.ledger.join("e", evidence_of("late"))
    assert joined is not None and joined.status == "conflict"


def test_a_label_that_waited_too_long_is_orphaned(home: Home) -> None:
    ledger = home.ledger
    ledger.add(early(event_id="e"), None)
    received = ledger.waiting()[0].received_at
    assert ledger.orphan(received) == 0
    assert ledger.orphan(received + 1) == 1
    assert ledger.orphan(received + 1) == 0
    assert ledger.status("e").status == "orphaned"
    assert ledger.waiting() == []
    assert ledger.join("e", evidence_of("late")) is None
    assert ledger.withdraw("e").status == "withdrawn"


def test_a_pending_label_can_be_corrected_and_withdrawn(home: Home) -> None:
    home.ledger.add(early(event_id="e"), None)
    assert home.ledger.correct("e", label="dog", value=None).status == "pending"
    assert home.ledger.withdraw("e").status == "withdrawn"
    assert home.ledger.waiting() == []
    assert home.ledger.join("e", evidence_of("late")) is None


def test_a_failed_label_takes_no_sequence_and_leaves_no_features(home: Home) -> None:
    send(home, "a", "cat", event_id="e")
    with pytest.raises(Conflict):
        home.ledger.add(feedback_of("b", "dog", event_id="e"), evidence_of("b"))
    assert home.evidence.features("extractor-1", [example_of("b")]) == {}
    assert send(home, "c", "cat")[2] == 2


def test_events_are_read_in_pages_and_by_scene(home: Home) -> None:
    declare(home, name="other")
    for n in range(5):
        send(home, f"picture {n}", "cat", scene="other" if n == 2 else SCENE)
    assert [event.sequence for event in home.ledger.events(SCENE, 0)] == [1, 2, 4, 5]
    assert [event.sequence for event in home.ledger.events(SCENE, 1, limit=2)] == [2, 4]
    assert (home.ledger.last_sequence("other"), home.ledger.last_sequence("nowhere")) == (3, 0)


def lesson(*pairs: tuple[str, str]) -> list[Feedback]:
    return [feedback_of(name, label, annotator=TRAINING, source=TRAINING) for name, label in pairs]


def test_teaching_the_same_again_says_nothing_new(home: Home) -> None:
    pairs = [(f"picture {n}", "cat") for n in range(5)]
    assert home.ledger.teach(SCENE, lesson(*pairs)) == 5
    assert home.ledger.teach(SCENE, lesson(*pairs)) == 0
    assert home.ledger.teach(SCENE, lesson(*pairs[:4], ("picture 4", "dog"), ("picture 5", "dog"))) == 2
    assert home.ledger.last_sequence(SCENE) == 7
    assert home.ledger.teach(SCENE, []) == 0


def test_teaching_a_contradiction_keeps_the_last_word_and_settles(home: Home) -> None:
    pairs = (("a", "cat"), ("a", "dog"))
    assert home.ledger.teach(SCENE, lesson(*pairs)) == 1
    assert home.ledger.teach(SCENE, lesson(*pairs)) == 0
    assert [event.label for event in home.ledger.events(SCENE, 0)] == ["dog"]


def test_teaching_leaves_a_persons_correction_alone(home: Home) -> None:
    home.ledger.teach(SCENE, lesson(("a", "cat")))
    taught = home.ledger.events(SCENE, 0)[0]
    home.ledger.correct(taught.event_id, label="dog", value=None)
    assert home.ledger.teach(SCENE, lesson(("a", "cat"))) == 0
