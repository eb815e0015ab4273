"""Copies for a challenger: only when there is room, logged as shadows, and no failure of theirs goes anywhere."""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest

from core.config import Settings
from core.errors import BrokenBundle, LeptonError
from core.home import open_home
from core.ids import prediction_id
from core.types import Prediction
from service.engine.prepare import prepare
from service.engine.shadows import Shadows, ShadowSettings
from service.engine.snapshot import Snapshot
from tests import pico
from tests.homes import prediction_of
from tests.waiting import until


class Court:
    """Hears everything that shadows tell."""

    def __init__(self) -> None:
        self.verdicts: list[LeptonError | None] = []
        self.fates: list[tuple[str, str]] = []
        self.logged: list[Prediction] = []
        self.busy = threading.Event()
        self.come: Iterator[int] = itertools.repeat(1)
        self.erased = False

    def judge(self, challenger: Snapshot, error: LeptonError | None) -> None:
        self.verdicts.append(error)

    def traffic(self) -> tuple[int, int]:
        return int(self.busy.is_set()), next(self.come)

    def known(self, prediction_id: str) -> bool:
        return not self.erased

    def log(self, predictions: Sequence[Prediction]) -> None:
        self.logged += predictions

    def told(self, scene: str, fate: str) -> None:
        self.fates.append((scene, fate))


@pytest.fixture(scope="module")
def challenger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Snapshot]:
    home = open_home(Settings(home=tmp_path_factory.mktemp("home")))
    made = pico.register(home)
    yield prepare(home, made.scene, made.version.version, threads=1, device="cpu", max_batch=2)
    home.close()


@pytest.fixture
def court() -> Court:
    return Court()


@pytest.fixture
def shadows(court: Court) -> Iterator[Callable[..., Shadows]]:
    made: list[Shadows] = []

    def make(started: bool = True, **bounds: float) -> Shadows:
        settings = ShadowSettings(**bounds)  # type: ignore[arg-type]
        held = Shadows(settings, court, court.traffic, court.known, court.log, court.told)
        if started:
            held.start()
        made.append(held)
        return held

    yield make
    for held in made:
        held.close()


def answered(at: float = 5.0) -> Prediction:
    told = prediction_of("x", prediction_id("shapes"), at=at, instance=b"kept")
    return replace(told, scene="shapes", version="champion", extractor="its own")


def test_a_copy_is_answered_by_the_challenger_and_logged_beside_its_answer(
    court: Court, shadows: Callable[..., Shadows], challenger: Snapshot
) -> None:
    given = answered()
    shadows().put(challenger, given, pico.picture("square", 7))
    until(lambda: court.fates)
    assert court.fates == [("shapes", "answered")] and court.verdicts == [None]
    (shadow,) = court.logged
    assert (shadow.role, shadow.parent, shadow.label) == ("shadow", given.prediction_id, "square")
    assert (shadow.version, shadow.extractor) == (challenger.version, challenger.extractor)
    assert (shadow.example, shadow.created_at) == (given.example, given.created_at)
    assert shadow.prediction_id != given.prediction_id and shadow.instance is None
    row = [challenger.preprocessor.read(pico.picture("square", 7))]
    assert np.array_equal(shadow.features, challenger.run(row).features[0])


def test_a_challenger_that_is_retired_is_let_go_though_no_copy_follows(
    court: Court, shadows: Callable[..., Shadows], challenger: Snapshot
) -> None:
    mine = replace(challenger)
    held = shadows()
    held.put(mine, answered(), pico.picture("circle"))
    until(lambda: court.fates)
    left = weakref.ref(mine)
    del mine
    until(lambda: left() is None)


def test_of_an_answer_that_was_erased_while_its_copy_waited_nothing_is_logged(
    court: Court, shadows: Callable[..., Shadows], challenger: Snapshot
) -> None:
    court.busy.set()
    held = shadows(patience=60.0)
    held.put(challenger, answered(), pico.picture("circle"))
    court.erased = True
    court.busy.clear()
    until(lambda: court.fates)
    assert court.fates == [("shapes", "answered")] and court.logged == []


def test_while_the_worker_is_busy_a_copy_waits_and_then_it_is_dropped(
    court: Court, shadows: Callable[..., Shadows], challenger: Snapshot
) -> None:
    court.busy.set()
    patient = shadows(patience=60.0)
    patient.put(challenger, answered(), pico.picture("circle"))
    shadows(patience=0.0).put(challenger, answered(), pico.picture("circle"))
    until(lambda: court.fates)
    assert court.fates == [("shapes", "dropped")] and court.logged == []
    court.busy.clear()
    until(lambda: court.logged)
    assert court.fates[1:] == [("shapes", "answered")]


def test_requests_that_come_and_go_between_two_looks_keep_copies_waiting(
    court: Court, shadows: Callable[..., Shadows], challenger: Snapshot
) -> None:
    court.come = itertools.count()
    held = shadows(patience=0.1)
    held.put(challenger, answered(), pico.picture("circle"))
    until(lambda: court.fates)
    assert court.fates == [("shapes", "dropped")] and court.logged == []
    court.come = itertools.repeat(9)
    held.put(challenger, answered(), pico.picture("circle"))
    until(lambda: court.logged)


def test_a_queue_that_is_full_by_number_or_by_bytes_drops_what_comes(
    court: Court, shadows: Callable[..., Shadows], challenger: Snapshot
) -> None:
    few, small = shadows(started=False, most=2), shadows(started=False, bytes_kept=10)
    for _ in range(3):
        few.put(challenger, answered(), b"x")
    assert court.fates == [("shapes", "dropped")]
    small.put(challenger, answered(), b"x" * 6)
    small.put(challenger, answered(), b"x" * 6)
    assert len(court.fates) == 2
    assert court.verdicts == [], "it is not the challenger's fault"


def test_a_challenger_that_fails_is_reported_and_the_next_copy_is_answered(
    court: Court, shadows: Callable[..., Shadows], challenger: Snapshot
) -> None:
    held = shadows()
    held.put(challenger, answered(), b"this is no picture")
    held.put(challenger, answered(), pico.picture("circle"))
    until(lambda: len(court.fates) == 2)
    assert [fate for _, fate in court.fates] == ["failed", "answered"]
    assert isinstance(court.verdicts[0], LeptonError) and court.verdicts[1] is None


def test_an_answer_that_is_no_number_is_a_failure(
    court: Court, shadows: Callable[..., Shadows], challenger: Snapshot
) -> None:
    assert challenger.head is not None
    spoiled = replace(challenger.head, bias=np.full_like(challenger.head.bias, np.nan))
    shadows().put(replace(challenger, head=spoiled), answered(), pico.picture("circle"))
    until(lambda: court.fates)
    assert court.fates == [("shapes", "failed")] and court.logged == []
    assert isinstance(court.verdicts[0], BrokenBundle)


def test_what_waits_at_the_end_is_dropped_without_waiting_for_room(
    court: Court, shadows: Callable[..., Shadows], challenger: Snapshot
) -> None:
    court.busy.set()
    held = shadows(patience=600.0)
    held.put(challenger, answered(), pico.picture("circle"))
    held.close()
    assert court.logged == []
    held.put(challenger, answered(), pico.picture("circle"))
    assert court.fates[-1] == ("shapes", "dropped")
