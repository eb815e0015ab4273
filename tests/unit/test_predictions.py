"""The prediction log: what is found, what is dropped by age and by size, what is erased."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
from sqlalchemy.exc import IntegrityError

from core.config import DatabaseSettings
from core.database import open_predictions
from core.errors import InvalidInput
from core.ids import prediction_id, scene_of, uuid7
from core.predictions import PredictionLog
from core.types import Prediction
from tests.homes import SCENE, example_of, prediction_of

DAY = 86_400.0


@pytest.fixture
def log(tmp_path: Path, url: str) -> Iterator[PredictionLog]:
    made = PredictionLog(open_predictions(tmp_path, DatabaseSettings(url=url)))
    yield made
    made.database.close()


def logged(number: int, *, name: str | None = None, at: float | None = None, size: int = 0) -> Prediction:
    instance = Random(number).randbytes(size) if size else None  # PostgreSQL would fold up what repeats itself
    when = float(number) if at is None else at
    return prediction_of(name or f"picture {number}", f"{SCENE}:{number:032x}", at=when, instance=instance)


def ids(log: PredictionLog, count: int) -> list[int]:
    found = log.find(f"{SCENE}:{number:032x}" for number in range(count))
    return sorted(int(name.split(":")[1], 16) for name in found)


def test_a_prediction_is_found_as_it_was_written(log: PredictionLog) -> None:
    sent = logged(1, size=64)
    bare = replace(logged(2), value=0.25, label=None)
    log.append([sent, bare])
    found = log.find([sent.prediction_id, bare.prediction_id, "ward:nobody"])
    assert set(found) == {sent.prediction_id, bare.prediction_id}
    for before in (sent, bare):
        after = found[before.prediction_id]
        assert np.array_equal(after.features, before.features) and after.features.dtype == np.int16
        assert replace(after, features=before.features) == before
    assert log.instance(sent.example) == sent.instance
    assert log.instance(bare.example) is None


def test_the_same_input_twice_is_kept_once(log: PredictionLog) -> None:
    log.append([logged(1, name="a", size=40), logged(2, name="a", size=40)])
    with log.database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*), max(seen_at) FROM instances").one() == (1, 2.0)


def test_a_group_is_written_whole_or_not_at_all(log: PredictionLog) -> None:
    nameless = replace(logged(2), scene=None)  # type: ignore[arg-type]
    with pytest.raises(IntegrityError, match=r"(?i)not.null"):
        log.append([logged(1, size=40), nameless])
    assert ids(log, 5) == [] and log.instance(logged(1).example) is None


def test_a_group_that_is_sent_again_changes_nothing(log: PredictionLog) -> None:
    log.append([logged(1), logged(2)])
    log.append([replace(logged(1), label="dog"), logged(3)])
    assert ids(log, 5) == [1, 2, 3]
    assert log.find([logged(1).prediction_id])[logged(1).prediction_id].label == "cat"


def test_more_ids_than_a_page_are_found(log: PredictionLog) -> None:
    log.append([logged(number) for number in range(1203)])
    assert ids(log, 1300) == list(range(1203))


def test_the_newest_come_first_and_each_example_once(log: PredictionLog) -> None:
    log.append([logged(1, name="a"), logged(2, name="b"), logged(3, name="a"), logged(4, name="c")])
    log.append([replace(logged(5, name="d"), scene="other")])
    assert [p.created_at for p in log.recent(SCENE, 2)] == [4.0, 3.0]
    assert [p.example for p in log.recent(SCENE, 9)] == [example_of(name) for name in "cab"]


def test_an_example_that_is_asked_again_and_again_hides_no_other(log: PredictionLog) -> None:
    log.append([logged(1, name="a"), *(logged(number, name="b") for number in range(2, 40))])
    assert [(p.example, p.created_at) for p in log.recent(SCENE, 2)] == [
        (example_of("b"), 39.0),
        (example_of("a"), 1.0),
    ]


def test_the_old_are_dropped_by_age(log: PredictionLog) -> None:
    log.append([logged(n, at=n * DAY, size=40) for n in range(10)])
    assert log.retain(days=3.5, megabytes=100, now=9 * DAY) == 12  # six predictions and their inputs
    assert ids(log, 10) == [6, 7, 8, 9]
    assert log.instance(example_of("picture 5")) is None
    assert log.instance(example_of("picture 6")) is not None


def test_an_input_that_was_seen_again_stays_with_its_last_prediction(log: PredictionLog) -> None:
    log.append([logged(1, name="a", at=0.0, size=40)])
    log.append([logged(2, name="a", at=5 * DAY, size=40)])
    log.retain(days=3, megabytes=100, now=6 * DAY)
    assert ids(log, 3) == [2]
    assert log.instance(example_of("a")) is not None


def test_the_oldest_are_dropped_by_size(log: PredictionLog) -> None:
    for start in range(0, 1500, 100):
        log.append([logged(n, size=2000) for n in range(start, start + 100)])
    log.retain(days=1e6, megabytes=2.5, now=0.0)
    left = ids(log, 1500)
    assert left == list(range(1000, 1500))
    assert log._used_bytes() <= 2.5 * 2**20
    log.retain(days=1e6, megabytes=0.0, now=0.0)
    assert ids(log, 1500) == []


def test_erasing_examples_takes_their_predictions_and_inputs(log: PredictionLog) -> None:
    log.append([logged(1, name="a", size=40), logged(2, name="a"), logged(3, name="b", size=40)])
    assert log.erase([example_of("a"), example_of("nobody")]) == 2
    assert ids(log, 5) == [3]
    assert log.instance(example_of("a")) is None and log.instance(example_of("b")) is not None
    assert log.erase([]) == 0


def test_a_prediction_id_names_its_scene() -> None:
    assert scene_of(prediction_id(SCENE)) == SCENE
    for wrong in ("ward", "ward:1", f"Ward:{1:032x}", f"ward:{1:032x}\n", f"ward:{1:032X}z"):
        with pytest.raises(InvalidInput):
            scene_of(wrong)


def test_ids_made_later_sort_later_and_say_version_seven() -> None:
    made = [uuid7(at) for at in (1.0, 1.5, 1e9, 2e9)]
    assert made == sorted(made)
    assert all(name[14] == "7" and name[19] in "89ab" and len(name) == 36 for name in made)
