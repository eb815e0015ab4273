"""A child of a trainer: its limits, its log, and that nothing of it stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from core.job_files import log_of
from tests.waiting import until
from training.child import Child, Limits

ROOMY = Limits(processor_seconds=60, megabytes=4096, nice=3)
LOG = 64 * 1024


def child(folder: Path, what: str, limits: Limits = ROOMY) -> Child:
    return Child("tests.toil", [what, str(folder / "told")], folder / "1", limits, LOG, folder)


def ended(folder: Path, what: str, limits: Limits = ROOMY) -> int:
    made = child(folder, what, limits)
    code = made.wait(60)
    made.close()
    assert code is not None
    return code


def told(folder: Path) -> list[int]:
    until((folder / "told").is_file)
    return [int(word) for word in (folder / "told").read_text().split()]


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_it_gives_way_reads_nothing_and_has_a_folder_for_temporary_files(tmp_path: Path) -> None:
    assert ended(tmp_path, "tell") == 0
    assert (tmp_path / "told").read_text() == f"{os.nice(0) + 3} {tmp_path / '1' / 'tmp'} ''"
    assert not (tmp_path / "1" / "tmp").exists()


def test_the_last_of_what_it_prints_is_kept_within_the_cap(tmp_path: Path) -> None:
    assert ended(tmp_path, "print") == 0
    log = log_of(tmp_path / "1")
    assert LOG // 2 <= len(log) <= LOG
    assert log.endswith("line 19998\nline 19999\n") and "line 0\n" not in log


def test_more_memory_than_allowed_is_an_error_of_its_own(tmp_path: Path) -> None:
    assert ended(tmp_path, "remember", Limits(processor_seconds=60, megabytes=512, nice=0)) == 1
    assert "MemoryError" in log_of(tmp_path / "1")


def test_more_processor_time_than_allowed_ends_it(tmp_path: Path) -> None:
    assert ended(tmp_path, "spin", Limits(processor_seconds=1, megabytes=4096, nice=0)) == -signal.SIGXCPU


def test_it_tidies_up_when_it_is_told_to_end_and_takes_all_its_processes_along(tmp_path: Path) -> None:
    made = child(tmp_path, "wait")
    pids = told(tmp_path)
    assert not any(gone(pid) for pid in pids)
    made.close()
    assert (tmp_path / "told").read_text() == "tidied"
    until(lambda: all(gone(pid) for pid in pids))


@pytest.mark.parametrize("victim", ["trainer", "child"])
def test_nothing_stays_behind_when_somebody_is_killed(victim: str, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from tests.unit.test_child import child; "
        f"made = child(Path({str(tmp_path)!r}), 'wait'); made.wait(60); made.close()"
    )
    trainer = subprocess.Popen([sys.executable, "-c", code])
    pids = told(tmp_path)
    group = os.getpgid(pids[0])
    assert group != os.getpgid(trainer.pid)
    os.kill(trainer.pid if victim == "trainer" else pids[0], signal.SIGKILL)
    trainer.wait(20)
    until(lambda: all(gone(pid) for pid in pids) and not _members(group))


def _members(group: int) -> list[int]:
    found = []
    for process in psutil.process_iter():
        try:
            if os.getpgid(process.pid) == group and not gone(process.pid):
                found.append(process.pid)
        except ProcessLookupError:
            continue
    return found
