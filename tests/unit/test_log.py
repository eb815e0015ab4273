"""The prediction log's writer loses nothing on the way, and never holds predictions up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from core.database import open_predictions
from core.errors import Unavailable
from core.predictions import PredictionLog
from core.types import Prediction
from service.engine.log import LogSettings, LogWriter
from service.engine.record import Packed, packed, unpack
from tests.waiting import until


class Stubborn(PredictionLog):
    """A log that can be made to fail, as a full disk does, or for single predictions."""

    full = False
    hated = ""

    def append(self, batch: Sequence[Prediction]) -> None:
        if self.full:
            raise Unavailable("the disk is full", "free it")
        if any(prediction.prediction_id == self.hated for prediction in batch):
            raise ValueError("not this one")
        super().append(batch)

    def give(self, group: Sequence[Packed]) -> None:
        """Without a process of its own."""
        self.append([unpack(each) for each in group])


class Losses:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self, more: int) -> None:
        self.count += more


@pytest.fixture
def log(tmp_path: Path) -> Stubborn:
    return Stubborn(open_predictions(tmp_path))


def prediction(name: str, instance: bytes | None = b"picture") -> Prediction:
    return Prediction(
        prediction_id=name,
        scene="s",
        version="v",
        extractor="e",
        revision=1,
        example=name,
        features=np.arange(3, dtype=np.int16),
        label="a",
        value=None,
        confidence=0.5,
        margin=0.1,
        created_at=1.0,
        media="image/png",
        instance=instance,
    )


def waiting(name: str) -> Packed:
    return packed(prediction(name))


def test_what_was_put_is_found_before_and_after_it_is_written(log: Stubborn) -> None:
    writer = LogWriter(log, log.give, LogSettings(), Losses())
    writer.put([waiting("p1")])
    assert writer.find(["p1", "p2"])["p1"].instance == b"picture"
    assert log.find(["p1"]) == {}
    writer.start()
    writer.flush()
    assert writer.find(["p1"])["p1"].features.tolist() == [0, 1, 2]
    assert log.find(["p1"])["p1"].instance == b"picture"
    writer.close()


def test_a_full_disk_holds_nothing_up_and_what_waited_is_written_once_it_has_room(log: Stubborn) -> None:
    log.full, losses = True, Losses()
    writer = LogWriter(log, log.give, LogSettings(retry_seconds=0.01), losses)
    writer.start()
    writer.put([waiting(f"p{i}") for i in range(5)])
    with pytest.raises(Unavailable, match="wait for the disk"):
        writer.flush(0.05)
    assert writer.find(["p3"])["p3"].label == "a"
    log.full = False
    until(lambda: len(log.find([f"p{i}" for i in range(5)])) == 5)
    writer.close()
    assert losses.count == 0


def test_beyond_its_bound_predictions_are_lost_and_counted(log: Stubborn) -> None:
    losses = Losses()
    writer = LogWriter(log, log.give, LogSettings(most=3), losses)
    writer.put([waiting(f"p{i}") for i in range(5)])
    assert losses.count == 2
    writer.start()
    writer.close()
    assert set(log.find([f"p{i}" for i in range(5)])) == {"p0", "p1", "p2"}


def test_beyond_its_bytes_a_prediction_is_kept_without_its_input(log: Stubborn) -> None:
    writer = LogWriter(log, log.give, LogSettings(bytes_kept=10), Losses())
    writer.put([waiting("p1"), waiting("p2")])
    writer.start()
    writer.close()
    found = log.find(["p1", "p2"])
    assert (found["p1"].instance, found["p1"].media) == (b"picture", "image/png")
    assert (found["p2"].instance, found["p2"].media) == (None, "")


def test_a_prediction_that_cannot_be_written_takes_no_other_with_it(log: Stubborn) -> None:
    log.hated, losses = "p1", Losses()
    writer = LogWriter(log, log.give, LogSettings(), losses)
    writer.put([waiting(f"p{i}") for i in range(3)])
    writer.start()
    writer.close()
    assert set(log.find(["p0", "p1", "p2"])) == {"p0", "p2"}
    assert losses.count == 1


def test_what_cannot_be_written_at_the_end_is_counted_as_lost(log: Stubborn) -> None:
    log.full, losses = True, Losses()
    writer = LogWriter(log, log.give, LogSettings(retry_seconds=0.01), losses)
    writer.start()
    writer.put([waiting("p1")])
    writer.close()
    assert losses.count == 1


def test_old_rows_go_by_themselves(log: Stubborn) -> None:
    log.append([prediction("old")])
    writer = LogWriter(log, log.give, LogSettings(days=1, retention_seconds=0.01), Losses())
    writer.start()
    until(lambda: not log.find(["old"]))
    writer.close()
