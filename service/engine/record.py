"""An answered instance as it waits for the prediction log: packed as soon as it was answered.

Promises the very prediction that went in. What is packed is a few hundred bytes and no object, so that thousands can
wait without the event loop having to walk past them; and what nobody needs before it is written, the name of an example
that came as a row, is made by whoever writes it. Knows nothing of queues.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import msgspec
import numpy as np

from core.predictions import COLUMNS, as_json, replies
from core.types import Prediction
from service.identity import Content, Known


class Packed(NamedTuple):
    """A prediction that waits.

    Attributes:
        record: MessagePack of a ``Record``. data: the input, where there are bytes of it that are to be kept.
    """

    prediction_id: str
    record: bytes
    data: bytes | None

    @property
    def size(self) -> int:
        """Bytes that its input takes, or all of it where the input is part of the record."""
        return len(self.data or self.record)


class Record(msgspec.Struct, array_like=True, gc=False):
    """A row of the prediction log, its columns in their order, and what is left to be done about it.

    Attributes:
        features: (D,) int16. further: as ``core.predictions.as_json`` has it.
        content: what ``example`` and ``media``, which are empty, are to be made from.
        keeps: whether the input that is made from it is kept.
    """

    prediction_id: str
    scene: str
    version: str
    extractor: str
    revision: int
    example: str
    features: bytes
    label: str | None
    value: float | None
    confidence: float
    margin: float
    media: str
    created_at: float
    role: str
    parent: str | None = None
    further: str | None = None
    content: Content | None = None
    keeps: bool = False


_ENCODER = msgspec.msgpack.Encoder()
_WIDTH = len(COLUMNS)
_EXAMPLE, _MEDIA, _SEEN = (COLUMNS.index(name) for name in ("example", "media", "created_at"))


def pack(record: Record, data: bytes | None) -> Packed:
    """A record as it waits, with its input.

    >>> row = Record("s:1", "s", "v", "e", 1, "x", b"", "a", None, 1.0, 1.0, "", 0.0, "champion")
    >>> unpack(pack(row, None)).label
    'a'
    """
    try:
        return Packed(record.prediction_id, _ENCODER.encode(record), data)
    except OverflowError:  # a whole number beyond 64 bits is among its content
        assert record.content is not None, "nothing else is a number of the client's"
        record.example, record.media, data = _named(record.content.known(), record.keeps)
        record.content = None
        return Packed(record.prediction_id, _ENCODER.encode(record), data)


def packed(prediction: Prediction) -> Packed:
    """A prediction as it waits."""
    row = {name: getattr(prediction, name) for name in COLUMNS}
    row |= {"features": prediction.features.tobytes(), "further": as_json(prediction.further)}
    return pack(Record(**row), prediction.instance)


def unpack(waiting: Packed) -> Prediction:
    """The prediction that waits."""
    row, data = _row(waiting)
    told = dict(zip(COLUMNS, row, strict=True))
    told |= {"features": np.frombuffer(told["features"], np.int16), "further": replies(told["further"])}
    return Prediction(**told, instance=data)


def bare(waiting: Packed) -> Packed:
    """The same without its input."""
    prediction = unpack(waiting)
    prediction.media, prediction.instance = "", None
    return packed(prediction)


def rows(waiting: Iterable[Packed]) -> tuple[list[list[Any]], dict[str, tuple[bytes, float]]]:
    """What ``PredictionLog.write`` takes."""
    found, inputs = list[list[Any]](), dict[str, tuple[bytes, float]]()
    for each in waiting:
        row, data = _row(each)
        found.append(row)
        if data is not None:
            inputs[row[_EXAMPLE]] = data, row[_SEEN]
    return found, inputs


def _row(waiting: Packed) -> tuple[list[Any], bytes | None]:
    """The columns, and the input where it is kept."""
    row, data = msgspec.msgpack.decode(waiting.record), waiting.data
    content, keeps = row[_WIDTH:]
    del row[_WIDTH:]
    if content is not None:
        row[_EXAMPLE], row[_MEDIA], data = _named(Content(*content).known(), keeps)
    return row, data


def _named(known: Known, keeps: bool) -> tuple[str, str, bytes | None]:
    return (known.example, known.media, known.data) if keeps else (known.example, "", None)
