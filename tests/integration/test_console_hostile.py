"""Whatever names come with the data, they are words: on every page of the console, and in everything it gives out."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient
from playwright.sync_api import Page as Shown
from prometheus_client.parser import text_string_to_metric_families

from console.contract import Page, of_scene, pages
from core import label_studio
from core.home import Home
from core.label_files import from_csv, said_of
from lepton.main import run
from service.api.application import application
from service.bootstrap import build
from tests import pico
from tests.asking import MOST, instance
from tests.browsing import DESK, PHONE, Browser
from tests.hostile import NAMES, PICTURES, PRODUCT, ROWS, TEXTS, fill, texts_of
from tests.processes import House, house
from tests.waiting import until

SCENES = (PICTURES, ROWS, TEXTS)
DONE = """() => ({
  hit: window.hit,
  scripts: [...document.scripts].filter((each) => each.textContent.startsWith('window.hit')).length,
  pictures: [...document.images].filter((each) => each.getAttribute('src') === 'x').length,
  handlers: [...document.querySelectorAll('*')].filter((each) =>
    [...each.attributes].some((one) => one.name.startsWith('on'))).length,
  words: document.body.innerText,
})"""
WIDE = "document.documentElement.scrollWidth - innerWidth"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with house(fill(tmp_path_factory.mktemp("hostile"))) as made:
        made.start_console()
        yield made


def paths(page: Page, home: Home) -> list[str]:
    """Where a page is seen: of a scene, for all three."""
    name = page.__name__.rpartition(".")[2]  # type: ignore[attr-defined]
    if of_scene(page):
        versions = {scene: home.registry.champion(scene) for scene in SCENES}
        return [page.ROUTE.format(scene=s, version=a.version) for s, a in versions.items() if a is not None]
    if name == "look":
        return [page.ROUTE.format(job=home.jobs.listed(kind="inspect")[0].id)]
    if name == "job":
        return [page.ROUTE.format(job=job.id) for job in home.jobs.listed(PICTURES, "adapt")]
    return [page.ROUTE]


def inert(shown: Shown, where: str) -> str:
    """Nothing was done, nothing was computed and nothing is out of its place; returns the words of the page."""
    told = shown.evaluate(DONE)
    done = {name: told[name] for name in ("hit", "scripts", "pictures", "handlers")}
    assert done == {"hit": None, "scripts": 0, "pictures": 0, "handlers": 0}, where
    words: str = told["words"]
    assert PRODUCT not in words, where
    assert "\u202e" not in words, f"{where} lets a name turn the words around"
    for size in (DESK, PHONE):
        shown.set_viewport_size({"width": size[0], "height": size[1]})
        assert shown.evaluate(WIDE) <= 0, f"{where} is too wide for {size[0]} pixels"
    shown.set_viewport_size({"width": DESK[0], "height": DESK[1]})
    return words


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.__name__.rpartition(".")[2])
def test_names_are_words_on_every_page(page: Page, browser: Browser, origin: str, stored: Home) -> None:
    with browser.window(origin) as window:
        window.page.on("dialog", lambda dialog: window.errors.append(dialog.message))
        words = [inert(window.open(path), path) for path in paths(page, stored)]
        window.clean()
    if page.ROUTE not in {"/", "/new"}:  # where nothing is told that came with data
        assert any("<script>" in each or "{{7*7*20609}}" in each for each in words), "no name is on the page"


def test_labels_that_are_said_and_what_is_answered_are_words_at_once(browser: Browser, origin: str) -> None:
    with browser.window(origin) as window:
        window.page.on("dialog", lambda dialog: window.errors.append(dialog.message))
        page = window.open(f"/scenes/{ROWS}/label")
        for name in NAMES[:4]:
            asked = page.locator(".look").inner_text()
            page.get_by_label("or a new label").fill(f"{name}!")
            page.get_by_role("button", name="Say it").last.click()
            page.wait_for_function("(old) => document.querySelector('.look').innerText !== old", arg=asked)
            inert(page, "labelling")
        page.get_by_text("Labels as files").click()
        page.locator(".drop input").set_input_files({"name": f"{NAMES[0]}.csv"[:90].replace("/", ""), "mimeType": "",
                                                     "buffer": NAMES[0].encode()})  # fmt: skip
        page.wait_for_selector(".notice")
        inert(page, "a file of labels that is none")
        window.clean()


class Tags(HTMLParser):
    """What elements and attributes there are."""

    def __init__(self, told: str) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(told)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}


def test_reports_are_words(browser: Browser, running: House) -> None:
    reports = [file for file in running.home.rglob("*.html") if "cache" not in file.parts]
    assert len(reports) >= 3, "one about data and one about all else of the table, one of the look at pictures"
    told = ""
    with browser.window("file://") as window:
        window.page.on("dialog", lambda dialog: window.errors.append(dialog.message))
        for file in reports:
            text = file.read_text(encoding="utf-8")
            tags = Tags(text)
            assert tags.seen.isdisjoint({"script", "iframe", "object", "embed", "base", "form"}), file
            assert not [name for name in tags.attributes if name.startswith("on")], file
            window.page.goto(file.as_uri())
            told += inert(window.page, file.name)
        assert window.errors == []
    assert "<script>" in told and "{{7*7*20609}}" in told


def test_labels_go_out_as_words_and_come_back_as_they_were(
    origin: str, running: House, stored: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    said = {(each.label, each.annotator) for each in said_of(stored, stored.registry.scene(PICTURES))}
    assert {label for label, _ in said} == set(NAMES[:5])
    monkeypatch.setenv("LEPTON_HOME", str(running.home))
    for form in ("csv", "json"):
        text = httpx.get(f"{origin}/scenes/{PICTURES}/labels.{form}", trust_env=False).content.decode()
        file = tmp_path / f"labels.{form}"
        kind = "csv" if form == "csv" else "label-studio"
        assert run(["labels", "export", PICTURES, str(file), "--format", kind]) == 0
        assert file.read_bytes().decode() == text
        back = from_csv(text) if form == "csv" else label_studio.read(stored.registry.scene(PICTURES), text)
        assert {(each.label, each.annotator) for each in back} == said
    cells = [cell for row in csv.reader(io.StringIO((tmp_path / "labels.csv").read_text(), newline="")) for cell in row]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))], "a sheet would compute it"
    assert "<" not in (tmp_path / "labels.json").read_text()
    capsys.readouterr()
    assert run(["labels", "held", PICTURES]) == 0
    assert all(sign.isprintable() or sign == "\n" for sign in capsys.readouterr().out)


def test_a_bundle_and_its_card_are_words(origin: str, stored: Home) -> None:
    alias = stored.registry.champion(ROWS)
    assert alias is not None
    told = httpx.get(f"{origin}/scenes/{ROWS}/versions/{alias.version}/bundle.zip", trust_env=False)
    with zipfile.ZipFile(io.BytesIO(told.content)) as packed:
        assert all(re.fullmatch(r"[a-z0-9-]+/[a-z_]+\.[a-z]+", name) for name in packed.namelist()), packed.namelist()
        held = {name.partition("/")[2]: packed.read(name) for name in packed.namelist()}
    card = held["card.md"].decode()
    plain = re.sub(r"`[^`]*`", "", card)
    assert "<" not in plain and "{{" not in plain, "outside of code no name is told"
    assert all(sign.isprintable() or sign == "\n" for sign in card)
    assert set(NAMES) <= set(json.loads(held["manifest.json"])["labels"])
    assert {NAMES[1], NAMES[2], NAMES[5]} <= set(texts_of(held["schema.json"].decode()))


def test_no_name_becomes_a_metric_s_label(stored: Home) -> None:
    with TestClient(application(lambda: build(stored.settings, 1), MOST)) as client:
        until(lambda: client.get("/readyz").status_code == 200)
        for name in NAMES:
            given = {"scene": PICTURES, "instance": instance(pico.picture(name, 500)), "label": name}
            told = client.post("/v1/feedback", json=given | {"annotator": f"{name.isprintable() and name}"[:200]})
            assert told.status_code == 202, told.text
            row = {"instances": [{"features": {NAMES[1]: name, NAMES[5]: name, NAMES[2]: 1e9, name[:50]: 1}}]}
            client.post(f"/v1/scenes/{ROWS}/predict", json=row)
            client.get(f"/v1/scenes/{name[:50]}/versions")
        text = client.get("/metrics").text
    values = {value for family in text_string_to_metric_families(text) for each in family.samples
              for value in each.labels.values()}  # fmt: skip
    assert {PICTURES, ROWS, "unseen"} <= values
    assert not [value for value in values if not re.fullmatch(r"[a-z0-9_.+{}/:-]*", value, re.IGNORECASE)]
    assert not [value for value in values for name in NAMES if name[:30] in value]
