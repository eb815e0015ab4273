"""Traffic in the console: charts of what the log holds, drift with its moments and examples, and what is not known."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from core.drift import DriftReading
from core.home import Home
from tests import pico
from tests.answers import answered, shape
from tests.browsing import PHONE, Browser
from tests.processes import House, house

WORDS = "<b>confidence</b> fell from 0.93 to 0.61"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("console") / "home") as made:
        home, now = made.open(), time.time()
        shapes = pico.register(home, "shapes")
        usual = [pico.picture(pico.LABELS[number**2 % 3], number) for number in range(240)]
        answered(home, "shapes", usual, end=now - 1200, seconds=2200.0)
        answered(home, "shapes", [shape("circle", number) for number in range(120)], end=now - 5, seconds=1100.0)
        pico.register(home, "quiet")
        drifts(home, shapes.version.version, now)
        home.close()
        made.start_console()
        yield made


def drifts(home: Home, version: str, now: float) -> None:
    """Windows of ten minutes; the last one has drifted."""
    told = [
        DriftReading(
            scene="shapes",
            version=version,
            detector=detector,
            number=number,
            value=value + place / 8,
            words=WORDS if value > 1 else "nothing moved",
            until=now - 600 * (6 - number),
            at=now - 600 * (6 - number) + 1,
        )
        for place, detector in enumerate(("confidence", "inputs"))
        for number, value in enumerate((0.4, 0.55, 0.45, 0.6, 1.7), 1)
    ]
    home.drift.keep(told)


def test_charts_show_what_was_answered_and_when_it_drifted(browser: Browser, origin: str) -> None:
    with browser.window(origin) as window:
        page = window.open("/scenes/shapes/traffic")
        page.wait_for_selector("text=360 answers in the last hour")
        names = {figure.get_attribute("aria-label") for figure in page.locator("figure svg").all()}
        told = {"answers a second", "mean probability, %", "share of answers, %", "drift, in times its limit"}
        assert names == told
        assert page.locator(".history li").count() == 2
        assert WORDS in page.locator(".history li").first.inner_text()
        assert page.locator(".thumb img").count() == 8
        broken = "() => [...document.images].filter((each) => each.complete && !each.naturalWidth).length"
        assert page.evaluate(broken) == 0
        page.wait_for_selector("text=the service cannot be reached")
        page.get_by_label("Over the last").select_option("600")
        page.wait_for_selector("text=in the last 10 minutes")
        window.clean()


def test_answers_that_come_appear_and_no_traffic_is_said_so(browser: Browser, origin: str, stored: Home) -> None:
    with browser.window(origin, PHONE, "dark") as window:
        page = window.open("/scenes/quiet/traffic")
        page.wait_for_selector("text=No traffic")
        page.wait_for_selector("text=No detector has alarmed")
        answered(stored, "quiet", [pico.picture("circle")], end=time.time(), seconds=0.0)
        page.wait_for_selector("text=1 answer in the last hour")
        page = window.open("/scenes/shapes/traffic")
        page.wait_for_selector("figure svg")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than a phone"
        window.clean()
