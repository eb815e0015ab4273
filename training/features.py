"""The feature cache: every example goes through an extractor once.

Promises features that are those of the session, keyed by extractor, preprocessing and content, so that nothing stale
can come back; work that was done stays done when the process dies (each batch is committed); several
processes may share one cache. Also keeps exported member graphs, which cost seconds each. Knows nothing of labels.

Legend: N examples, B batch, D features.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from core.cache import FeatureCache, usable
from core.errors import Conflict, InvalidInput, LeptonError
from core.preprocess import Preprocessor, Row
from core.session import Session
from core.types import Example, GridRows
from training.held import Held

if TYPE_CHECKING:
    from exporters.backbone import Backbone

BATCH = 16
AHEAD = 32 * BATCH  # rows read before they are put into batches, alike with alike: short texts wait for no long one
_ROOM = 1 << 24  # numbers in rows that were read ahead: where they are large, alike is what they are anyway
_READ = 4 * BATCH  # rows that are read at a time
_DECODERS = 2  # threads; decoding leaves the interpreter lock to others

_held = Held()

Progress = Callable[[int, int], None]


def extract(
    session: Session,
    preprocessor: Preprocessor,
    extractor: str,
    examples: Sequence[Example],
    cache: Path | None,
    progress: Progress | None = None,
) -> GridRows:
    """(N, D) int16 features of the examples, in their order; only what the cache lacks is computed.

    Args:
        preprocessor: reads examples for that session.
        extractor: name of the session's extractor (exporters.compose.extractor_name).
        cache: folder of the cache, made where it is missing; None: nothing is kept, as of what is only tried.
        progress: called with (done, total) after every batch, and once at the start.

    Raises:
        InvalidInput: an example cannot be read, named by its path; Conflict: a file is no longer what its digest says;
        BadConfiguration: the cache cannot be written.
    """
    key = f"{extractor}/{preprocessor.key}"
    by_digest = {example.digest: example for example in examples}
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(FeatureCache(cache)) if cache is not None else None
        found = store.known(key, list(by_digest), session.width) if store is not None else {}
        missing = [example for digest, example in by_digest.items() if digest not in found]
        _report(progress, len(found), len(by_digest))
        for batch in _batches(missing, preprocessor):
            rows_BD = session.features(preprocessor.batch([row for _, row in batch]))
            digests = [example.digest for example, _ in batch]
            if store is not None:
                store.keep(key, digests, rows_BD)
            found |= dict(zip(digests, rows_BD, strict=True))
            _report(progress, len(found), len(by_digest))
    rows_ND = np.empty((len(examples), session.width), np.int16)
    for row, example in enumerate(examples):
        rows_ND[row] = found[example.digest]
    return rows_ND


def size(row: Row) -> int:
    """Numbers that a row is read as; rows of one size side by side in a batch are filled up with nothing."""
    return sum(array.size for array in row.arrays.values())


def graph(backbone: Backbone, cache: Path) -> bytes:
    """The backbone's member graph. What took long is made once and kept as a file in ``cache``: the graph, but not that
    of a tuned backbone, which holds what it learned of people; of that the template, which holds no weight.

    Raises:
        InvalidInput: it cannot be exported; BadConfiguration: the cache cannot be written.
    """
    import torch

    from exporters.backbone import EXPORTER, member
    from exporters.template import identity, trace

    inputs = [(name, held.shape, held.dtype.str) for name, held in backbone.inputs.items()]
    common = (inputs, EXPORTER, version("torch"))

    def template(body: torch.nn.Module) -> bytes:
        place = _place(cache, "template", backbone.name, identity(body), *common)
        return _kept(cache, place, lambda: trace(body, backbone.inputs, backbone.name))

    def made() -> bytes:
        return member(backbone, template(backbone.body) if isinstance(backbone.body, torch.nn.Module) else None)

    if backbone.recipe:
        return made()
    return _kept(cache, _place(cache, "onnx", backbone.name, backbone.digest, backbone.dimension, *common), made)


def _place(cache: Path, kind: str, *identity: object) -> Path:
    name = hashlib.sha256("\n".join(str(part) for part in identity).encode()).hexdigest()
    return cache / "graphs" / f"{name}.{kind}"


def _kept(cache: Path, path: Path, make: Callable[[], bytes]) -> bytes:
    """What the file holds, or what is made and written there."""
    if path.is_file():
        return path.read_bytes()
    data = make()
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


def content(example: Example) -> bytes:
    """The bytes of an example.

    Raises:
        InvalidInput: its file cannot be read; Conflict: the file is no longer what its digest says.
    """
    if example.content is not None:
        return example.content
    try:
        data = Path(example.path).read_bytes()
    except OSError as error:
        raise InvalidInput(f"{example.path} cannot be read: {error.strerror}", "restore it, or drop it") from error
    if hashlib.sha256(data).hexdigest() != example.digest:
        raise Conflict(f"{example.path} has changed since the data was read", "run the command again")
    return data


def read(example: Example, preprocessor: Preprocessor) -> Row:
    """An example as a model takes it; what was read lately is not read again.

    Raises as ``content``, and what the preprocessor raises, named by its path.
    """

    def anew() -> Row:
        data = content(example)
        try:
            return preprocessor.read(data)
        except LeptonError as error:
            named = example.path or f"the example {example.digest[:12]}"
            raise type(error)(f"{named}: {error.message}", error.remedy) from error

    return _held.get(preprocessor.key, example.digest, anew)


def _batches(examples: Sequence[Example], preprocessor: Preprocessor) -> Iterator[list[tuple[Example, Row]]]:
    """Examples read ahead, alike with alike."""
    rows, room = list[tuple[Example, Row]](), _ROOM
    with ThreadPoolExecutor(_DECODERS, "decode") as pool:
        for start in range(0, len(examples), _READ):
            ahead = examples[start : start + _READ]
            for example, row in zip(ahead, pool.map(lambda each: read(each, preprocessor), ahead), strict=True):
                rows.append((example, row))
                room -= size(row)
            if len(rows) >= AHEAD or room <= 0 or start + _READ >= len(examples):
                rows.sort(key=lambda pair: size(pair[1]))
                yield from (rows[place : place + BATCH] for place in range(0, len(rows), BATCH))
                rows, room = [], _ROOM


def _report(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)
