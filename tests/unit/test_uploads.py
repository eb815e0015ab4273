"""What people hand to the console: nothing lands outside its folder, and nothing unfolds beyond its bounds."""

from __future__ import annotations

import asyncio
import stat
import zipfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.uploads import KEPT_SECONDS, Uploads, root_of, safe, unpack
from core.config import Settings
from core.console_settings import ConsoleSettings
from core.errors import InvalidInput, NotFound, TooLarge
from core.home import Home, open_home

MOST = 2**20


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = open_home(Settings(home=tmp_path / "home", console=ConsoleSettings(upload_megabytes=1.0, upload_files=3)))
    yield made
    made.close()


async def parts(*given: bytes) -> AsyncIterator[bytes]:
    for part in given:
        yield part


def take(uploads: Uploads, name: str, path: str, *given: bytes) -> None:
    asyncio.run(uploads.take(name, path, parts(*given)))


def zipped(file: Path, **contents: bytes) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return file


@given(
    st.text(st.characters(codec="utf-8"), max_size=40)
    | st.lists(st.sampled_from(["..", ".", "", "a", "C:", "b.png"])).map("/".join)
)
def test_a_path_stays_below_its_folder_or_is_refused(path: str) -> None:
    root = Path("/data/uploads/one")
    try:
        found = safe(path)
    except InvalidInput:
        return
    assert (root / found).resolve().is_relative_to(root)
    assert (root / found) != root


def test_files_arrive_as_they_are_and_the_data_begin_where_classes_do(home: Home) -> None:
    uploads = Uploads(home)
    name = uploads.begin()
    take(uploads, name, "pets/cat/1.png", b"one", b"two")
    take(uploads, name, "pets/dog/1.png", b"")
    folder = uploads.close(name)
    assert folder.name == "pets"
    assert (folder / "cat" / "1.png").read_bytes() == b"onetwo"


def test_a_zip_is_unpacked_and_a_table_in_it_is_the_data(home: Home, tmp_path: Path) -> None:
    uploads = Uploads(home)
    name = uploads.begin()
    archive = zipped(
        tmp_path / "a.zip", **{"films/films.csv": b"image,label\n", "films/1.png": b"x", "__MACOSX/q": b"y"}
    )
    take(uploads, name, "a.zip", archive.read_bytes())
    found = uploads.close(name)
    assert found.name == "films.csv"
    assert sorted(each.name for each in found.parent.parent.iterdir()) == ["films"]


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", "C:/x", "a//b", "a/\0b", "", "a" * 300, "x\n"])
def test_what_leads_elsewhere_is_refused_and_nothing_is_written(home: Home, path: str) -> None:
    uploads = Uploads(home)
    name = uploads.begin()
    with pytest.raises(InvalidInput):
        take(uploads, name, path, b"data")
    assert not list((home.settings.home / "uploads" / name).iterdir())


def test_more_bytes_or_files_than_allowed_are_refused_as_they_come(home: Home) -> None:
    uploads = Uploads(home)
    name = uploads.begin()
    with pytest.raises(TooLarge, match="larger than 1 MiB"):
        take(uploads, name, "big.csv", b"x" * MOST, b"x")
    assert not list((home.settings.home / "uploads" / name).iterdir())
    other = uploads.begin()
    for number in range(3):
        take(uploads, other, f"{number}.txt", b"x")
    with pytest.raises(TooLarge, match="more than 3 files"):
        take(uploads, other, "3.txt", b"x")


def test_what_was_never_begun_takes_nothing(home: Home) -> None:
    with pytest.raises(NotFound):
        take(Uploads(home), "0" * 32, "a.txt", b"x")
    with pytest.raises(NotFound):
        Uploads(home).close("..")


def test_an_archive_that_unfolds_out_of_proportion_is_refused(tmp_path: Path) -> None:
    bomb = zipped(tmp_path / "bomb.zip", zeros=b"\0" * (64 * MOST))
    with pytest.raises(TooLarge, match="200 times its size"):
        unpack(bomb, tmp_path / "out", 2**40, 10)
    with pytest.raises(TooLarge, match="larger than an upload may be"):
        unpack(zipped(tmp_path / "b.zip", a=b"ab" * 100), tmp_path / "two", 50, 10)
    with pytest.raises(TooLarge, match="2 files"):
        unpack(zipped(tmp_path / "c.zip", a=b"a", b=b"b"), tmp_path / "three", MOST, 1)


def test_an_archive_with_links_or_ways_out_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "l.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(InvalidInput, match="a link"):
        unpack(tmp_path / "l.zip", tmp_path / "out", MOST, 10)
    with pytest.raises(InvalidInput):
        unpack(zipped(tmp_path / "t.zip", **{"../t": b"x"}), tmp_path / "out", MOST, 10)
    (tmp_path / "n.zip").write_bytes(b"PK no zip")
    with pytest.raises(InvalidInput, match="cannot be unpacked"):
        unpack(tmp_path / "n.zip", tmp_path / "out", MOST, 10)
    assert not (tmp_path / "t").exists()


def test_a_single_class_folder_is_not_taken_for_one_more_level(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat" / "1.png").write_bytes(b"x")
    assert root_of(tmp_path) == tmp_path


def test_what_nothing_refers_to_goes_after_a_week(home: Home) -> None:
    uploads = Uploads(home)
    kept, gone = uploads.begin(), uploads.begin()
    folder = home.settings.home / "uploads"
    home.jobs.file("inspect", "pets", {"scene": "pets", "data": str(folder / kept)})
    later = (folder / gone).stat().st_mtime + KEPT_SECONDS + 1
    uploads.sweep(later - 10)
    assert (folder / gone).exists()
    uploads.sweep(later)
    assert (folder / kept).exists() and not (folder / gone).exists()
