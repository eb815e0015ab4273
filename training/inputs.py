"""Inputs without labels: the files in a folder, or the lines of a table, as examples.

Promises each input once, and none that a modality cannot read; labels there may be are not looked at, and a table names
nothing outside its folder. Knows nothing of what they are good for.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from core.errors import InvalidInput, LeptonError, NotFound
from core.look.html import shown
from core.preprocess import Limits
from core.types import Example
from training import kinds, tables
from training.listing import FILES, TEXT
from training.tables import word

LEAST = 32  # fewer tell nothing


def read(path: Path, modality: str, limits: Limits) -> list[Example]:
    """The inputs in a folder (with its subfolders) or a table, each once; labels there may be are not looked at.

    Raises:
        NotFound: no such path. InvalidInput: none, or fewer than 32, are inputs of the modality.
    """
    if not path.exists():
        raise NotFound(f"no such file or folder: {shown(path)}", "give a folder of inputs, or a table of them")
    if modality not in (*FILES, TEXT):
        raise InvalidInput(f"inputs without labels are of no use to a scene of {modality}", "leave out --unlabelled")
    kind = kinds.kind(modality)
    found: dict[str, Example] = {}
    met = 0
    for name, data in _inputs(path, modality, kind.SUFFIXES):
        met += 1
        try:
            kind.look(data, limits)
        except LeptonError:
            continue
        digest = hashlib.sha256(data).hexdigest()
        content = data if name is None else None
        found[digest] = Example(digest=digest, path=str(name or ""), split="train", content=content)
    if len(found) < LEAST:
        raise InvalidInput(
            f"{shown(path.name)} holds {len(found)} different {kind.NOUNS[1]} that can be read, among {met} entries; "
            f"expected at least {LEAST}",
            f"{kind.WANTED.split(',')[0]}; or leave out --unlabelled",
        )
    return list(found.values())


def _inputs(path: Path, modality: str, suffixes: frozenset[str]) -> Iterator[tuple[Path | None, bytes]]:
    """Each entry that may be an input: its path where it is a file, and its bytes."""
    if path.is_dir():
        for folder, folders, names in os.walk(path):
            folders.sort()
            for name in sorted(names):
                file = Path(folder) / name
                if file.suffix.lower() in suffixes and not name.startswith("."):
                    yield file.absolute(), file.read_bytes()
        return
    if path.suffix.lower() not in tables.SUFFIXES:
        raise InvalidInput(
            f"{shown(path.name)} is neither a folder nor a table", "give a folder, CSV, JSONL or Parquet"
        )
    table = tables.read(path)
    if modality not in table.columns:
        raise InvalidInput(
            f"{shown(path.name)} has no column {modality}; it has {', '.join(table.columns)}",
            f"name the column of inputs {modality}",
        )
    for _, cells in table.lines:
        told = word(cells.get(modality))
        if modality == TEXT:
            yield None, told.encode()
        elif told and ".." not in Path(told).parts and not Path(told).is_absolute() and (path.parent / told).is_file():
            file = (path.parent / told).absolute()
            yield file, file.read_bytes()
