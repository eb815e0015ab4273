"""Who leads, and that one who has lost the lead cannot write."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from core.config import DatabaseSettings
from core.database import Database, open_ledger
from core.errors import LeadershipLost
from core.lease import Lease, acquire, confirm, release

NAME = "learner"


@pytest.fixture
def database(tmp_path: Path, url: str) -> Iterator[Database]:
    opened = open_ledger(tmp_path, DatabaseSettings(url=url))
    yield opened
    opened.close()


def lead(database: Database, owner: str, at: float) -> Lease | None:
    return acquire(database, NAME, owner, 5.0, lambda: at)


def holds(database: Database, lease: Lease) -> bool:
    with database.write() as connection:
        try:
            confirm(connection, lease)
        except LeadershipLost:
            return False
        return True


def test_the_first_to_come_leads_and_others_wait(database: Database) -> None:
    assert lead(database, "ann", 0.0) == Lease(NAME, "ann", 1)
    assert lead(database, "bob", 4.9) is None


def test_renewing_keeps_the_token_and_the_lead(database: Database) -> None:
    lead(database, "ann", 0.0)
    assert lead(database, "ann", 4.0) == Lease(NAME, "ann", 1)
    assert lead(database, "bob", 8.9) is None


def test_a_silent_leader_is_followed_by_another_with_a_higher_token(database: Database) -> None:
    late = lead(database, "ann", 0.0)
    assert late is not None
    assert lead(database, "bob", 5.0) == Lease(NAME, "bob", 2)
    assert not holds(database, late)
    assert lead(database, "ann", 10.0) == Lease(NAME, "ann", 3)
    assert not holds(database, late)


def test_a_leader_that_nobody_replaced_still_leads_after_its_time(database: Database) -> None:
    lease = lead(database, "ann", 0.0)
    assert lease is not None
    assert holds(database, lease)
    assert lead(database, "ann", 100.0) == lease


def test_a_released_lead_is_taken_at_once(database: Database) -> None:
    lease = lead(database, "ann", 0.0)
    assert lease is not None
    release(database, lease)
    assert lead(database, "bob", 0.1) == Lease(NAME, "bob", 2)


def test_releasing_a_lost_lead_takes_it_from_nobody(database: Database) -> None:
    lost = lead(database, "ann", 0.0)
    assert lost is not None
    lead(database, "bob", 6.0)
    release(database, lost)
    assert lead(database, "cy", 7.0) is None


def test_leads_of_different_names_are_independent(database: Database) -> None:
    lead(database, "ann", 0.0)
    assert acquire(database, "another", "bob", 5.0, lambda: 0.0) == Lease("another", "bob", 1)
