"""The batcher gathers without waiting, never mixes snapshots, and lets a bad instance fail alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from core.errors import BrokenBundle, LeptonError, Unavailable
from core.modality.image import PicturePreprocessor
from core.preprocess import Limits, Row
from core.session import Output, Session
from core.types import Head, Scene
from service.engine.admission import Admission
from service.engine.batcher import Batcher
from service.engine.snapshot import Snapshot
from tests.waiting import until

BAD, ENDLESS = 13, 14


class Slow(Session):
    """A session that answers a picture's first pixel, when it is let; pixel BAD makes a run fail."""

    def __init__(self) -> None:
        self.runs: list[list[int]] = []
        self.let = threading.Event()
        self.let.set()

    def predict(self, inputs: Mapping[str, NDArray[Any]], head: Head | None = None) -> Output:
        first = [int(pixel) for pixel in inputs["image"][:, 0, 0, 0]]
        self.runs.append(first)
        assert self.let.wait(20), "the test forgot to let the model go on"
        if BAD in first:
            raise RuntimeError("this picture breaks the model")
        values = [np.inf if pixel == ENDLESS else pixel for pixel in first]
        return Output(np.array(values, np.float32)[:, None], np.zeros((len(first), 4), np.int16))


class Ears:
    def __init__(self) -> None:
        self.sizes: list[int] = []

    def waited(self, seconds: float) -> None:
        assert seconds >= 0

    def ran(self, scene: str, size: int, seconds: float) -> None:
        self.sizes.append(size)


def snapshot(session: Session) -> Snapshot:
    return Snapshot(
        scene=Scene(name="s", task="classification", modality="image"),
        version="v",
        revision=0,
        session=session,
        head=None,
        labels=("a",),
        sequence=0,
        extractor="e",
        preprocessor=PicturePreprocessor((1, 1), Limits()),
    )


def pixel(value: int) -> Row:
    return Row({"image": np.full((1, 1, 3), value, np.uint8)})


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
