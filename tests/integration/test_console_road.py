"""From an empty home to a model that serves and is replaced by a better one, by the console alone: real processes, real
digits, packaged weights."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from tests.browsing import Browser, Window
from tests.processes import House, house
from tests.waiting import until

MINUTES = 8 * 60.0
CLASSES = {0: "zero", 1: "one", 7: "seven"}
EACH = 14


def digits() -> dict[str, list[bytes]]:
    """Pictures of each class, large enough for a picture model."""
    told = load_digits()
    made: dict[str, list[bytes]] = {name: [] for name in CLASSES.values()}
    for pixels, target in zip(told.images, told.target, strict=True):
        name = CLASSES.get(int(target))
        if name is not None and len(made[name]) < 2 * EACH:
            grey = Image.fromarray((255 - pixels * 15).astype(np.uint8)).resize((48, 48), Image.Resampling.BICUBIC)
            file = io.BytesIO()
            grey.convert("RGB").save(file, "PNG")
            made[name].append(file.getvalue())
    return made


def packed(file: Path, pictures: dict[str, list[bytes]]) -> Path:
    with zipfile.ZipFile(file, "w") as archive:
        for name, contents in pictures.items():
            for number, content in enumerate(contents[:EACH]):
                archive.writestr(f"digits/{name}/{number}.png", content)
    return file


def train(window: Window, archive: Path, backbone: str) -> None:
    """Hand the data over, look at them, start, and wait for the end."""
    page = window.open("/new")
    page.get_by_label("Name of the scene").fill("digits")
    page.locator("input[type=file]").first.set_input_files(archive)
    page.wait_for_selector("text=1 received")
    page.get_by_role("button", name="Look at the data").click()
    page.wait_for_selector("text=Start training", timeout=1000 * MINUTES)
    assert "labels looked at by efficientnet_lite0" in page.locator("#page").inner_text()
    page.get_by_label("How").select_option("closed_form")
    page.get_by_label("Backbone").select_option(backbone)
    page.get_by_role("button", name="Start training").click()
    page.wait_for_selector(".chip.good:has-text('done')", timeout=1000 * MINUTES)
    page.get_by_role("link", name="version ").first.wait_for()


def answered(running: House, pictures: dict[str, list[bytes]]) -> tuple[set[str], float]:
    """The versions that answered, and the share of right answers to pictures that nobody has seen."""
    right, versions = 0, set[str]()
    rest = [(name, content) for name, contents in pictures.items() for content in contents[EACH:]]
    for name, content in rest:
        told = httpx.post(
            f"{running.url}/v1/scenes/digits/predict",
            content=content,
            headers={"content-type": "image/png"},
            trust_env=False,
        ).json()
        versions.add(told["version"])
        right += told["predictions"][0]["label"] == name
    return versions, right / len(rest)


def _try_and_label(window: Window, folder: Path, pictures: dict[str, list[bytes]]) -> None:
    """Show the model a picture, then label the first of those that it was asked about."""
    shown = folder / "seven.png"
    shown.write_bytes(pictures["seven"][EACH])
    page = window.open("/scenes/digits/try")
    page.locator("input[type=file]").first.set_input_files(shown)
    page.get_by_role("button", name="Ask").click()
    page.wait_for_selector("#page:has-text('revision')")
    page = window.open("/scenes/digits/label")
    asked = page.locator(".look img").get_attribute("src")
    assert asked is not None
    page.keyboard.press("1")
    page.wait_for_function("(old) => document.querySelector('.look img').getAttribute('src') !== old", arg=asked)
    page.wait_for_selector("text=served since revision", timeout=1000 * MINUTES)


@pytest.mark.slow
@pytest.mark.timeout(2 * MINUTES)
def test_from_an_empty_home_to_a_promoted_model_without_a_command_line(browser: Browser, tmp_path: Path) -> None:
    pictures = digits()
    archive = packed(tmp_path / "digits.zip", pictures)
    with house(tmp_path / "home") as running:
        origin = running.start_console()
        running.start_trainer()
        running.start_learner()
        with browser.window(origin) as window:
            page = window.open("/")
            page.wait_for_selector("text=No scene yet")
            train(window, archive, "efficientnet_lite0")
            running.start_service(workers=1)
            page = window.open("/")
            page.wait_for_function("() => document.querySelectorAll('.light.up').length === 3")
            first, share = answered(running, pictures)
            assert share > 0.7
            _try_and_label(window, tmp_path, pictures)
            train(window, archive, "efficientnet_lite1")
            page = window.open("/scenes/digits/versions")
            assert page.locator("tbody tr").count() == 2
            page.get_by_role("button", name="Promote", exact=True).click()
            page.locator(".dialog").get_by_role("button", name="Promote").click()
            page.wait_for_selector("text=Version 2 became champion", timeout=1000 * MINUTES)
            until(lambda: answered(running, pictures)[0].isdisjoint(first), 60)
            assert answered(running, pictures)[1] > 0.7
            page.get_by_role("button", name="Roll back to version 1").click()
            page.locator(".dialog").get_by_role("button", name="Roll back").click()
            until(lambda: answered(running, pictures)[0] == first, 60)
            window.clean()
