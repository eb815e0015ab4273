"""What a user hands over, as rows: a folder of class folders, or a CSV with an ``image`` column.

Promises one row for every file or line that it meets, and a finding for each that cannot become an example; loops of
links end, and nothing outside the data folder is named by a CSV. Knows nothing of pictures: no file is opened here.
"""

from __future__ import annotations

import csv
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from core.errors import InvalidInput, NotFound
from core.types import Split
from training.report import Finding, shown

SPLITS: dict[str, Split] = {"train": "train", "validation": "validation", "test": "test"}
SPLIT_FOLDERS: dict[str, Split] = {**SPLITS, "val": "validation", "valid": "validation"}
FIELD_LIMIT = 1_000_000  # characters of one CSV field


@dataclass(frozen=True, kw_only=True)
class Row:
    """One input as named by the user. ``name`` is its path relative to the data folder, ``path`` where it lies."""

    name: str
    path: Path
    label: str
    split: Split | None = None
    group: str | None = None
    subject: str | None = None


@dataclass(frozen=True, kw_only=True)
class Listing:
    """All rows, and the entries that cannot be one. Everything met is in exactly one of the two."""

    root: Path
    rows: tuple[Row, ...]
    refused: tuple[Finding, ...]


def read(path: Path, label: str | None = None) -> Listing:
    """The rows of ``path``: a folder, or a ``.csv`` file (``label`` names its label column, default ``label``).

    Raises:
        NotFound: no such path.
        InvalidInput: an empty folder, a file that is not CSV, a missing column.
    """
    path = Path(os.path.abspath(path))
    if not path.exists():
        raise NotFound(f"no such file or folder: {shown(path)}", "give a folder of class folders, or a CSV file")
    if not path.is_dir() and path.suffix.lower() != ".csv":
        expected = "give a folder of class folders, or a CSV file whose name ends in .csv"
        raise InvalidInput(f"{shown(path.name)} is neither a folder nor a CSV file", expected)
    try:
        return _folder(path) if path.is_dir() else _table(path, label or "label")
    except OSError as error:
        raise InvalidInput(f"{shown(path)} cannot be opened: {error.strerror}", "check its permissions") from error


