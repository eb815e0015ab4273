"""What people hand to the console as data: files one by one, or a zip, into a folder of its own under the home.

Promises that nothing is written outside that folder whatever names and archives say, that an upload is no larger and
has no more files than the settings allow, counted as it is written and not as it is announced, and that an archive
which would unfold out of all proportion is refused. Uploads that no job names and no example lies in go after a week.
Knows nothing of what the files are.
"""

from __future__ import annotations

import json
import secrets
import shutil
import stat
import zipfile
from collections.abc import AsyncIterable
from pathlib import Path, PurePosixPath

import sqlalchemy as sa

from core.database import inputs
from core.errors import InvalidInput, LeptonError, NotFound, TooLarge, Unavailable
from core.home import Home

MEBIBYTE = 2**20
CHUNK = 2**20
RATIO = 200  # times its packed size that a file of an archive may have, once it is larger than a mebibyte
LONGEST = 200  # bytes of a part of a path
DEEPEST = 20  # folders
TABLES = (".csv", ".jsonl", ".ndjson", ".parquet")
LEFT_OUT = ("__MACOSX", ".DS_Store", "Thumbs.db")
KEPT_SECONDS = 7 * 86400.0


class Uploads:
    """The folder ``uploads`` of a home."""

    def __init__(self, home: Home):
        self._home = home
        self._root = home.settings.home / "uploads"
        self._most_bytes = int(home.settings.console.upload_megabytes * MEBIBYTE)
        self._most_files = home.settings.console.upload_files
        self._counts: dict[str, tuple[int, int]] = {}  # bytes and files of each upload that is under way

    def begin(self) -> str:
        """A new upload; returns its name, which nobody can guess."""
        name = secrets.token_hex(16)
        (self._root / name).mkdir(parents=True)
        self._counts[name] = (0, 0)
        return name

    async def take(self, name: str, path: str, parts: AsyncIterable[bytes]) -> None:
        """Write one file as its bytes come.

        Raises:
            NotFound: there is no such upload under way. InvalidInput: a path that is none below the folder.
            TooLarge: more bytes or files than allowed. Unavailable: the disk is full.
        """
        if name not in self._counts:
            raise NotFound("this upload is over, or was never begun", "reload the page and begin again")
        place = self._root / name / safe(path)
        self._count(name, 0, 1)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("wb") as file:
                async for part in parts:
                    self._count(name, len(part), 0)
                    file.write(part)
        except LeptonError:
            place.unlink(missing_ok=True)
            raise
        except OSError as error:
            place.unlink(missing_ok=True)
            raise Unavailable(
                f"the file could not be kept: {error.strerror}", "free the disk, or use other names"
            ) from None

    def close(self, name: str) -> Path:
        """What was uploaded, unpacked where it is one zip: a table, or the folder that holds the class folders.

        Raises:
            NotFound: there is no such upload. InvalidInput, TooLarge: of the archive, as ``unpack`` says.
        """
        folder = self._root / name
        if name not in self._counts or not folder.is_dir():
            raise NotFound("there is no such upload", "reload the page and begin again")
        files = [each for each in folder.rglob("*") if each.is_file()]
        if len(files) == 1 and files[0].suffix.lower() == ".zip":
            unpack(files[0], folder / "unpacked", self._most_bytes, self._most_files)
            files[0].unlink()
        return root_of(folder)

    def taken(self, name: str, path: str, most: int) -> bytes:
        """The bytes of one file of an upload, which goes on without it.

        Raises:
            NotFound: there is no such file. InvalidInput: a path that is none below the folder.
            TooLarge: more than ``most`` bytes.
        """
        place = self._root / name / safe(path)
        if name not in self._counts or not place.is_file():
            raise NotFound("there is no such file in the upload", "send it again")
        size = place.stat().st_size
        try:
            if size > most:
                raise TooLarge(f"the file has {size} bytes; at most {most} are taken", "send a smaller one")
            return place.read_bytes()
        finally:
            place.unlink()
            self._count(name, -size, -1)

    def drop(self, name: str) -> None:
        """Remove an upload with all that is in it."""
        if self._counts.pop(name, None) is not None:
            shutil.rmtree(self._root / name, ignore_errors=True)

    def sweep(self, now: float) -> None:
        """Remove what was uploaded a week ago or longer, and nothing refers to."""
        if not self._root.is_dir():
            return
        asked = json.dumps([dict(job.request) for job in self._home.jobs.listed()])
        for folder in self._root.iterdir():
            old = folder.stat().st_mtime < now - KEPT_SECONDS
            if old and folder.name not in asked and not self._referred(folder):
                shutil.rmtree(folder, ignore_errors=True)

    def _referred(self, folder: Path) -> bool:
        within = sa.select(inputs.c.example).where(inputs.c.path.startswith(f"{folder}/", autoescape=True)).limit(1)
        with self._home.ledger.database.read() as connection:
            return connection.execute(within).first() is not None

    def _count(self, name: str, size: int, files: int) -> None:
        held = self._counts[name]
        self._counts[name] = held[0] + size, held[1] + files
        if self._counts[name][0] > self._most_bytes:
            raise TooLarge(
                f"the upload is larger than {self._most_bytes // MEBIBYTE} MiB",
                "put the data on the machine and name the path, or raise [console] upload_megabytes",
            )
        if self._counts[name][1] > self._most_files:
            raise TooLarge(f"the upload has more than {self._most_files} files", "raise [console] upload_files")


