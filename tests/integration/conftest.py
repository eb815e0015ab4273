"""One home with three scenes, and its service in this process, for every file of tests; and a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from core.config import ServeSettings, Settings
from core.home import Home, open_home
from service.api.application import application
from service.bootstrap import build
from tests import pico
from tests.asking import MOST
from tests.browsing import Browser, chromium
from tests.processes import House
from tests.waiting import until


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    service = ServeSettings(max_body_bytes=MOST, max_instances=4, poll_seconds=0.01)
    opened = open_home(Settings(home=tmp_path_factory.mktemp("home"), serve=service))
    pico.register(opened)
    pico.register(opened, "open", new_labels="accept")
    pico.register(opened, "height", task="regression")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def client(home: Home) -> Iterator[TestClient]:
    with TestClient(application(lambda: build(home.settings, 3), MOST), raise_server_exceptions=False) as made:
        until(lambda: made.get("/readyz").status_code == 200)
        yield made


@pytest.fixture(scope="module")
def heard() -> Path | None:
    """The WAV file that the browser's microphone hears, over and over; a beep where a file of tests names none."""
    return None


@pytest.fixture(scope="module")
def browser(heard: Path | None) -> Iterator[Browser]:
    """It has an event loop run in this thread as long as it is open, so no file leaves it to the next."""
    program = chromium()
    if program is None:
        pytest.skip("Chromium is not installed (as root: apt-get install chromium)")
    with Browser(program, heard) as made:
        yield made


@pytest.fixture
def origin(running: House) -> str:
    """Where the console answers that a file of tests has started."""
    return f"http://127.0.0.1:{running.console_port}"


@pytest.fixture
def stored(running: House) -> Iterator[Home]:
    """The home of the house that a file of tests has started, opened beside its processes."""
    opened = running.open()
    yield opened
    opened.close()
