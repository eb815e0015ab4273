"""What a user hands over, as rows: a folder of class folders, or a table (CSV, JSON lines, Parquet).

A table's columns say what its lines are: ``text``; ``image`` and ``audio``, paths of files; any other is a feature.
Promises one row for every file or line that it meets, and a finding for each that cannot become an example; loops of
links end, and nothing outside the data folder is named by a table. Knows nothing of what is inside an input.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from core import plugins
from core.errors import InvalidInput, LeptonError, NotFound
from core.look.html import shown
from core.mixture import Mixture
from core.schema import canonical
from core.tasks import check_tasks
from core.types import Split
from training import kinds, tables
from training.report import Finding
from training.schema import tidy
from training.tables import Cell, Table, word

SPLITS: dict[str, Split] = {"train": "train", "validation": "validation", "test": "test"}
SPLIT_FOLDERS: dict[str, Split] = {**SPLITS, "val": "validation", "valid": "validation"}
TEXT, TABULAR = "text", "tabular"
FILES = ("image", "audio")  # modalities whose column holds paths
ROLES = ("split", "group", "subject")  # columns that say something about a line, beside its label

Columns = str | Sequence[str] | None  # the label column, or several, of a task each; None: ``label``


@dataclass(frozen=True, kw_only=True)
class Row:
    """One input as named by the user.

    Attributes:
        name: its path relative to the data folder, or its line.
        labels: what it is labelled, a text for every task; empty where it has no label for that one.
        path: where it lies, if it is a file. content: its bytes, if it is not.
        parts: what a line of several modalities holds of each, for the modality ``mixture``.
    """

    name: str
    labels: tuple[str, ...]
    path: Path | None = None
    content: bytes | None = field(repr=False, default=None)
    parts: Mapping[str, Path | bytes] = field(repr=False, default_factory=dict)
    mixture: str = ""
    split: Split | None = None
    group: str | None = None
    subject: str | None = None

    @property
    def label(self) -> str:
        """The label, or several in one text."""
        return " / ".join(self.labels)

    @property
    def files(self) -> tuple[Path, ...]:
        """Files that the input is read from."""
        found = (self.path, *self.parts.values())
        return tuple(part for part in found if isinstance(part, Path))

    def read(self) -> bytes:
        """The bytes of the input. Raises OSError where a file cannot be read."""
        if self.content is not None:
            return self.content
        if self.mixture:
            parts = self.parts.items()
            read = {name: part.read_bytes() if isinstance(part, Path) else part for name, part in parts}
            return Mixture(self.mixture).join(read)
        assert self.path is not None, f"{self.name} has neither path nor content"
        return self.path.read_bytes()


@dataclass(frozen=True, kw_only=True)
class Listing:
    """All rows, and the entries that cannot be one. Everything met is in exactly one of the two.

    ``remarks`` are findings about columns, which are neither. ``tasks`` are the names of several tasks; none for one.
    """

    root: Path
    modality: str
    rows: tuple[Row, ...]
    refused: tuple[Finding, ...]
    remarks: tuple[Finding, ...] = ()
    tasks: tuple[str, ...] = ()


def read(path: Path, label: Columns = None, modality: str | None = None) -> Listing:
    """The rows of ``path``: a folder, or a table.

    Args:
        label: the table's label column, default ``label``; of several each is a task of that name.
        modality: what the inputs are; None follows the files or the columns.

    Raises:
        NotFound: no such path.
        InvalidInput: an empty folder, a file that is no table, a missing column, several that cannot be tasks.
    """
    labels = (label,) if isinstance(label, str) else tuple(label or ("label",))
    if len(labels) > 1:
        check_tasks(labels)
    path = Path(os.path.abspath(path))
    if not path.exists():
        raise NotFound(
            f"no such file or folder: {shown(path)}",
            "give a folder of class folders, or a table: CSV, JSONL or Parquet",
        )
    if not path.is_dir() and path.suffix.lower() not in tables.SUFFIXES:
        expected = f"give a folder of class folders, or a file whose name ends in {', '.join(tables.SUFFIXES)}"
        raise InvalidInput(f"{shown(path.name)} is neither a folder nor a CSV, JSONL or Parquet file", expected)
    if path.is_dir() and modality is not None and not kinds.kind(modality).SUFFIXES:
        raise InvalidInput(
            f"{shown(path.name)} is a folder, and {modality} is no kind of file", "give a CSV, JSONL or Parquet file"
        )
    if path.is_dir() and len(labels) > 1:
        raise InvalidInput(
            f"{shown(path.name)} is a folder, whose folders are the labels of one task",
            "give a table with a column for each task",
        )
    try:
        return _folder(path, modality) if path.is_dir() else _table(path, labels, modality)
    except OSError as error:
        raise InvalidInput(f"{shown(path)} cannot be opened: {error.strerror}", "check its permissions") from error


def _folder(root: Path, modality: str | None) -> Listing:
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
        rows.append(Row(name=str(name), path=path, labels=(parts[0],), split=split))
    if not rows and not refused:
        raise InvalidInput(f"{shown(root)} holds no file", "put one folder for each class into it, with files inside")
    return Listing(root=root, modality=modality or _kind_of(rows), rows=tuple(rows), refused=tuple(refused))


def _kind_of(rows: Sequence[Row]) -> str:
    """The modality to which most endings of files belong; pictures where none says anything."""
    endings = Counter(row.path.suffix.lower() for row in rows if row.path is not None)
    known = plugins.names(kinds.MODALITIES)
    counts = {name: sum(endings[suffix] for suffix in kinds.kind(name).SUFFIXES) for name in known}
    return max(sorted(counts), key=lambda name: (counts[name], name == FILES[0]))


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


def _table(file: Path, labels: tuple[str, ...], modality: str | None) -> Listing:
    table = tables.read(file)
    columns = [name for name in table.columns if name not in (*labels, *ROLES)]
    chosen = modality or _found(columns)
    _check_columns(file, table, labels, chosen)
    parts = chosen.split("+")
    features = [name for name in columns if name not in (TEXT, *FILES) and name.strip()] if TABULAR in parts else []
    tidied = tidy([{name: cells.get(name) for name in features} for _, cells in table.lines])
    grouped = "group" if "group" in table.columns else "subject"
    rows: list[Row] = []
    refused: list[Finding] = []
    for place, (number, cells) in enumerate(table.lines):
        told = {name: word(cells.get(name)) for name in (*labels, *ROLES, grouped)}
        name = word(cells.get(chosen)) if chosen in FILES else f"line {number}"
        found, fault = _parts(parts, cells, tidied[place], file.parent)
        fault = _label_fault([told[label] for label in labels]) or fault
        if fault:
            named = name if name.strip() else f"line {number}"
            refused.append(Finding(kind=fault[0], path=named, dropped=True, detail=fault[1]))
            continue
        only = found.get(chosen)
        rows.append(
            Row(
                name=name,
                labels=tuple(told[label] if told[label].strip() else "" for label in labels),
                path=only if isinstance(only, Path) else None,
                content=only if isinstance(only, bytes) else None,
                parts=found if only is None else {},
                mixture=chosen if only is None else "",
                split=_split(told["split"], file, number),
                group=told[grouped] or None,
                subject=told["subject"] or None,
            )
        )
    return Listing(
        root=file.parent,
        modality=chosen,
        rows=tuple(rows),
        refused=tuple(refused),
        remarks=_nameless(file, columns),
        tasks=labels if len(labels) > 1 else (),
    )


def _nameless(file: Path, columns: Sequence[str]) -> tuple[Finding, ...]:
    if all(name.strip() for name in columns):
        return ()
    return (Finding(kind="nameless", path=file.name, dropped=False, detail="a column has no name, and is not used"),)


def _parts(
    wanted: Sequence[str], cells: Mapping[str, Cell], features: Mapping[str, Cell], folder: Path
) -> tuple[dict[str, Path | bytes], tuple[str, str] | None]:
    """What a line holds of each modality, and why the line cannot be used; one part of several may be missing."""
    found: dict[str, Path | bytes] = {}
    for part in wanted:
        if part in FILES:
            name = word(cells.get(part))
            fault = _path_fault(name)
            if fault is None:
                found[part] = folder / name
        else:
            fault, content = _content(cells.get(TEXT), features if part == TABULAR else None)
            if content is not None:
                found[part] = content
        if fault and not (len(wanted) > 1 and fault[0] == "no_input"):
            return found, fault
    return found, None if found else ("no_input", "every part is missing")


def _found(columns: Sequence[str]) -> str:
    """What lines are, by their columns: several kinds at once make a mixture."""
    found = {name for name in columns if name in (TEXT, *FILES)}
    if any(name.strip() and name not in (TEXT, *FILES) for name in columns):
        found.add(TABULAR)
    return "+".join(sorted(found))


def _check_columns(file: Path, table: Table, labels: Sequence[str], modality: str) -> None:
    there = ", ".join(shown(name) for name in table.columns)
    for label in labels:
        if label not in table.columns:
            remedy = "name it label, or choose one with --label"
            raise InvalidInput(f"{shown(file.name)} has no column named {shown(label)}; it has: {there}", remedy)
        if len(labels) > 1 and label in (*ROLES, TEXT, *FILES):
            remedy = "call the column something else, or leave it out"
            raise InvalidInput(f"column {label} of {shown(file.name)} has a meaning of its own, and is no task", remedy)
    if not modality:
        remedy = "name the column of texts text, of paths image or audio, and separate columns by commas"
        raise InvalidInput(f"{shown(file.name)} has no column beside its label; it has: {there}", remedy)
    if modality in (TEXT, *FILES) and modality not in table.columns:
        remedy = f"name the column with the {kinds.kind(modality).NOUNS[1]} {modality}, and separate columns by commas"
        raise InvalidInput(f"{shown(file.name)} has no column named {modality}; it has: {there}", remedy)


def _content(text: Cell, features: Mapping[str, Cell] | None) -> tuple[tuple[str, str] | None, bytes | None]:
    """The bytes of a line that is a text or a row of a table, or why there are none."""
    try:
        data = canonical(features) if features is not None else word(text).encode()
    except LeptonError as error:
        return ("corrupt", error.message), None
    except UnicodeEncodeError:
        return ("corrupt", "holds half of a surrogate pair"), None
    if not data.strip() or data == b"{}":
        return ("no_input", "the line has no text" if features is None else "every column is empty"), None
    return None, data


def _label_fault(labels: Sequence[str]) -> tuple[str, str] | None:
    return None if any(label.strip() for label in labels) else ("no_label", "the line has no label")


def _path_fault(name: str) -> tuple[str, str] | None:
    if not name.strip():
        return "no_input", "the line names no file"
    if "\0" in name:
        return "missing", "no such file"
    if os.path.isabs(name) or os.path.normpath(name).split(os.sep)[0] == os.pardir:
        return "outside", "lies outside the folder of the table; paths are relative to the file and stay below it"
    return None


def _split(cell: str, file: Path, number: int) -> Split | None:
    if not cell.strip():
        return None
    if cell.strip() not in SPLITS:
        message = f"{shown(file.name)}, line {number}: split {shown(cell)!r} is unknown"
        raise InvalidInput(message, f"use one of: {', '.join(SPLITS)}, or leave it empty")
    return SPLITS[cell.strip()]
