"""The access log as a file: whole lines, found again after a rotation, and no harm where it cannot be written."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest

from core.config import ServeSettings, Settings
from core.errors import BadConfiguration
from service.access_log import AccessLog, access_log
from service.run import environment


def numbers(file: Path) -> list[int]:
    return [json.loads(line)["number"] for line in file.read_text().splitlines()]


def settings(home: Path, **serve: str) -> Settings:
    return Settings(home=home, serve=ServeSettings(**serve))  # type: ignore[arg-type]


def test_every_line_is_in_the_file_as_soon_as_it_is_written(tmp_path: Path) -> None:
    log = AccessLog(tmp_path / "access.log")
    for number in range(3):
        log.write({"number": number})
        assert numbers(tmp_path / "access.log") == list(range(number + 1))
    log.close()


def test_two_writers_append_to_one_file(tmp_path: Path) -> None:
    one, other = AccessLog(tmp_path / "access.log"), AccessLog(tmp_path / "access.log")
    for number in range(6):
        (one if number % 2 else other).write({"number": number})
    assert numbers(tmp_path / "access.log") == list(range(6))
    one.close()
    other.close()


def test_a_file_that_was_rotated_away_is_made_anew(tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    log = AccessLog(file)
    log.write({"number": 1})
    file.rename(tmp_path / "access.log.1")
    log.write({"number": 2})
    file.unlink()
    log.write({"number": 3})
    assert (numbers(tmp_path / "access.log.1"), numbers(file)) == ([1], [3])
    log.close()


def test_a_log_that_cannot_be_written_says_so_once_and_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    log = AccessLog(folder / "access.log")
    folder.rename(tmp_path / "elsewhere")
    for number in range(5):
        log.write({"number": number})
    told = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage() for record in told] == ["the access log cannot be written: No such file or directory"]
    folder.mkdir()
    log.write({"number": 6})
    assert numbers(folder / "access.log") == [6]
    log.close()


def test_a_full_disk_stops_nobody(caplog: pytest.LogCaptureFixture) -> None:
    log = AccessLog(Path("/dev/full"))
    log.write({"number": 1})
    log.close()
    assert "No space left on device" in caplog.text


def test_the_file_is_readable_by_its_owner_and_group_only(tmp_path: Path) -> None:
    AccessLog(tmp_path / "access.log").close()
    assert os.stat(tmp_path / "access.log").st_mode & 0o007 == 0


def test_the_log_is_off_unless_it_is_asked_for(tmp_path: Path) -> None:
    assert access_log(settings(tmp_path)) is None
    assert access_log(settings(tmp_path, access_log_file="access.log")) is None
    assert not (tmp_path / "access.log").exists()


def test_a_file_that_cannot_be_opened_is_refused_before_the_service_starts(tmp_path: Path) -> None:
    wrong = settings(tmp_path, access_log="json", access_log_file="none/access.log")
    with pytest.raises(BadConfiguration, match=r"serve.access_log_file is .*none/access.log', which cannot be opened"):
        environment(wrong)
    with pytest.raises(BadConfiguration, match=r"serve\.access_log is 'on'"):
        settings(tmp_path, access_log="on")
