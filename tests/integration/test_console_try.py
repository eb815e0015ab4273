"""Trying a scene in the console: an input, the service's answer, what it should have been; and the service away.

A sound is recorded from the browser's microphone, which hears a file of ours.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from console.learned import newest
from core.home import Home
from tests import pico, readings, rows, several, sounds
from tests.answers import shape
from tests.browsing import PHONE, Browser, pictures, shoot
from tests.pictures import put
from tests.processes import House, house


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(several.adapted(tmp_path_factory.mktemp("console"))) as made:
        home = made.open()
        pico.register(home, "shapes", new_labels="accept")
        rows.register(home, "plain")
        rows.register(home, "value", task="regression")
        readings.register_sounds(home, "tones")
        home.close()
        made.start_console()
        yield made


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A high tone, as a sound card would hear it."""
    tone = np.concatenate([sounds.tone(number, 1) for number in range(60, 64)])
    return put(tmp_path_factory.mktemp("heard"), "high.wav", sounds.encoded(tone))


def test_a_service_that_is_away_is_said_so_and_then_it_answers(
    browser: Browser, origin: str, running: House, stored: Home, tmp_path: Path
) -> None:
    (tmp_path / "one.png").write_bytes(shape("circle", 3))
    (tmp_path / "no.png").write_bytes(b"<script>alert(1)</script>")
    with browser.window(origin) as window:
        page = window.open("/scenes/shapes/try")
        page.wait_for_selector("text=The service is down.")
        page.get_by_role("button", name="Ask").click()
        page.wait_for_selector("text=nothing was given yet")
        page.locator(".drop input").set_input_files(tmp_path / "no.png")
        page.wait_for_selector("text=are not a picture in an accepted format")
        page.locator(".drop input").set_input_files(tmp_path / "one.png")
        page.wait_for_selector("img.seen[src^='data:image/png']")
        page.wait_for_selector("text=nothing answers there")
        running.start_service(workers=1)
        page.wait_for_selector("text=The service is down.", state="detached")
        page.get_by_role("button", name="Ask").click()
        page.wait_for_selector(".verdict")
        assert page.locator(".chances tr").count() == 3
        assert "version 1, revision 0" in page.locator("#page").inner_text()
        page.get_by_label("That was wrong: it is").fill("<i>rhombus</i> {{7*7}}")
        page.get_by_role("button", name="Teach it").click()
        page.wait_for_selector("b:has-text('<i>rhombus</i> {{7*7}}')")
        page.wait_for_selector("text=the learner has not taken it in yet")
        pico.learn(stored, "shapes")
        page.wait_for_selector("text=served since revision 1 of version 1")
        (label,) = newest(stored, "shapes", "", 5)
        assert (label.said, label.annotator) == ("<i>rhombus</i> {{7*7}}", "console")
        shoot(window, pictures(tmp_path) / "try_it-picture.png")
        window.clean()


def test_a_row_is_put_together_from_the_columns(browser: Browser, origin: str, stored: Home, tmp_path: Path) -> None:
    with browser.window(origin) as window:
        page = window.open("/scenes/plain/try")
        page.get_by_label("income").fill("1e9")
        page.get_by_label("job").select_option("nurse")
        page.get_by_label("since").fill("2015-03-02")
        page.get_by_role("button", name="Ask").click()
        page.wait_for_selector(".verdict")
        odd = page.locator(".warning", has_text="Out of the ordinary").inner_text()
        assert "out of range: income" in odd
        assert "missing: age, town" in odd
        shoot(window, pictures(tmp_path) / "try_it-table.png")
        page.get_by_role("button", name="It was right").click()
        page.wait_for_selector("text=It is told:")
        page.get_by_text("or paste the row as JSON").click()
        page.get_by_label("Row as JSON").fill('{"nonsense": 1}')
        page.get_by_role("button", name="Ask").click()
        page.wait_for_selector(".notice:has-text('nonsense')")
        assert len(newest(stored, "plain", "", 5)) == 1
        window.clean()


def test_a_value_is_answered_and_taught_on_a_phone(browser: Browser, origin: str, stored: Home) -> None:
    with browser.window(origin, PHONE, "dark") as window:
        page = window.open("/scenes/value/try")
        page.get_by_label("age").fill("40")
        page.get_by_role("button", name="Ask").click()
        page.wait_for_selector(".verdict")
        page.get_by_label("That was wrong: it is").fill("0.25")
        page.get_by_role("button", name="Teach it").click()
        page.wait_for_selector("text=It is told:")
        assert newest(stored, "value", "", 5)[0].said == "0.25"
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than a phone"
        page = window.open("/scenes/value/traffic")
        page.wait_for_selector("td:has-text('whole requests, all scenes')")
        page.wait_for_selector("figure svg[aria-label='time of a request, ms']")
        window.clean()


def test_a_sound_is_recorded_and_answered(browser: Browser, origin: str, stored: Home, tmp_path: Path) -> None:
    with browser.window(origin) as window:
        page = window.open("/scenes/tones/try")
        page.get_by_role("button", name="Record a sound").click()
        page.wait_for_function("() => document.querySelector('[data-record]').ariaPressed === 'true'")
        page.wait_for_function("() => (window.began ??= performance.now()) + 1200 < performance.now()")
        page.get_by_role("button", name="Stop, and hand it over").click()
        page.wait_for_selector("audio.seen[src^='data:audio/wav']")
        page.wait_for_selector(".verdict")
        assert page.locator(".chances tr").count() == 2
        page.get_by_label("That was wrong: it is").select_option("high")
        page.get_by_role("button", name="Teach it").click()
        page.wait_for_selector("text=It is told:")
        shoot(window, pictures(tmp_path) / "try_it-sound.png")
        (label,) = newest(stored, "tones", "", 5)
        window.clean()
    assert label.said == "high"
    wave_N, rate = soundfile.read(io.BytesIO(stored.evidence.input(label.example or "") or b""))
    assert len(wave_N) > rate, "all of it is there"
    loudest = np.abs(np.fft.rfft(wave_N)).argmax() * rate / len(wave_N)
    assert 470 < loudest < 530, "as it was played: a voice's filter would take a tone away"


def test_every_task_is_answered_and_taught_by_itself(
    browser: Browser, origin: str, stored: Home, tmp_path: Path
) -> None:
    with browser.window(origin) as window:
        page = window.open(f"/scenes/{several.SCENE}/try")
        page.get_by_label("income").fill("4100")
        page.get_by_label("age").fill("38")
        page.get_by_label("job").select_option("farmer")
        page.get_by_role("button", name="Ask").click()
        page.wait_for_selector(f"h3:has-text('{several.SECOND}')")
        assert page.locator("h3").all_inner_texts() == [several.FIRST, several.SECOND]
        label, value = page.locator(".verdict").all_inner_texts()
        assert label.split()[0] in rows.LABELS and abs(float(value)) < 5
        assert page.locator(".chances tr").count() == 2
        shoot(window, pictures(tmp_path) / "try_it-tasks.png")
        page.get_by_label("That was wrong: it is").nth(1).fill("0.75")
        page.get_by_role("button", name="Teach it").nth(1).click()
        page.wait_for_selector("b:has-text('0.75')")
        assert [each.said for each in newest(stored, several.SCENE, several.SECOND, 5)] == ["0.75"]
        assert newest(stored, several.SCENE, several.FIRST, 5) == []
        page = window.open(f"/scenes/{several.SCENE}/label")
        page.get_by_label("Task").select_option(several.SECOND)
        page.wait_for_selector("h2:has-text('Live error')")
        window.clean()
