"""The batcher gathers without waiting, never mixes snapshots, and lets a bad instance fail alone."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from core.errors import BrokenBundle, LeptonError, Unavailable
from core.session import Output, Session
from core.types import Head
from service.engine.admission import Admission, Overloaded
from service.engine.batcher import Batcher
from service.engine.pace import INLINE_SECONDS, SEEN, SLOW_SECONDS, Pace
from service.engine.snapshot import Snapshot
from tests.snapshots import pixel, snapshot_of
from tests.waiting import until

BAD, ENDLESS = 13, 14


class Slow(Session):
    """A session that answers a picture's first pixel, when it is let; pixel BAD makes a run fail."""

    def __init__(self) -> None:
        self.runs: list[list[int]] = []
        self.threads: list[int] = []
        self.let = threading.Event()
        self.let.set()

    def predict(self, inputs: Mapping[str, NDArray[Any]], head: Head | None = None) -> Output:
        first = [int(pixel) for pixel in inputs["image"][:, 0, 0, 0]]
        self.runs.append(first)
        self.threads.append(threading.get_ident())
        assert self.let.wait(20), "the test forgot to let the model go on"
        if BAD in first:
            raise RuntimeError("this picture breaks the model")
        values = [np.inf if pixel == ENDLESS else pixel for pixel in first]
        return Output(np.array(values, np.float32)[:, None], np.zeros((len(first), 4), np.int16))


class Ears:
    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.late = 0

    def waited(self, seconds: float) -> None:
        assert seconds >= 0

    def ran(self, scene: str, size: int, seconds: float) -> None:
        self.sizes.append(size)

    def expired(self, scene: str) -> None:
        self.late += 1


class Ticks:
    """A clock that goes on by ``step`` seconds whenever it is looked at: so long does every run take."""

    def __init__(self, step: float) -> None:
        self.step = step
        self.now = 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def snapshot(session: Session, scene: str = "s") -> Snapshot:
    return snapshot_of(scene, session)


@pytest.fixture
def batcher() -> Iterator[Batcher]:
    made = Batcher(4, Ears())
    made.start()
    yield made
    made.close()


def held(batcher: Batcher, session: Slow, now: Snapshot) -> Any:
    """Make the model busy with one instance."""
    session.let.clear()
    first = batcher.submit(now, pixel(1))
    until(lambda: session.runs)
    return first


def test_an_instance_that_comes_to_an_idle_model_runs_alone_and_at_once(batcher: Batcher) -> None:
    session = Slow()
    answer = batcher.submit(snapshot(session), pixel(7)).result(20)
    assert answer.outputs.tolist() == [7]
    assert session.runs == [[7]]


def test_one_run_takes_what_gathered_meanwhile_up_to_the_largest_batch(batcher: Batcher) -> None:
    session = Slow()
    now = snapshot(session)
    first = held(batcher, session, now)
    rest = [batcher.submit(now, pixel(value)) for value in (2, 3, 4, 5, 6)]
    session.let.set()
    assert [future.result(20).outputs.tolist() for future in [first, *rest]] == [[1], [2], [3], [4], [5], [6]]
    assert session.runs == [[1], [2, 3, 4, 5], [6]]


def test_a_run_never_mixes_snapshots(batcher: Batcher) -> None:
    session = Slow()
    old, new = snapshot(session), snapshot(session)
    first = held(batcher, session, old)
    rest = [batcher.submit(now, pixel(value)) for now, value in ((old, 2), (new, 30), (old, 3), (new, 31))]
    session.let.set()
    for future in [first, *rest]:
        future.result(20)
    assert session.runs == [[1], [2, 3], [30, 31]]


def test_an_instance_that_breaks_the_model_fails_alone(batcher: Batcher) -> None:
    session = Slow()
    now = snapshot(session)
    first = held(batcher, session, now)
    good, bad, endless, also = (batcher.submit(now, pixel(value)) for value in (2, BAD, ENDLESS, 3))
    session.let.set()
    assert [future.result(20).outputs.tolist() for future in (first, good, also)] == [[1], [2], [3]]
    with pytest.raises(BrokenBundle, match="this picture breaks the model"):
        bad.result(20)
    with pytest.raises(LeptonError, match="no finite number"):
        endless.result(20)


def test_an_idle_batcher_holds_no_model_that_was_retired(batcher: Batcher) -> None:
    session = Slow()
    left = weakref.ref(session)
    assert batcher.submit(snapshot(session), pixel(7)).result(20).outputs.tolist() == [7]
    del session
    until(lambda: left() is None)


def test_an_instance_whose_caller_went_away_is_not_run(batcher: Batcher) -> None:
    session = Slow()
    now = snapshot(session)
    held(batcher, session, now)
    gone, stays = batcher.submit(now, pixel(2)), batcher.submit(now, pixel(3))
    assert gone.cancel()
    session.let.set()
    assert stays.result(20).outputs.tolist() == [3]
    assert session.runs == [[1], [3]]


def test_closing_answers_what_waits_and_takes_nothing_more() -> None:
    session, made = Slow(), Batcher(4, Ears())
    waiting = [made.submit(snapshot(session), pixel(value)) for value in (1, 2)]
    made.start()
    made.close()
    assert [future.result(0).outputs.tolist() for future in waiting] == [[1], [2]]
    assert not made.alive()
    with pytest.raises(Unavailable, match="shutting down"):
        made.submit(snapshot(session), pixel(3))


