"""kill -9 of the learner, of a worker, of everything, at random moments, while labels come in.

What was acknowledged stands, once; what came back is the fit from scratch, to the bit; and a worker that comes back
takes no request before it can answer it.
"""

from __future__ import annotations

import random
import sqlite3
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

import pytest

from core.home import Home
from core.standing import Standing
from core.types import LabelEvent
from lepton.client import Client
from tests import pico
from tests.asking import PNG, instance
from tests.homes import told as numbers
from tests.processes import House, house
from tests.teller import Record, Said, Teller
from tests.waiting import until

SEED = 21
CLIENTS = 3
SCENES = 20
ROUNDS = ["learner"] * 8 + ["worker"] * 7 + ["everything"] * 5
CHECKED_EVERY = 5  # rounds
RESPAWN_SECONDS = 60.0
_MOMENT = threading.Event()  # never set


@pytest.fixture
def place(tmp_path: Path) -> Iterator[House]:
    with house(tmp_path / "home", LEPTON_LEARNER_LEASE_SECONDS="1") as made:
        with closing(made.open()) as home:
            pico.register(home, new_labels="accept")
        made.start_service(workers=2)
        yield made


@pytest.mark.slow
def test_no_acknowledged_label_is_lost_or_doubled_and_the_head_is_the_fit_from_scratch(place: House) -> None:
    chance, records = random.Random(SEED), [Record(client) for client in range(CLIENTS)]
    victims = chance.sample(ROUNDS, len(ROUNDS))
    place.start_learner()
    with closing(place.open()) as home:
        for start in range(0, len(victims), CHECKED_EVERY):
            with _telling(place, records, chance) as tellers:
                for victim in victims[start : start + CHECKED_EVERY]:
                    _wait_for_a_moment(home, tellers, victim, chance)
                    _kill(place, victim, chance)
            _check(place, home, records)
    said, unknown = sum(len(record.said) for record in records), sum(record.unknown for record in records)
    print(f"{said} labels, {unknown} of unknown fate, {sum(record.unanswered for record in records)} answered 5xx")
    assert said > 10 * len(ROUNDS)
    assert unknown > 0
    assert all(record.duplicates for record in records)


@pytest.mark.slow
def test_a_worker_takes_no_request_before_it_can_answer_it(tmp_path: Path) -> None:
    with house(tmp_path / "home") as place:
        with closing(place.open()) as home:
            names = [f"scene-{number:02}" for number in range(SCENES)]  # so many that preparing them all takes a moment
            for name in names:
                pico.register(home, name)
        place.start_service(workers=2)
        _ask_until_both_answer(place, names[-1])
        victim = place.workers()[0]
        victim.kill()
        until(lambda: victim.pid not in {worker.pid for worker in place.workers()})
        until(lambda: _answers(place, names[-1]) and len(place.workers()) == 2, RESPAWN_SECONDS)
        _ask_until_both_answer(place, names[-1])


def _ask_until_both_answer(place: House, scene: str) -> None:
    found = Counter[str]()

    def both() -> bool:
        found[_answers(place, scene)] += 1
        return len(found) == 2 and min(found.values()) > 5

    until(both, RESPAWN_SECONDS)


def _answers(place: House, scene: str) -> str:
    """The worker that answered over a connection of its own, with a 200."""
    with closing(HTTPConnection("127.0.0.1", place.port, timeout=30)) as connection:
        connection.request("POST", f"/v1/scenes/{scene}/predict", pico.picture("circle"), PNG)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        return answer.headers["Lepton-Worker"]


@contextmanager
def _telling(place: House, records: list[Record], chance: random.Random) -> Iterator[list[Teller]]:
    """All clients at work; at the end each has had its last answer."""
    tellers = [Teller(place.url, record, random.Random(chance.random())) for record in records]
    for teller in tellers:
        teller.start()
    try:
        yield tellers
    finally:
        for teller in tellers:
            teller.finish()


def _wait_for_a_moment(home: Home, tellers: list[Teller], victim: str, chance: random.Random) -> None:
    """Until a few more labels are acknowledged, for the learner mostly until it leads and publishes, and then a bit."""

    def acknowledged() -> int:
        return sum(teller.acknowledged() for teller in tellers)

    goal, revision = acknowledged() + chance.randint(1, 40), _newest(home)
    working = victim != "worker" and chance.random() < 0.7
    until(lambda: acknowledged() >= goal and (not working or _newest(home) > revision), RESPAWN_SECONDS)
    _MOMENT.wait(chance.random() * 0.05)


def _kill(place: House, victim: str, chance: random.Random) -> None:
    """SIGKILL, and start again what does not come back by itself."""
    assert place.learner is not None
    assert place.service is not None
    if victim == "worker":
        until(lambda: len(place.workers()) == 2, RESPAWN_SECONDS)
        chance.choice(place.workers()).kill()
        return
    place.learner.kill()
    if victim == "everything":
        place.service.kill()
        place.start_service(workers=2)
    place.start_learner()


def _check(place: House, home: Home, records: list[Record]) -> None:
    """What the clients know against what the ledger says, and the served head against a fit from scratch."""
    _check_ledger(home, [said for record in records for said in record.said])
    _check_head(place, home)
    for name in ("lepton.db", "predictions.db"):
        with closing(sqlite3.connect(place.home / name)) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def _check_ledger(home: Home, told: list[Said]) -> None:
    events = home.ledger.events("shapes", 0)
    labels = [event for event in events if event.kind == "label" and event.source == "feedback"]
    acts = Counter((event.kind, event.target) for event in events if event.target is not None)
    standing = Standing(home.settings.labels.weight)
    for event in events:
        standing.apply(event)
    by_id: dict[str, LabelEvent] = {event.event_id: event for event in labels}
    assert len(labels) == len(by_id) == len(told)
    for said in told:
        event = by_id[said.event_id]
        assert (event.label, event.sequence) == (said.label, said.sequence)
        assert acts["withdraw", said.event_id] == (said.stands is None)
        assert said.corrected <= acts["correct", said.event_id] <= said.corrections
        assert event.example is not None
        assert home.evidence.input(event.example) == said.picture
        outcome = standing.outcome(event.example)
        assert (outcome.label if outcome else None) == said.stands


def _check_head(place: House, home: Home) -> None:
    """What the learner published, and what both workers serve, is what nothing but the ledger gives."""
    alias = home.registry.champion("shapes")
    assert alias is not None
    until(lambda: _served(home, alias.version) == home.ledger.last_sequence("shapes"), RESPAWN_SECONDS)
    follower = home.follower(home.registry.scene("shapes"), home.registry.version("shapes", alias.version))
    follower.catch_up()
    scratch, latest = follower.head(), home.registry.latest_revision("shapes", alias.version)
    assert latest is not None
    assert scratch is not None
    assert scratch.examples > 0
    assert numbers(latest.head) == numbers(scratch)
    client = Client(place.url)
    client.wait_learned("shapes", instance(pico.picture("circle")), latest.head.sequence)
    client.http.close()


def _served(home: Home, version: str) -> int:
    latest = home.registry.latest_revision("shapes", version)
    return 0 if latest is None else latest.head.sequence


def _newest(home: Home) -> int:
    """Number of the champion's newest revision."""
    alias = home.registry.champion("shapes")
    latest = home.registry.latest_revision("shapes", alias.version) if alias else None
    return latest.number if latest else 0
