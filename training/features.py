"""The feature cache: every picture goes through an extractor once.

Promises features that are those of the session to the bit, keyed by extractor, preprocessing, size and content, so that
nothing stale can come back; work that was done stays done when the process dies (each batch is committed); several
processes may share one cache. Also keeps exported member graphs, which cost seconds each. Knows nothing of labels.

Legend: N examples, B batch, H height, W width, D features.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from core.errors import BadConfiguration, Conflict, InvalidInput, LeptonError
from core.modality import image
from core.session import Session
from core.types import Example, GridRows

if TYPE_CHECKING:
    from exporters.backbone import Backbone

BATCH = 16
_DECODERS = 2  # threads; decoding leaves the interpreter lock to others
_WAIT = 30.0  # seconds to wait for another process that writes
_CHUNK = 500  # digests a query, below SQLite's limit on parameters

Progress = Callable[[int, int], None]


def extract(
    session: Session,
    extractor: str,
    examples: Sequence[Example],
    cache: Path,
    limits: image.Limits,
    progress: Progress | None = None,
) -> GridRows:
    """(N, D) int16 features of the examples, in their order; only what the cache lacks is computed.

    Args:
        extractor: digest of the session's extractor (exporters.compose.extractor_digest).
        cache: folder of the cache; made where it is missing.
        progress: called with (done, total) after every batch, and once at the start.

    Raises:
        InvalidInput: a picture cannot be read, named by its path; Conflict: a file is no longer what its digest says;
        BadConfiguration: the cache cannot be written.
    """
    key = f"{extractor}/{image.PREPROCESSING}/{session.size[0]}x{session.size[1]}"
    by_digest = {example.digest: example for example in examples}
    with _store(cache) as store:
        with _usable(cache):
            found = _known(store, key, list(by_digest), session.width)
        missing = [example for digest, example in by_digest.items() if digest not in found]
        _report(progress, len(found), len(by_digest))
        with ThreadPoolExecutor(_DECODERS, "decode") as pool:
            for start in range(0, len(missing), BATCH):
                batch = missing[start : start + BATCH]
                pixels = list(pool.map(lambda example: _pixels(example, session.size, limits), batch))
                rows_BD = session.features({"image": np.stack(pixels)})
                with _usable(cache):
                    _keep(store, key, [example.digest for example in batch], rows_BD)
                found |= {example.digest: row for example, row in zip(batch, rows_BD, strict=True)}
                _report(progress, len(found), len(by_digest))
    rows_ND = np.empty((len(examples), session.width), np.int16)
    for row, example in enumerate(examples):
        rows_ND[row] = found[example.digest]
    return rows_ND


def graph(backbone: Backbone, cache: Path) -> bytes:
    """The backbone's member graph, exported once and kept as a file in ``cache``.

    Raises:
        InvalidInput: it cannot be exported; BadConfiguration: the cache cannot be written.
    """
    from exporters.backbone import EXPORTER, member

    identity = (backbone.name, backbone.digest, *backbone.size, backbone.dimension, EXPORTER, version("torch"))
    name = hashlib.sha256("\n".join(str(part) for part in identity).encode()).hexdigest()
    path = cache / "graphs" / f"{name}.onnx"
    if path.is_file():
        return path.read_bytes()
    data = member(backbone)
    with _usable(cache):
        path.parent.mkdir(parents=True, exist_ok=True)
        _replace(path, data)
    return data


def _replace(path: Path, data: bytes) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".new-", delete=False) as file:
        try:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
            os.replace(file.name, path)
        except OSError:
            os.unlink(file.name)
            raise


def _pixels(example: Example, size: tuple[int, int], limits: image.Limits) -> NDArray[np.uint8]:
    try:
        data = Path(example.path).read_bytes()
    except OSError as error:
        raise InvalidInput(f"{example.path} cannot be read: {error.strerror}", "restore it, or drop it") from error
    if hashlib.sha256(data).hexdigest() != example.digest:
        raise Conflict(f"{example.path} has changed since the data was read", "run the command again")
    try:
        return image.decode(data, size, limits)
    except LeptonError as error:
        raise type(error)(f"{example.path}: {error.message}", error.remedy) from error


@contextlib.contextmanager
def _store(cache: Path) -> Iterator[sqlite3.Connection]:
    with _usable(cache):
        cache.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(cache / "features.sqlite", timeout=_WAIT, isolation_level=None)
    try:
        with _usable(cache):
            connection.execute(
                "CREATE TABLE IF NOT EXISTS features (key TEXT, digest TEXT, row BLOB, PRIMARY KEY (key, digest)) "
                "WITHOUT ROWID"
            )
        yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def _usable(cache: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise BadConfiguration(
            f"the feature cache in {cache} cannot be used: {error}",
            "free disk space, make the folder writable, or delete it (it is only a cache)",
        ) from error


def _known(store: sqlite3.Connection, key: str, digests: Sequence[str], width: int) -> dict[str, GridRows]:
    found: dict[str, GridRows] = {}
    for start in range(0, len(digests), _CHUNK):
        part = digests[start : start + _CHUNK]
        marks = ",".join("?" * len(part))
        query = f"SELECT digest, row FROM features WHERE key = ? AND digest IN ({marks})"
        for digest, row in store.execute(query, (key, *part)):
            values = np.frombuffer(row, dtype="<i2")
            if len(values) == width:
                found[digest] = values
    return found


def _keep(store: sqlite3.Connection, key: str, digests: Sequence[str], rows_BD: GridRows) -> None:
    lines = [(key, digest, row.astype("<i2").tobytes()) for digest, row in zip(digests, rows_BD, strict=True)]
    store.execute("BEGIN IMMEDIATE")
    store.executemany("INSERT OR REPLACE INTO features VALUES (?, ?, ?)", lines)
    store.execute("COMMIT")


def _report(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)