def test_an_instance_whose_deadline_has_passed_is_not_run_and_is_told_so() -> None:
    session, ears = Slow(), Ears()
    made = Batcher(4, ears)
    made.start()
    now = snapshot(session)
    held(made, session, now)
    late, stays = made.submit(now, pixel(2), made.clock()), made.submit(now, pixel(3), made.clock() + 60)
    session.let.set()
    with pytest.raises(Overloaded, match="the deadline passed") as refused:
        late.result(20)
    assert (refused.value.status, refused.value.reason, ears.late) == (503, "expired", 1)
    assert stays.result(20).outputs.tolist() == [3]
    assert session.runs == [[1], [3]]
    made.close()


def test_a_flooded_scene_does_not_keep_the_model_from_another(batcher: Batcher) -> None:
    session = Slow()
    flood = snapshot(session)
    first = held(batcher, session, flood)
    waiting = [batcher.submit(flood, pixel(2)) for _ in range(40)]
    last = batcher.submit(snapshot(session, "other"), pixel(77))
    session.let.set()
    for future in (first, last, *waiting):
        future.result(20)
    assert session.runs.index([77]) <= 2


async def asked(batcher: Batcher, now: Snapshot, *values: int) -> list[Any]:
    """Ask from the event loop, all at once; errors in their places."""
    answers = await asyncio.gather(*(batcher.enqueue(now, pixel(value)) for value in values), return_exceptions=True)
    return [answer if isinstance(answer, BaseException) else answer.outputs.tolist() for answer in answers]


def test_a_quick_model_runs_in_the_event_loop_on_what_has_gathered_since_its_last_turn() -> None:
    async def ask(made: Batcher, session: Slow) -> list[Any]:
        now = snapshot(session)
        for value in range(SEEN):
            assert await asked(made, now, value) == [[value]]
        assert threading.get_ident() not in session.threads
        session.runs.clear()
        session.threads.clear()
        return await asked(made, now, 1, 2, 3, 4, 5, 6)

    session, made = Slow(), Batcher(4, Ears(), Ticks(1e-9))
    made.start()
    assert asyncio.run(ask(made, session)) == [[1], [2], [3], [4], [5], [6]]
    assert session.runs == [[1, 2, 3, 4], [5, 6]]
    assert set(session.threads) == {threading.get_ident()}
    made.close()


def test_in_the_event_loop_too_a_bad_instance_fails_alone_and_a_late_or_cancelled_one_is_not_run() -> None:
    async def ask(made: Batcher, session: Slow) -> list[Any]:
        now = snapshot(session)
        for value in range(SEEN):
            await asked(made, now, value)
        session.runs.clear()
        gone, late = made.enqueue(now, pixel(8)), made.enqueue(now, pixel(9), 0.0)
        gone.cancel()
        told = await asked(made, now, 1, BAD)
        return [*told, late.exception()]

    session, ears = Slow(), Ears()
    made = Batcher(4, ears, Ticks(1e-9))
    made.start()
    good, bad, late = asyncio.run(ask(made, session))
    assert good == [1] and isinstance(bad, BrokenBundle) and isinstance(late, Overloaded)
    assert (session.runs, ears.late) == ([[1, BAD], [1], [BAD]], 1)
    made.close()


def test_a_slow_model_never_holds_the_event_loop_up() -> None:
    async def ask(made: Batcher, session: Slow) -> list[Any]:
        now = snapshot(session)
        for value in range(SEEN):
            await asked(made, now, value)
        session.let.clear()
        answer = asyncio.ensure_future(asked(made, now, 7))
        await asyncio.to_thread(until, lambda: session.runs[-1] == [7])
        told = [await asyncio.to_thread(int, turn) for turn in range(20)]  # the loop goes on while the model runs
        assert told == list(range(20)) and not answer.done()
        session.let.set()
        return await answer

    session, made = Slow(), Batcher(4, Ears(), Ticks(2 * INLINE_SECONDS))
    made.start()
    assert asyncio.run(ask(made, session)) == [[7]]
    assert threading.get_ident() not in session.threads
    made.close()


def paced(*runs: tuple[int, float]) -> bool:
    pace = Pace()
    for size, seconds in runs:
        pace.ran(size, seconds)
    return pace.inline


def test_a_model_is_quick_once_enough_runs_say_so_and_slow_as_soon_as_one_does() -> None:
    quick, slow = (1, INLINE_SECONDS / 2), (1, SLOW_SECONDS * 2)
    assert not paced(*[quick] * (SEEN - 1))
    assert paced(*[quick] * SEEN)
    assert paced(*[slow] * SEEN, quick), "a busy machine makes runs longer, never shorter"
    assert not paced(*[(8, INLINE_SECONDS * 2)] * SEEN)
    assert not paced(*[(1, INLINE_SECONDS / 2)] * (SEEN - 1), (64, INLINE_SECONDS * 32)), "its batches are slow"
    assert not paced(*[quick] * SEEN, slow)
    assert not paced(*[quick] * SEEN, slow, *[quick] * (SEEN - 2))
    assert paced(*[quick] * SEEN, slow, *[quick] * (SEEN - 1))


def test_more_than_may_wait_is_refused_and_leaving_makes_room() -> None:
    room = Admission(3, "instances")
    with room.of(2), pytest.raises(Unavailable, match="2 instances wait already, of 3"), room.of(2):
        pass
    with room.of(3):
        pass


def test_a_request_larger_than_the_cap_may_enter_an_empty_room() -> None:
    room = Admission(3, "instances")
    with room.of(5), pytest.raises(Unavailable), room.of(1):
        pass