def _folder(root: Path) -> Listing:
    rows: list[Row] = []
    refused: list[Finding] = []
    folders = {entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")}
    by_split = "train" in folders and folders <= set(SPLIT_FOLDERS)
    for path, problem in _walk(root, (), set()):
        name = path.relative_to(root)
        parts = name.parts[1:] if by_split else name.parts
        fault = problem or _fault(name, len(parts))
        if fault:
            refused.append(Finding(kind=fault[0], path=str(name), dropped=True, detail=fault[1]))
            continue
        split = SPLIT_FOLDERS[name.parts[0]] if by_split else None
        rows.append(Row(name=str(name), path=path, label=parts[0], split=split))
    if not rows and not refused:
        raise InvalidInput(
            f"{shown(root)} holds no file", "put one folder for each class into it, with pictures inside"
        )
    return Listing(root=root, rows=tuple(rows), refused=tuple(refused))


def _fault(name: Path, depth: int) -> tuple[str, str] | None:
    """Why a file of a folder cannot be an example, by its name alone."""
    if any(part.startswith(".") for part in name.parts):
        return "hidden", "a hidden file"
    if depth < 2:
        return "no_class", "lies beside the class folders, not in one"
    return _bad_name(str(name))


def _bad_name(name: str) -> tuple[str, str] | None:
    try:
        name.encode()
    except UnicodeEncodeError:
        return "bad_name", "its name is not valid UTF-8; rename it"
    return None


def _walk(
    folder: Path, above: tuple[tuple[int, int], ...], linked: set[tuple[int, int]]
) -> Iterator[tuple[Path, tuple[str, str] | None]]:
    """Every entry below ``folder`` that is no folder, sorted by name.

    ``above`` holds the folders on the way down, ``linked`` those entered by a link: each is entered so but once, which
    bounds the walk however the links are laid.
    """
    here = _identity(folder.stat())
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        yield folder, ("unreadable", f"cannot be opened: {error.strerror}")
        return
    for entry in entries:
        path = folder / entry.name
        try:
            status = path.stat()
        except OSError as error:
            yield path, ("unreadable", f"cannot be opened: {error.strerror}")
            continue
        if not stat.S_ISDIR(status.st_mode):
            yield path, None
        elif entry.is_symlink() and _identity(status) in {*above, here, *linked}:
            yield path, ("link_loop", "a link to a folder that is read already")
        else:
            if entry.is_symlink():
                linked.add(_identity(status))
            yield from _walk(path, (*above, here), linked)


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _table(file: Path, column: str) -> Listing:
    root = file.parent
    rows: list[Row] = []
    refused: list[Finding] = []
    lines = _lines(file, column)
    grouped = "group" if any("group" in line for _, line in lines[:1]) else "subject"
    for number, line in lines:
        name = line.get("image", "")
        fault = _cell_fault(name, line.get(column, ""))
        if fault:
            refused.append(Finding(kind=fault[0], path=name or f"line {number}", dropped=True, detail=fault[1]))
            continue
        rows.append(
            Row(
                name=name,
                path=root / name,
                label=line[column],
                split=_split(line.get("split", ""), file, number),
                group=line.get(grouped) or None,
                subject=line.get("subject") or None,
            )
        )
    return Listing(root=root, rows=tuple(rows), refused=tuple(refused))


def _lines(file: Path, column: str) -> list[tuple[int, dict[str, str]]]:
    """(line number, {column: cell}) of every line; missing cells are empty."""
    csv.field_size_limit(FIELD_LIMIT)
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, restval="", strict=True)
            _check_columns(file, list(reader.fieldnames or ()), column)
            lines = [(reader.line_num, {k: v for k, v in line.items() if isinstance(k, str)}) for line in reader]
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{shown(file.name)} is not UTF-8 text ({error.reason})", "save it as UTF-8 CSV") from error
    except csv.Error as error:
        raise InvalidInput(f"{shown(file.name)} is not CSV: {error}", "save it as comma-separated UTF-8") from error
    if not lines:
        raise InvalidInput(f"{shown(file.name)} has a header, but no line", "add one line for each picture")
    return lines


def _check_columns(file: Path, columns: list[str], label: str) -> None:
    if not columns:
        raise InvalidInput(f"{shown(file.name)} is empty", "write a header with the columns image and label first")
    there = ", ".join(shown(name) for name in columns)
    if "image" not in columns:
        remedy = "name the column with the pictures' paths image, and separate columns by commas"
        raise InvalidInput(f"{shown(file.name)} has no column named image; it has: {there}", remedy)
    if label not in columns:
        remedy = "name it label, or choose one with --label"
        raise InvalidInput(f"{shown(file.name)} has no column named {shown(label)}; it has: {there}", remedy)


def _cell_fault(name: str, label: str) -> tuple[str, str] | None:
    if not name.strip():
        return "no_image", "the line names no picture"
    if not label.strip():
        return "no_label", "the line has no label"
    if "\0" in name:
        return "missing", "no such file"
    if os.path.isabs(name) or os.path.normpath(name).split(os.sep)[0] == os.pardir:
        return "outside", "lies outside the folder of the CSV; paths are relative to the file and stay below it"
    return None


def _split(cell: str, file: Path, number: int) -> Split | None:
    if not cell.strip():
        return None
    if cell.strip() not in SPLITS:
        message = f"{shown(file.name)}, line {number}: split {shown(cell)!r} is unknown"
        raise InvalidInput(message, f"use one of: {', '.join(SPLITS)}, or leave it empty")
    return SPLITS[cell.strip()]
