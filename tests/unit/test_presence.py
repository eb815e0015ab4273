"""A trainer's sign of life, and what a run tells of its candidates."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.candidates import candidates, tell
from core.config import Settings
from core.home import Home, open_home
from core.lease import TRAINER, held
from training.presence import SECONDS, Presence


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = open_home(Settings(home=tmp_path / "home"))
    yield made
    made.close()


def test_there_is_a_trainer_while_one_gives_its_sign_and_none_after_the_last_has_left(home: Home) -> None:
    database, now = home.ledger.database, [0.0]
    assert not held(database, TRAINER)
    first, second = (Presence(database, name, lambda: now[0]) for name in ("first", "second"))
    first.tell()
    second.tell()
    assert held(database, TRAINER)
    second.leave()
    assert held(database, TRAINER)
    first.leave()
    assert not held(database, TRAINER)
    second.tell()
    assert not held(database, TRAINER)  # its next sign is not due yet
    now[0] += SECONDS
    second.tell()
    assert held(database, TRAINER)


def test_a_trainer_that_died_is_missed_after_its_lease(home: Home) -> None:
    database = home.ledger.database
    Presence(database, "dead", lambda: 0.0).tell()
    with database.read() as connection:
        now = database.now(connection)
    assert held(database, TRAINER, lambda: now + SECONDS / 2)
    assert not held(database, TRAINER, lambda: now + 2 * SECONDS)


def test_the_newest_word_on_a_candidate_counts(home: Home) -> None:
    def metric(name: str, step: int, value: float) -> None:
        home.progress.metric("run", name, step, value)

    tell(metric, "a/b: c", score=0.5, low=float("nan"))
    home.progress.metric("run", "loss", 1, 0.1)
    tell(metric, "other", score=0.7)
    tell(metric, "a/b: c", score=0.6, chosen=1.0)
    first, second = candidates(home.progress.metrics("run"))
    assert (first.name, first.score, first.low, first.chosen) == ("a/b: c", 0.6, None, 1.0)
    assert (second.name, second.score, second.chosen) == ("other", 0.7, None)
