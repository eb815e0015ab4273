"""An answered instance as it waits for the prediction log: packed as soon as it was answered.

Promises the very prediction that went in. What is packed is a few hundred bytes and no object, so that thousands can
wait without the event loop having to walk past them; and what nobody needs before it is written, the name of an example
that came as a row, is made by whoever writes it. Knows nothing of queues.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec
import numpy as np

from core.types import Prediction, Reply, Role
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
    """A ``core.types.Prediction`` without the bytes of its input; ``features`` are (D,) int16.

    Attributes:
        known: the example, and the media type of its input; or its content, from which they are made.
        keeps: whether the input that is made from its content is kept.
    """

    prediction_id: str
    scene: str
    version: str
    extractor: str
    revision: int
    features: bytes
    label: str | None
    value: float | None
    confidence: float
    margin: float
    created_at: float
    role: Role
    known: tuple[str, str] | None
    content: Content | None
    keeps: bool
    parent: str | None = None
    further: dict[str, Reply] | None = None


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Record)


def pack(record: Record, data: bytes | None) -> Packed:
    """A record as it waits, with its input.

    >>> whole = Record("s:1", "s", "v", "e", 1, b"", "a", None, 1.0, 1.0, 0.0, "champion", ("x", ""), None, False)
    >>> unpack(pack(whole, None)).label
    'a'
    """
    try:
        return Packed(record.prediction_id, _ENCODER.encode(record), data)
    except OverflowError:  # a whole number beyond 64 bits is among its content
        assert record.content is not None, "nothing else is a number of the client's"
        made = record.content.known()
    record.known, record.content = (made.example, made.media if record.keeps else ""), None
    return Packed(record.prediction_id, _ENCODER.encode(record), made.data if record.keeps else None)


def packed(prediction: Prediction) -> Packed:
    """A prediction as it waits."""
    record = Record(
        prediction.prediction_id,
        prediction.scene,
        prediction.version,
        prediction.extractor,
        prediction.revision,
        prediction.features.tobytes(),
        prediction.label,
        prediction.value,
        prediction.confidence,
        prediction.margin,
        prediction.created_at,
        prediction.role,
        (prediction.example, prediction.media),
        None,
        prediction.instance is not None,
        prediction.parent,
        replies(prediction.further),
    )
    return pack(record, prediction.instance)


def unpack(waiting: Packed) -> Prediction:
    """The prediction that waits."""
    record: Record = _DECODER.decode(waiting.record)
    known = _known(record, waiting.data)
    return Prediction(
        prediction_id=record.prediction_id,
        scene=record.scene,
        version=record.version,
        extractor=record.extractor,
        revision=record.revision,
        example=known.example,
        features=np.frombuffer(record.features, np.int16),
        label=record.label,
        value=record.value,
        confidence=record.confidence,
        margin=record.margin,
        created_at=record.created_at,
        media=known.media,
        instance=known.data,
        role=record.role,
        parent=record.parent,
        further=record.further or {},
    )


def bare(waiting: Packed) -> Packed:
    """The same without its input."""
    prediction = unpack(waiting)
    prediction.media, prediction.instance = "", None
    return packed(prediction)


def replies(further: Any) -> dict[str, Reply] | None:
    """What was said for the tasks beside the first, and no more; None where there are none."""
    if not further:
        return None
    return {
        name: Reply(label=said.label, value=said.value, confidence=said.confidence, margin=said.margin)
        for name, said in further.items()
    }


def _known(record: Record, data: bytes | None) -> Known:
    if record.content is None:
        assert record.known is not None, "one of the two is there"
        return Known(*record.known, data)
    made = record.content.known()
    return made if record.keeps else Known(made.example)
