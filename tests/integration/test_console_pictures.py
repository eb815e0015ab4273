"""Every page of the console in light and dark, at a desk and on a phone: it fits, names its axes, and loads nothing.

Pictures are written to the folder that ``LEPTON_PICTURES`` names (``make pictures``: docs/console), else nowhere that
stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import httpx
import pytest

from console.contract import pages
from core import candidates
from core.home import Home
from core.job_files import folder_of, report_of
from tests import console_home
from tests.asking import PNG
from tests.browsing import DESK, PHONE, Browser, pictures, shoot
from tests.processes import House, house

LOOKS: tuple[tuple[str, tuple[int, int], Literal["light", "dark"]], ...] = (
    ("light", DESK, "light"),
    ("dark", DESK, "dark"),
    ("phone", PHONE, "light"),
)
PREDICT = f"/v1/scenes/{console_home.SCENE}/predict"
FITS = """() => [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1
  && !e.closest('.scroll, .tabs, pre, .unseen, .skip')).map(e => e.tagName + '.' + e.className).slice(0, 5)"""
NAMELESS = """() => [...document.querySelectorAll('button, a, input, select, textarea')].filter(e =>
  !e.closest('[hidden]') && !e.textContent.trim() && !e.ariaLabel && !(e.labels && e.labels.length)
).map(e => e.outerHTML.slice(0, 120))"""
CHARTS = """() => [...document.querySelectorAll('figure svg')].map(e => [e.getAttribute('aria-label'),
  [...e.querySelectorAll('text')].map(t => t.textContent)])"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("console") / "home", LEPTON_SERVE_LOG_PREDICTIONS="false") as made:
        home = made.open()
        console_home.fill(home)
        home.close()
        made.start_console()
        made.start_service(workers=1)
        with httpx.Client(base_url=made.url, headers=PNG, trust_env=False, timeout=30.0) as client:
            for number in range(40):
                answer = client.post(PREDICT, content=console_home.joint("good", 9000 + number))
                assert answer.status_code == 200, answer.text
        yield made


def parts(home: Home) -> dict[str, str]:
    return {
        "scene": console_home.SCENE,
        "version": home.registry.versions(console_home.SCENE)[-1].version,
        "job": home.jobs.listed(kind="adapt", states=("running",))[0].id,
    }


@pytest.mark.slow
@pytest.mark.parametrize("page", pages(), ids=lambda page: page.__name__.rpartition(".")[2])
def test_a_page_fits_everywhere_and_names_what_it_shows(page: object, browser: Browser, running: House) -> None:
    name, route = page.__name__.rpartition(".")[2], page.ROUTE  # type: ignore[attr-defined]
    home = running.open()
    told = parts(home)
    if name == "look":
        told["job"] = home.jobs.listed(kind="inspect", states=("done",))[0].id
    home.close()
    folder = pictures(running.home.parent)
    for look, size, scheme in LOOKS:
        with browser.window(f"http://127.0.0.1:{running.console_port}", size, scheme) as window:
            opened = window.open(route.format(**told))
            assert opened.evaluate(FITS) == [], f"{name} is too wide for {look}"
            assert opened.evaluate(NAMELESS) == []
            for label, words in opened.evaluate(CHARTS):
                assert label in words, f"a chart of {name} does not name its axis {label}"
            shoot(window, folder / f"{name}-{look}.png")
            window.clean()


@pytest.mark.slow
def test_the_home_is_as_full_as_the_pictures_claim(running: House) -> None:
    home = running.open()
    told = parts(home)
    assert len(candidates.candidates(home.progress.metrics(told["job"]))) >= 3
    assert folder_of(home.settings.home, told["job"], 1).joinpath("log").is_file()
    assert report_of(home.settings.home, home.jobs.listed(kind="inspect")[0].id).is_file()
    home.close()
