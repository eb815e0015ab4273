"""The feature cache: every picture goes through an extractor once.

Promises features that are those of the session to the bit, keyed by extractor, preprocessing, size and content, so that
nothing stale can come back; work that was done stays done when the process dies (each batch is committed); several
processes may share one cache. Also keeps exported member graphs, which cost seconds each. Knows nothing of labels.

Legend: N examples, B batch, H height, W width, D features.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from core.cache import FeatureCache, usable
from core.errors import Conflict, InvalidInput, LeptonError
from core.modality import image
from core.preprocess import Limits
from core.session import Session
from core.types import Example, GridRows

if TYPE_CHECKING:
    from exporters.backbone import Backbone

BATCH = 16
_DECODERS = 2  # threads; decoding leaves the interpreter lock to others

Progress = Callable[[int, int], None]


def extract(
    session: Session,
    extractor: str,
    examples: Sequence[Example],
    cache: Path,
    limits: Limits,
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
    with FeatureCache(cache) as store:
        found = store.known(key, list(by_digest), session.width)
        missing = [example for digest, example in by_digest.items() if digest not in found]
        _report(progress, len(found), len(by_digest))
        with ThreadPoolExecutor(_DECODERS, "decode") as pool:
            for start in range(0, len(missing), BATCH):
                batch = missing[start : start + BATCH]
                pixels = list(pool.map(lambda example: _pixels(example, session.size, limits), batch))
                rows_BD = session.features({"image": np.stack(pixels)})
                store.keep(key, [example.digest for example in batch], rows_BD)
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
    with usable(cache):
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


def _pixels(example: Example, size: tuple[int, int], limits: Limits) -> NDArray[np.uint8]:
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


def _report(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)
