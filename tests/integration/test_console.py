"""The console in a real browser over a home with scenes: what is shown is true, what is pressed is done, and nothing
leaves this machine."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from core.home import Home
from core.lease import LEARNER, TRAINER, acquire, release
from core.workers import Worker
from tests import pico
from tests.browsing import Browser
from tests.processes import House, house
from tests.waiting import until


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("console") / "home") as made:
        home = made.open()
        solder = pico.register(home, "solder")
        pico.another(home, solder.scene, 1)
        pico.another(home, solder.scene, 2)
        pico.register(home, "height", task="regression")
        home.close()
        made.start_console()
        yield made


def test_scenes_are_shown_and_nothing_is_asked_of_another_place(browser: Browser, origin: str) -> None:
    with browser.window(origin) as window:
        page = window.open("/")
        assert page.locator(".scene h2").all_inner_texts() == ["height", "solder"]
        assert "3 classes" in page.locator(".scene", has_text="solder").inner_text()
        page.get_by_role("link", name="solder").click()
        page.wait_for_selector("text=Side by side")
        assert page.locator("tbody tr").count() == 3
        window.clean()


def test_versions_are_promoted_and_rolled_back_by_hand(browser: Browser, origin: str, stored: Home) -> None:
    first, _, third = stored.registry.versions("solder")
    with browser.window(origin) as window, browser.window(origin) as other:
        page, beside = window.open("/scenes/solder/versions"), other.open("/scenes/solder/versions")
        page.get_by_label("Version", exact=True).select_option(third.version)
        page.get_by_role("button", name="Promote", exact=True).click()
        page.locator(".dialog").get_by_role("button", name="Promote").click()
        page.wait_for_selector("text=version 3 is champion")
        assert stored.registry.champion("solder").version == third.version  # type: ignore[union-attr]
        beside.wait_for_selector("tr.chosen :text('3 ')")
        page.get_by_role("button", name="Roll back to version 1").click()
        page.locator(".dialog").get_by_role("button", name="Roll back").click()
        beside.wait_for_selector("text=Version 1 became champion again")
        assert stored.registry.champion("solder").version == first.version  # type: ignore[union-attr]
        window.clean()
        other.clean()


def test_what_somebody_else_changed_meanwhile_is_not_overwritten(browser: Browser, origin: str, stored: Home) -> None:
    _, second, _ = stored.registry.versions("solder")
    alias = stored.registry.champion("solder")
    assert alias is not None
    with browser.window(origin) as window:
        page = window.open("/scenes/solder/versions")
        page.get_by_label("Version", exact=True).select_option(second.version)
        page.get_by_role("button", name="Promote", exact=True).click()
        page.wait_for_selector(".dialog")
        stored.registry.promote(
            "solder", alias.version, expected_generation=alias.generation, head=lambda: None, action="promote"
        )
        page.locator(".dialog").get_by_role("button", name="Promote").click()
        page.wait_for_selector("text=read the scene again")
        assert stored.registry.champion("solder").version == alias.version  # type: ignore[union-attr]


def test_a_challenge_begins_and_stops(browser: Browser, origin: str, stored: Home) -> None:
    second = stored.registry.versions("solder")[1]
    with browser.window(origin) as window:
        page = window.open("/scenes/solder/versions")
        page.get_by_text("Let it challenge").click()
        page.get_by_label("Version", exact=True).select_option(second.version)
        page.get_by_label("How").select_option("split")
        page.get_by_label("Share of the traffic, %").fill("25")
        page.get_by_role("button", name="Begin").click()
        page.wait_for_selector("text=Version 2 challenges")
        held = stored.challenges.of("solder")
        assert held is not None and (held.version, held.mode, held.share) == (second.version, "split", 0.25)
        page.get_by_role("button", name="Stop the challenge").click()
        until(lambda: stored.challenges.of("solder") is None)
        page.wait_for_selector("text=challenges no more")
        window.clean()


def test_a_process_that_is_down_is_said_so_and_healed(browser: Browser, origin: str, stored: Home) -> None:
    ledger = stored.ledger.database
    with browser.window(origin) as window:
        page = window.open("/scenes/solder/versions")
        page.wait_for_selector("text=The service is down.")
        assert page.locator(".light.down").count() == 3
        held = [acquire(ledger, name, "tests", 60.0) for name in (LEARNER, TRAINER)]
        worker = Worker(host="here", pid=1, worker="1")
        stored.workers.beat(worker)
        page.wait_for_function("() => document.querySelectorAll('.light.up').length === 3")
        page.wait_for_selector("text=The service is down.", state="detached")
        stored.workers.leave(worker)
        for lease in held:
            assert lease is not None
            release(ledger, lease)
        page.wait_for_function("() => document.querySelectorAll('.light.down').length === 3")
        page.wait_for_selector("text=The service is down.")


def test_what_is_not_there_is_said_with_what_to_do(browser: Browser, origin: str) -> None:
    with browser.window(origin) as window:
        page = window.open("/scenes/nowhere/versions")
        assert "there is no scene 'nowhere'" in page.locator(".empty").inner_text()
    assert httpx.get(f"{origin}/scenes/nowhere/versions", trust_env=False).status_code == 404


def test_pages_are_reached_by_the_keyboard_alone(browser: Browser, origin: str) -> None:
    with browser.window(origin) as window:
        page = window.open("/")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the page"
        seen = []
        for _ in range(8):
            page.keyboard.press("Tab")
            seen.append(page.evaluate("document.activeElement.getAttribute('href')"))
        assert {"/", "/new", "/jobs", "/scenes/solder/versions"} <= set(seen)


def test_a_bundle_is_taken_away_whole(origin: str, stored: Home) -> None:
    version = stored.registry.versions("solder")[0].version
    told = httpx.get(f"{origin}/scenes/solder/versions/{version}/bundle.zip", trust_env=False)
    assert told.status_code == 200
    assert "attachment" in told.headers["content-disposition"]
    assert httpx.get(f"{origin}/scenes/solder/versions/none/bundle.zip", trust_env=False).status_code == 404


def test_an_address_that_is_no_page_is_answered_in_the_same_house(browser: Browser, origin: str) -> None:
    assert httpx.get(f"{origin}/nowhere/at/all", trust_env=False).status_code == 404
    with browser.window(origin) as window:
        page = window.open("/nowhere/at/all")
        page.get_by_role("link", name="the scenes").click()
        page.wait_for_selector("h1:has-text('Scenes')")
