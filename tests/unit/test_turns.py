"""Turns at preparing: never more than there are places, over threads and processes, and nobody waits for the dead."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from service.engine.turns import Turns
from tests.waiting import until

HOLD = """
import sys
from pathlib import Path
from service.engine.turns import Turns
with Turns(Path(sys.argv[1]), 1).one(lambda: False):
    print("held", flush=True)
    sys.stdin.read()
"""


def never() -> bool:
    return False


@pytest.mark.parametrize("places", [1, 2, 3])
def test_never_more_than_there_are_places_prepare_at_a_time(tmp_path: Path, places: int) -> None:
    lock, inside, most, done = threading.Lock(), 0, 0, 0
    gate = threading.Barrier(places)

    def prepare() -> None:
        nonlocal inside, most, done
        with Turns(tmp_path, places).one(never):
            with lock:
                inside += 1
                most = max(most, inside)
            gate.wait(20)  # all places are taken at once, or this breaks
            with lock:
                inside -= 1
                done += 1

    threads = [threading.Thread(target=prepare) for _ in range(4 * places)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert (most, done) == (places, 4 * places)


def test_the_turn_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        taken = threading.Event()

        def wait() -> None:
            with Turns(tmp_path, 1).one(never):
                taken.set()

        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not taken.wait(0.2)
        holder.kill()
        until(taken.is_set)
        waiting.join()


def test_who_is_to_stop_waits_no_longer(tmp_path: Path) -> None:
    stop, went = threading.Event(), threading.Event()

    def wait() -> None:
        with Turns(tmp_path, 1).one(stop.is_set):
            went.set()

    with Turns(tmp_path, 1).one(never):
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not went.wait(0.1)
        stop.set()
        until(went.is_set)
    waiting.join()


def test_a_folder_that_is_gone_holds_nobody_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Turns(tmp_path / "gone", 1).one(never):
        assert "no turn can be taken" in caplog.text
