"""Data handed to the console, and a training watched in it: the job's rows are told here as a trainer tells them."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from core import candidates
from core.home import Home
from core.jobs import Hold
from tests.browsing import Browser, Window
from tests.pictures import png
from tests.processes import House, house
from tests.waiting import until

RESULT = {
    "seen": 5, "kept": 4, "dropped": 1, "classes": 2, "task": "classification", "modality": "image", "tasks": {},
    "splits": {"train": 3, "validation": 0, "test": 1}, "largest": {"cat": 2, "dog": 2}, "found": {"corrupt": 1},
    "remark": "labels looked at by lite0: 3 of 3", "backbones": ["efficientnet_lite0"],
}  # fmt: skip


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("console") / "home") as made:
        made.open().close()
        made.start_console()
        yield made


def claim(home: Home) -> Hold:
    hold = until(lambda: home.jobs.claim("tests", 600.0))
    assert hold is not None
    home.progress.begin(hold.job.id)
    return hold


def texts(window: Window, where: str) -> list[str]:
    return window.page.locator(where).all_inner_texts()


def test_from_the_first_page_to_a_look_at_data_and_a_training(
    browser: Browser, origin: str, stored: Home, tmp_path: Path
) -> None:
    archive = tmp_path / "pets.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for number, label in enumerate(("cat", "cat", "dog", "dog")):
            packed.writestr(f"pets/{label}/{number}.png", png(number))
    with browser.window(origin) as window:
        page = window.open("/")
        page.get_by_role("link", name="Make the first scene").click()
        page.get_by_label("Name of the scene").fill("pets")
        page.get_by_role("button", name="Look at the data").click()
        page.wait_for_selector("text=there are no data yet")
        page.locator("input[type=file]").first.set_input_files(archive)
        page.wait_for_selector("text=1 received")
        page.get_by_role("button", name="Look at the data").click()
        page.wait_for_url("**/new/*")
        hold = claim(stored)
        data = Path(hold.job.request["data"])
        assert sorted(each.name for each in data.iterdir()) == ["cat", "dog"]
        stored.progress.stage(hold.job.id, "reading and checking the data")
        page.wait_for_selector(".present:has-text('reading and checking the data')")
        stored.jobs.finish(hold, RESULT)
        page.wait_for_selector("text=labels looked at by lite0")
        page.get_by_label("How").select_option("closed_form")
        page.get_by_label("Budget, minutes").fill("0.5")
        page.get_by_label("Backbone").select_option("efficientnet_lite0")
        page.get_by_label("Labels that are new later").select_option("accept")
        page.get_by_role("button", name="Start training").click()
        page.wait_for_url("**/jobs/*")
        (filed,) = stored.jobs.listed("pets", "adapt")
        asked = {"recipe": "closed_form", "budget": 30.0, "backbones": ["efficientnet_lite0"], "new_labels": "accept"}
        assert asked.items() <= filed.request.items()
        stored.jobs.cancel(filed.id)
        page.wait_for_selector("text=It was cancelled.")
        window.clean()


def test_a_reload_and_a_second_window_show_the_same_training(browser: Browser, origin: str, stored: Home) -> None:
    filed = stored.jobs.file("adapt", "films", {"scene": "films"})
    with browser.window(origin) as window, browser.window(origin) as other:
        page = window.open(f"/jobs/{filed.id}")
        page.wait_for_selector("text=The trainer is down.")
        hold = claim(stored)
        tell = stored.progress
        tell.stage(filed.id, "reading and checking the data")
        tell.stage(filed.id, "choosing a backbone")
        tell.advance(filed.id, 1, 4)
        candidates.tell(lambda *told: tell.metric(filed.id, *told), "lite0 <b>", score=0.9, low=0.8, high=0.95)
        page.wait_for_selector("td:has-text('lite0 <b>')")
        beside = other.open(f"/jobs/{filed.id}")
        page.reload()
        page.wait_for_selector("td:has-text('lite0 <b>')")
        for where in (".road li", "tbody tr"):
            assert texts(window, where) == texts(other, where)
        assert len(texts(window, ".road .to-come")) == 4
        for step in range(3):
            tell.metric(filed.id, "loss", step, 1 / (step + 1))
        for each in (page, beside):
            each.wait_for_selector("figure svg[aria-label='loss, nats']")
        page.get_by_role("button", name="Cancel the job").click()
        page.locator(".dialog").get_by_role("button", name="Cancel the job").click()
        until(lambda: stored.jobs.find(filed.id).cancel_asked)
        for each in (page, beside):
            each.wait_for_selector(".chip:has-text('being stopped')")
        stored.jobs.finish(hold, {})
        for each in (page, beside):
            each.wait_for_selector("text=It was cancelled.")
        window.clean()
        other.clean()


def test_several_jobs_are_seen_at_once_each_as_far_as_it_is(browser: Browser, origin: str, stored: Home) -> None:
    first, second = (stored.jobs.file("adapt", name, {"scene": name}) for name in ("line-1", "line-2"))
    holds = [claim(stored), claim(stored)]
    for hold, done in zip(holds, (1, 3), strict=True):
        stored.progress.stage(hold.job.id, "extracting features")
        stored.progress.advance(hold.job.id, done, 4)
    with browser.window(origin) as window:
        page = window.open("/jobs")
        page.wait_for_selector("text=(1 of 4)")
        page.wait_for_selector("text=(3 of 4)")
        stored.jobs.fail(holds[0], "the disk is full → free it", again=False)
        page.wait_for_selector(".chip.bad")
        page.wait_for_selector("td:has-text('the disk is full')")
        assert page.locator(".jobs .scene").count() == 1
        stored.jobs.cancel(second.id)
    stored.jobs.finish(holds[1], {})
    assert first.id != second.id


def test_an_upload_is_taken_from_the_console_s_own_pages_alone(origin: str) -> None:
    for headers in ({}, {"origin": "http://evil.example"}):
        told = httpx.post(f"{origin}/uploads/{'0' * 32}?path=a", content=b"x", headers=headers, trust_env=False)
        assert told.status_code == 403
    own = httpx.post(f"{origin}/uploads/{'0' * 32}?path=a", content=b"x", headers={"origin": origin}, trust_env=False)
    assert own.status_code == 404
