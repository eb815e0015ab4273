"""Labelling in the console: by keys, with what comes of each label, and files of labels out and in."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from console.learned import Label, newest
from core.home import Home
from core.ids import prediction_id
from core.types import Prediction, Scene
from tests import pico, sounds
from tests.answers import answered, shape
from tests.browsing import PHONE, Browser, pictures, shoot
from tests.processes import House, house
from tests.waiting import until

HOSTILE = ("<script>alert(1)</script>", "{{7*7}}", "x" * 400, "\u05e9\u05dc\u05d5\u05dd")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(tmp_path_factory.mktemp("console") / "home") as made:
        home, now = made.open(), time.time()
        pico.register(home, "shapes")
        shapes = [(label, 3 * n + k) for n in range(12) for k, label in enumerate(pico.LABELS)]
        seen = {shape(label, number): label for label, number in shapes}
        answered(home, "shapes", list(seen), end=now, seconds=60.0)
        pico.register(home, "hostile", HOSTILE)
        answered(home, "hostile", [pico.picture(HOSTILE[0], 900)], end=now, seconds=0.0)
        pico.register(home, "height", task="regression")
        answered(home, "height", [pico.picture("circle", 700 + number) for number in range(2)], end=now, seconds=1.0)
        home.close()
        made.start_console()
        yield made


def labels(home: Home, scene: str = "shapes") -> list[Label]:
    return newest(home, scene, "", 100)


def test_labels_are_given_by_keys_and_what_comes_of_them_is_seen(browser: Browser, origin: str, stored: Home) -> None:
    with browser.window(origin) as window:
        page = window.open("/scenes/shapes/label")
        page.wait_for_selector("text=The learner is down.")
        first = page.locator(".look img").get_attribute("src")
        assert first is not None
        page.get_by_label("Signed by").fill("ann s1")
        page.get_by_label("Signed by").press("1")
        assert page.locator(".look img").get_attribute("src") == first, "keys that are typed press nothing"
        page.locator("h1").click()
        page.keyboard.press("2")
        page.wait_for_selector(".newest li:has-text('square')")
        page.wait_for_function(
            "(first) => document.querySelector('.look img').getAttribute('src') !== first", arg=first
        )
        (label,) = labels(stored)
        assert (label.said, label.annotator, f"/inputs/{label.example}") == ("square", "ann s11", first)
        page.wait_for_selector("text=the learner has not taken it in yet")
        learnt = pico.learn(stored)
        page.wait_for_selector(f"text=served since revision {learnt.number} of version 1")
        page.keyboard.press("u")
        page.wait_for_selector(f".look img[src='{first}']")
        until(lambda: labels(stored) == [])
        page.keyboard.press("s")
        page.wait_for_function(
            "(first) => document.querySelector('.look img').getAttribute('src') !== first", arg=first
        )
        window.clean()


def test_the_curve_moves_with_the_labels(browser: Browser, origin: str, stored: Home, tmp_path: Path) -> None:
    truth = {
        hashlib.sha256(shape(label, 3 * n + k)).hexdigest(): k for n in range(12) for k, label in enumerate(pico.LABELS)
    }
    with browser.window(origin) as window, browser.window(origin, PHONE, "dark") as phone:
        page = window.open("/scenes/shapes/label")
        for count in range(1, 15):
            seen = page.locator(".look img").get_attribute("src")
            assert seen is not None
            page.keyboard.press(str(1 + truth[seen.removeprefix("/inputs/")]))
            page.wait_for_function("(old) => document.querySelector('.look img').getAttribute('src') !== old", arg=seen)
            until(lambda count=count: len(labels(stored)) == count)  # type: ignore[misc]
            if count in (5, 14):
                pico.learn(stored)
        page.wait_for_selector("figure:has-text('newest 14.')")
        page.wait_for_selector("text=the learner has not taken it in yet", state="detached")
        page.mouse.move(0, 0)
        shoot(window, pictures(tmp_path) / "labelling-at-work.png")
        small = phone.open("/scenes/shapes/label")
        small.wait_for_selector("figure:has-text('newest 14.')")
        assert small.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than a phone"
        window.clean()
        phone.clean()


def test_files_of_labels_go_out_and_come_in(browser: Browser, origin: str, stored: Home, tmp_path: Path) -> None:
    kept = labels(stored)
    with browser.window(origin) as window:
        page = window.open("/scenes/shapes/label")
        page.get_by_text("Labels as files").click()
        for form, words in (("csv", "Download as CSV"), ("json", "Download for Label Studio")):
            with page.expect_download() as waited:
                page.get_by_role("link", name=words).click()
            file = tmp_path / f"labels.{form}"
            waited.value.save_as(file)
            page.locator(".drop input").set_input_files(file)
            page.wait_for_selector(f".notice:has-text('{len(kept)} duplicate')")
            page.reload()
            page.wait_for_function("() => window.did_handshake === true")
            page.get_by_text("Labels as files").click()
        file.write_text("no labels")
        page.locator(".drop input").set_input_files(file)
        page.wait_for_selector("text=the file is no JSON")
        assert labels(stored) == kept
    assert httpx.get(f"{origin}/scenes/shapes/labels.xml", trust_env=False).status_code == 404


def test_a_value_is_said_and_hostile_labels_are_words(browser: Browser, origin: str, stored: Home) -> None:
    with browser.window(origin) as window:
        page = window.open("/scenes/hostile/label")
        buttons = page.locator(".answers button")
        assert [text[:20] for text in buttons.all_inner_texts()] == [label[:20] for label in HOSTILE]
        page.keyboard.press("2")
        page.wait_for_selector("text=Nothing to label")
        page.wait_for_selector(".newest b:has-text('{{7*7}}')")
        assert labels(stored, "hostile")[0].said == HOSTILE[1]
        page = window.open("/scenes/height/label")
        page.get_by_label("What is it?").fill("0.5")
        page.get_by_label("What is it?").press("Enter")
        page.wait_for_selector(".newest b:has-text('0.5')")
        assert labels(stored, "height")[0].said == "0.5"
        window.clean()


def test_texts_sounds_and_inputs_of_several_parts_are_shown(browser: Browser, origin: str, stored: Home) -> None:
    both = json.dumps({"image": {"b64": base64.b64encode(shape("circle", 1)).decode()}, "text": HOSTILE[0]})
    given = {"text": HOSTILE[3].encode(), "audio": sounds.wav(1), "image+text": both.encode()}
    for place, (modality, data) in enumerate(given.items()):
        stored.registry.declare(
            Scene(name=f"kind-{place}", task="classification", modality=modality, labels=("a", "b"))
        )
        stored.predictions.append([prediction(f"kind-{place}", data)])
    with browser.window(origin) as window:
        page = window.open("/scenes/kind-0/label")
        assert page.locator(".look blockquote").inner_text() == HOSTILE[3]
        page = window.open("/scenes/kind-1/label")
        page.wait_for_function("() => document.querySelector('.look audio').duration > 0.7")
        page = window.open("/scenes/kind-2/label")
        page.wait_for_function("() => document.querySelector('.look img').naturalWidth === 160")
        assert page.locator(".look blockquote").inner_text() == HOSTILE[0]
        page.keyboard.press("2")
        page.wait_for_selector(".newest b:has-text('b')")
        page.wait_for_selector("text=Nothing to label")
        assert labels(stored, "kind-2")[0].said == "b"
        page = window.open("/scenes/kind-2/try")
        page.wait_for_selector("text=No version yet")
        window.clean()


def test_a_sound_is_recorded_and_a_mixture_is_put_together(browser: Browser, origin: str, stored: Home) -> None:
    head = stored.registry.first_head("shapes", stored.registry.versions("shapes")[0].version)
    assert head is not None
    for name, modality in (("voices", "audio"), ("cases", "image+text")):
        stored.registry.declare(Scene(name=name, task="classification", modality=modality, labels=("a", "b")))
        stored.registry.register(name, hashlib.sha256(name.encode()).hexdigest(), {"files": {}}, head)
    with browser.window(origin) as window:
        page = window.open("/scenes/voices/try")
        page.get_by_role("button", name="Record a sound").click()
        page.wait_for_function("() => document.querySelector('[data-record]').ariaPressed === 'true'")
        page.wait_for_function("() => (window.began ??= performance.now()) + 300 < performance.now()")
        page.get_by_role("button", name="Stop, and hand it over").click()
        page.wait_for_selector("audio.seen[src^='data:audio/wav']")
        page.wait_for_selector("b:has-text('recording.wav')")
        page.wait_for_selector("text=nothing answers there")
        page = window.open("/scenes/cases/try")
        assert page.locator("h3").all_inner_texts() == ["Picture may be left out", "Text may be left out"]
        page.get_by_label("Text", exact=True).fill("a case")
        page.get_by_role("button", name="Ask").click()
        page.wait_for_selector("text=nothing answers there")
        window.clean()


def prediction(scene: str, data: bytes) -> Prediction:
    """An answer to one input, of no version that is there."""
    return Prediction(
        prediction_id=prediction_id(scene),
        scene=scene,
        version="0" * 64,
        extractor="0" * 64,
        revision=0,
        example=hashlib.sha256(data).hexdigest(),
        features=np.zeros(4, np.int16),
        label="a",
        value=None,
        confidence=0.6,
        margin=0.2,
        created_at=time.time(),
        instance=data,
    )
