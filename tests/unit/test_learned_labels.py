"""How many labels were learned: each is counted once, by the learner whose head was the first to include it."""

from __future__ import annotations

from pathlib import Path

from learner.loop import Learner
from learner.metrics import Metrics
from tests.homes import SCENE, declare, evidence_of, feedback_of, head_of, home_at, manifest_of
from tests.revised import step


def counted(metrics: Metrics) -> float | None:
    return metrics.registry.get_sample_value("lepton_labels_learned_total", {"scene": SCENE})


def test_labels_are_counted_once_by_whoever_learns_them(tmp_path: Path, url: str) -> None:
    home = home_at(tmp_path, url)
    declare(home)
    home.registry.register(SCENE, "v" * 64, manifest_of(), head_of(1.0))

    def say(name: str, label: str) -> str:
        return home.ledger.add(feedback_of(name, label), evidence_of(name)).event_id

    first, second = Metrics(), Metrics()
    events = [say(name, label) for name, label in zip("abcd", ("cat", "dog", "cat", "dog"), strict=True)]
    moment = [1000.0]
    step(Learner(home, "one", first, lambda: moment[0]))
    moment[0] += 100
    other = Learner(home, "two", second, lambda: moment[0])
    step(other)
    assert (counted(first), counted(second)) == (4, 0)
    say("e", "cat")
    home.ledger.correct(events[0], label="dog", value=None)
    home.ledger.withdraw(events[1])
    step(other)
    step(other)
    assert (counted(first), counted(second)) == (4, 2)
    home.close()
