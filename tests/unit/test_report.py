"""The data report: lines, JSON and a page that hostile names cannot break."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from core.look.html import shown
from tests.pictures import class_folders, png, put, twin
from training.data import load
from training.page import CARDS, render, write
from training.report import DataReport, Finding

HOSTILE = "<img src=x onerror=alert(1)> \x1b[2J \"'& \u202e"


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def parsed(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    return tags


def one(finding: Finding, root: Path) -> DataReport:
    return DataReport(root=str(root), task="classification", seen=1, kept=0, findings=(finding,))


def test_a_report_that_loses_a_file_cannot_be_made() -> None:
    with pytest.raises(AssertionError):
        DataReport(root="", task="classification", seen=3, kept=2, findings=())


def test_an_input_of_a_person_is_named_and_not_shown(tmp_path: Path) -> None:
    put(tmp_path, "twin.png", png(1))
    put(tmp_path, "hers.png", png(1))
    finding = Finding(kind="duplicate", path="hers.png", dropped=True, detail="", other="twin.png")
    told = replace(one(finding, tmp_path), private=frozenset({"hers.png"}))
    assert [tag for tag, _ in parsed(render(told)).seen].count("img") == 1
    assert "so not shown" in render(told)


def test_the_lines_name_counts_and_files(tmp_path: Path) -> None:
    class_folders(tmp_path, {"cat": 5, "dog": 5})
    put(tmp_path, "cat/empty.png", b"")
    lines = load(tmp_path).report.lines()
    assert lines[0] == "11 inputs seen, 10 kept, 1 dropped (train 6, validation 2, test 2)"
    assert lines[1] == "  Empty file: 1, 1 dropped: cat/empty.png"


def test_lines_cannot_steer_a_terminal() -> None:
    finding = Finding(kind="empty", path=HOSTILE, dropped=True, detail="")
    assert all(character.isprintable() for line in one(finding, Path()).lines() for character in line)
    assert shown("é 日本 \x1b") == "é 日本 \\x1b"


def test_the_report_is_json_and_keeps_places_to_itself(tmp_path: Path) -> None:
    class_folders(tmp_path, {"cat": 4, "dog": 4})
    put(tmp_path, "dog/again.png", png(7))
    text = json.dumps(load(tmp_path).report.to_json())
    assert str(tmp_path) not in text
    told = json.loads(text)
    assert told["counts"] == {"duplicate": 1}
    assert told["kept"] + told["dropped"] == told["seen"] == 9


def test_hostile_names_are_text_on_the_page(tmp_path: Path) -> None:
    label = HOSTILE.replace("/", "_")
    class_folders(tmp_path, {label: 3, "</style><script>x<": 1})
    put(tmp_path, f"{label}/again.png", png(0))
    page = render(load(tmp_path).report)
    tags = parsed(page)
    assert {tag for tag, _ in tags.seen}.isdisjoint({"script", "iframe", "object", "link"})
    assert not [name for _, attrs in tags.seen for name in attrs if name.startswith("on")]
    assert "\x1b" not in page and "\u202e" not in page
    assert "&lt;img src=x onerror" in page


def test_the_page_needs_nothing_from_elsewhere_and_shows_thumbnails(tmp_path: Path) -> None:
    class_folders(tmp_path, {"cat": 4, "dog": 4})
    put(tmp_path, "cat/twin.jpg", twin(0))
    write(load(tmp_path).report, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    sources = [attrs["src"] or "" for tag, attrs in parsed(page).seen if tag == "img"]
    assert len(sources) == 2
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    assert not re.search(r"https?://|url\(", page)
    assert "prefers-color-scheme: dark" in page


def test_a_picture_that_went_away_costs_its_thumbnail_only(tmp_path: Path) -> None:
    put(tmp_path, "broken.png", b"x")
    finding = Finding(kind="twin", path="gone.png", dropped=True, detail="", other="broken.png")
    page = render(one(finding, tmp_path))
    assert ">gone</span>" in page and ">unreadable</span>" in page


def test_long_lists_are_cut_and_counted() -> None:
    findings = tuple(Finding(kind="empty", path=str(n), dropped=True, detail="") for n in range(CARDS + 5))
    page = render(DataReport(root="", task="regression", seen=len(findings), kept=0, findings=findings))
    assert page.count('class="card"') == CARDS
    assert "and 5 more" in page
