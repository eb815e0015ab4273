"""What people ask of the ledger: how many labels are where, and which examples are labelled."""

from __future__ import annotations

from pathlib import Path

from core.events import TRAINING
from core.tally import labelled, tally
from tests.homes import SCENE, declare, evidence_of, example_of, feedback_of, home_at


def test_every_label_is_counted_once_where_it_stands(tmp_path: Path, url: str) -> None:
    home = home_at(tmp_path, url)
    declare(home)
    declare(home, name="other")
    ledger = home.ledger

    def send(name: str, label: str, event_id: str, **more: object) -> None:
        sent = feedback_of(name, label, event_id=event_id, **more)
        ledger.add(sent, evidence_of(name) if sent.example else None)

    ledger.teach(SCENE, [feedback_of(f"taught {n}", "cat", annotator=TRAINING, source=TRAINING) for n in range(3)])
    send("a", "cat", "a")
    send("b", "cat", "b1", annotator="ann")
    send("b", "dog", "b2", annotator="bob")
    send("c", "cat", "c")
    ledger.withdraw("c")
    for number in range(3):
        send("late", "cat", f"late {number}", example=None, prediction_id=f"{SCENE}:{number:032x}")
    ledger.orphan(ledger.waiting()[1].received_at)
    ledger.join("late 2", evidence_of("late"))
    send("a", "cat", "elsewhere", scene="other")
    expected = {"training": 3, "accepted": 4, "pending": 1, "orphaned": 1, "withdrawn": 1, "conflict": 1}
    assert tally(ledger.database, SCENE, home.settings.labels.weight) == expected
    names = ("taught 0", "a", "b", "c", "late", "nobody")
    found = labelled(ledger.database, SCENE, [example_of(name) for name in names])
    assert found == {example_of(name) for name in ("taught 0", "a", "b", "late")}
    home.close()
