"""The process that writes the prediction log: what is handed over is written, whoever dies meanwhile."""

from __future__ import annotations

import io
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import msgspec
import psutil
import pytest

from core.config import DatabaseSettings
from core.database import open_predictions
from core.errors import Unavailable
from core.predictions import PredictionLog
from service.engine.log import LogSettings, LogWriter
from service.engine.record import Packed, Record, pack, packed
from service.engine.scribe import PART, NotWritten, Order, Place, Scribe, Told, work
from service.identity import Content
from tests.homes import prediction_of
from tests.waiting import until

MORTAL = """
import sys
sys.stdin.buffer.read(int.from_bytes(sys.stdin.buffer.read(4), "little"))
sys.stdout.buffer.write(bytes.fromhex(sys.argv[1]))
sys.stdout.buffer.flush()
sys.stdin.buffer.read(1)
"""  # greets, and dies of the first order


def frame(message: object) -> bytes:
    data = msgspec.msgpack.encode(message)
    return len(data).to_bytes(4, "little") + data


class Mortal(Scribe):
    """Dies of every group."""

    command = (sys.executable, "-c", MORTAL, frame(Told()).hex())


@pytest.fixture
def log(tmp_path: Path) -> PredictionLog:
    return PredictionLog(open_predictions(tmp_path))


@pytest.fixture
def scribe(tmp_path: Path) -> Iterator[Callable[..., Scribe]]:
    made: list[Scribe] = []

    def make(kind: type[Scribe] = Scribe) -> Scribe:
        made.append(kind(tmp_path, DatabaseSettings()))
        return made[-1]

    yield make
    for each in made:
        each.close()


def names(count: int, start: int = 0) -> list[str]:
    return [f"s:{number:032x}" for number in range(start, start + count)]


def group_of(listed: Sequence[str]) -> list[Packed]:
    return [packed(prediction_of(name, name, at=5.0, instance=name.encode())) for name in listed]


def killed(scribe: Scribe) -> None:
    assert scribe.pid is not None
    process = psutil.Process(scribe.pid)
    process.kill()
    until(lambda: dead(process))


def dead(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:  # and somebody has waited for it
        return True


def written(log: PredictionLog, told: Sequence[str]) -> bool:
    return set(log.find(told)) == set(told)


def test_groups_of_any_size_are_in_the_log_when_the_call_returns(
    log: PredictionLog, scribe: Callable[..., Scribe]
) -> None:
    mine, told = scribe(), names(3 * PART + 1)
    mine.append(group_of(told[:1]))
    mine.append(group_of(told))  # the first one again: it is kept as it is
    found = log.find(told)
    assert set(found) == set(told)
    assert found[told[-1]].instance == told[-1].encode() and found[told[-1]].media == "image/png"


def test_it_loads_no_model_runtime(scribe: Callable[..., Scribe]) -> None:
    mine = scribe()
    row = Record("s:1", "s", "v", "e", 1, "", b"", "a", None, 1.0, 1.0, "", 0.0, "champion")
    row.content = Content("tabular", {"age": 31})
    mine.append([pack(row, None)])
    mapped = {Path(each.path).name for each in psutil.Process(mine.pid).memory_maps()}
    assert any("sqlite" in name for name in mapped) and not any("onnxruntime" in name for name in mapped)


def test_one_that_is_killed_is_started_again(log: PredictionLog, scribe: Callable[..., Scribe]) -> None:
    mine, told = scribe(), names(2)
    mine.append(group_of(told[:1]))
    killed(mine)
    mine.append(group_of(told[1:]))
    assert set(log.find(told)) == set(told)


def test_one_that_dies_of_a_group_says_so_and_the_next_one_takes_it(
    log: PredictionLog, scribe: Callable[..., Scribe]
) -> None:
    mine = scribe(Mortal)
    with pytest.raises(Unavailable, match="has ended"):
        mine.append(group_of(names(1)))
    mine.command = Scribe.command
    mine.append(group_of(names(1)))
    assert set(log.find(names(1))) == set(names(1))


def test_behind_the_queue_nothing_is_lost_where_it_is_killed(log: PredictionLog, scribe: Callable[..., Scribe]) -> None:
    mine, lost = scribe(), list[int]()
    mine.start()
    writer = LogWriter(log, mine.append, LogSettings(linger=0.01, retry_seconds=0.01), lost.append)
    writer.start()
    for start in range(0, 300, 100):
        writer.put(group_of(names(100, start)))
        until(partial(written, log, names(start + 1)))
        killed(mine)
    writer.put(group_of(names(1, 300)))
    writer.close()
    assert set(log.find(names(301))) == set(names(301)) and not lost


def test_what_cannot_be_written_is_told_from_what_is_worth_trying_again(
    log: PredictionLog, scribe: Callable[..., Scribe]
) -> None:
    mine = scribe()
    with pytest.raises(NotWritten, match="Error"):
        mine.append([Packed("s:1", b"\xc1", None)])
    before = mine.pid
    mine.append(group_of(names(1)))
    assert mine.pid == before and set(log.find(names(1))) == set(names(1))


def test_rows_that_kill_it_twice_are_given_up(scribe: Callable[..., Scribe]) -> None:
    mine = scribe(Mortal)
    with pytest.raises(Unavailable):
        mine.append(group_of(names(1)))
    with pytest.raises(NotWritten, match="dies of it"):
        mine.append(group_of(names(1)))


def test_a_process_that_cannot_be_had_loses_nothing_however_often_it_is_tried(scribe: Callable[..., Scribe]) -> None:
    class Missing(Scribe):
        command = (sys.executable, "-c", "raise SystemExit(3)")

    class Nowhere(Scribe):
        command = ("/nowhere/at-all",)

    for kind, why in ((Missing, "exit status 3|Broken pipe"), (Nowhere, "No such file")):
        mine = scribe(kind)
        mine.start()
        for _ in range(3):
            with pytest.raises(Unavailable, match=why):
                mine.append(group_of(names(1)))


def test_a_log_that_cannot_be_opened_is_worth_trying_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    mine = Scribe(tmp_path / "file" / "home", DatabaseSettings())
    with pytest.raises(Unavailable, match="exit status 1"):
        mine.append(group_of(names(1)))
    mine.close()


def test_it_ends_with_its_pipe_and_by_no_signal(scribe: Callable[..., Scribe]) -> None:
    mine = scribe()
    mine.append(group_of(names(1)))
    assert mine.pid is not None
    process = psutil.Process(mine.pid)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        process.send_signal(number)
    mine.append(group_of(names(2)))
    assert process.is_running()
    mine.close()
    assert not process.is_running() and mine.pid is None


def test_of_a_worker_that_is_killed_all_that_was_handed_over_whole_is_written(
    tmp_path: Path, log: PredictionLog
) -> None:
    told, answers = names(5), io.BytesIO()
    whole = frame(Order(1)) + frame(group_of(told[:3]))
    half = frame(Order(2)) + frame(group_of(told[3:4])) + frame(group_of(told[4:]))[:-1]
    work(io.BytesIO(frame(Place(str(tmp_path), DatabaseSettings())) + whole + half), answers)
    assert set(log.find(told)) == set(told[:3])
    assert answers.getvalue() == 2 * frame(Told())  # the greeting, and the whole group


def test_one_that_is_given_nothing_ends() -> None:
    answers = io.BytesIO()
    work(io.BytesIO(b""), answers)
    assert answers.getvalue() == b""