def safe(path: str) -> PurePosixPath:
    """A path below a folder, whatever system it was written on.

    Raises:
        InvalidInput: it could lead out of the folder, or cannot be a path.

    >>> safe("pets\\\\cat/1.png").as_posix()
    'pets/cat/1.png'
    """
    parts = path.replace("\\", "/").split("/")
    fine = (
        0 < len(parts) <= DEEPEST
        and all(part not in {"", ".", ".."} and len(part.encode("utf-8", "replace")) <= LONGEST for part in parts)
        and path.isprintable()
        and ":" not in parts[0][1:2]
    )
    if not fine:
        raise InvalidInput(
            f"{path[:80]!r} cannot be the path of an uploaded file",
            "use plain names of folders and files, without .. and without a root",
        )
    return PurePosixPath(*parts)


def unpack(archive: Path, folder: Path, most_bytes: int, most_files: int) -> None:
    """Unpack a zip; files that systems leave in archives for themselves are left out.

    Raises:
        InvalidInput: it is no zip, is encrypted or damaged, or holds links or paths that lead elsewhere.
        TooLarge: more bytes or files than allowed, or packed out of all proportion.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            listed = [info for info in opened.infolist() if not info.is_dir() and not _left_out(info.filename)]
            if len(listed) > most_files:
                raise TooLarge(f"the archive has {len(listed)} files", f"give at most {most_files}")
            left = most_bytes
            for info in listed:
                left -= _unpack(opened, info, folder / safe(info.filename), left)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise InvalidInput(f"the archive cannot be unpacked: {error}", "give a plain zip without a password") from None


def root_of(folder: Path) -> Path:
    """Where the data begin: below folders that hold nothing but one more level; the table, where there is just one."""
    while True:
        entries = [each for each in sorted(folder.iterdir()) if each.name not in LEFT_OUT]
        tables = [each for each in entries if each.is_file() and each.suffix.lower() in TABLES]
        if len(tables) == 1:
            return tables[0]
        deeper = len(entries) == 1 and entries[0].is_dir() and any(_is_level(each) for each in entries[0].iterdir())
        if not deeper:
            return folder
        folder = entries[0]


def _is_level(entry: Path) -> bool:
    return entry.is_dir() or entry.suffix.lower() in TABLES


def _left_out(name: str) -> bool:
    return any(part in LEFT_OUT for part in PurePosixPath(name.replace("\\", "/")).parts)


def _unpack(opened: zipfile.ZipFile, info: zipfile.ZipInfo, place: Path, most: int) -> int:
    """One file; returns its size."""
    if stat.S_ISLNK(info.external_attr >> 16):
        raise InvalidInput(f"the archive holds a link: {info.filename[:80]!r}", "put the file itself into it")
    allowed = max(MEBIBYTE, RATIO * info.compress_size)
    place.parent.mkdir(parents=True, exist_ok=True)
    size = 0
    with opened.open(info) as source, place.open("wb") as target:
        while part := source.read(CHUNK):
            size += len(part)
            if size > most:
                raise TooLarge("what is packed in the archive is larger than an upload may be", "give less at once")
            if size > allowed:
                raise TooLarge(f"{info.filename[:80]!r} unfolds to more than {RATIO} times its size", "pack it anew")
            target.write(part)
    return size
