"""One instance of a request to what the model takes, and to its identity.

Promises that nothing is ever fetched: bytes come with the request or not at all; and that the same content has the same
identity, whichever way it came. Knows nothing of HTTP, threads or answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import InvalidInput
from core.preprocess import Limits, Row, modality, plain
from core.types import Scene
from service.api import body
from service.api.instances import bytes_of
from service.engine.snapshot import Snapshot
from service.identity import Content, Known, digest_of_tensors, known

# Bytes up to which an instance is read in microseconds, so that a thread for it would cost more than it saves.
INLINE_BYTES: Mapping[str, int] = {"text": 2_048, "tabular": 8_192}


@dataclass(slots=True)
class Ready:
    """An instance as the model takes it.

    Attributes:
        known: its bytes, their media type and its identity; for a row that was read without bytes, what makes them.
    """

    row: Row
    known: Known | Content

    def identity(self) -> Known:
        """Its bytes, their media type and its identity: made at the first time where nobody may ask for it."""
        if isinstance(self.known, Content):
            self.known = self.known.known()
        return self.known


def inline(scene: Scene, size: int) -> bool:
    """Whether the instances of a request of ``size`` bytes are read in the event loop."""
    return size <= INLINE_BYTES.get(scene.modality, 0)


def together(scene: Scene, size: int, count: int) -> bool:
    """Whether ``count`` instances, in a request of ``size`` bytes, are read one after the other by one thread."""
    return size <= INLINE_BYTES.get(scene.modality, 0) * count


def ready(snapshot: Snapshot, limits: Limits, told: Any) -> Ready:
    """Read an instance: the bytes of a file, a row of tensors, or what a client wrote of it in JSON.

    Raises:
        TooLarge, UnsupportedMedia, InvalidInput: as the modality says.
    """
    scene = snapshot.scene
    if isinstance(told, Row):
        return Ready(told, Known(digest_of_tensors(told.arrays)))
    if type(told) is dict and len(told) == 1:
        ((key, content),) = told.items()
        plugin = modality(scene.modality)
        row = plain(snapshot.preprocessor, content) if key == plugin.KEY else None
        if row is not None:
            return Ready(row, Content(scene.modality, content))
    return of_bytes(snapshot, example_bytes(scene, limits, told))


def of_bytes(snapshot: Snapshot, data: bytes) -> Ready:
    """Read the bytes of an example. Raises as ``ready``."""
    return Ready(snapshot.preprocessor.read(data), known(snapshot.scene.modality, data))


def example_bytes(scene: Scene, limits: Limits, told: Any) -> bytes:
    """The bytes of the example that a client sent as a file or wrote in JSON. Raises as ``ready``."""
    if not isinstance(told, bytes):
        data = bytes_of(told, scene, limits)
    elif scene.modality == "text":
        data = bytes_of({"text": _text(told)}, scene, limits)
    elif scene.modality == "tabular":
        data = bytes_of({"features": body.parse(told)}, scene, limits)
    elif "+" in scene.modality:
        data = bytes_of(body.parse(told), scene, limits)
    else:
        data = told
    if not data:
        raise InvalidInput("the instance is empty", "send the bytes of a file")
    return data


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the text is not UTF-8: {error.reason} at byte {error.start}", "send UTF-8") from None
