"""The nouns of the program: frozen dataclasses that cross the borders between rooms.

Knows nothing of storage, HTTP or models.

Shape legend, used everywhere: B batch, N examples, D features, K classes, H height, W width.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Task = Literal["classification", "regression"]
Policy = Literal["reject", "accept"]
EventKind = Literal["label", "correct", "withdraw", "join", "erase"]
Split = Literal["train", "validation", "test"]
NAMES = "names"  # source of rows that stand for a class by its name alone, of a scene whose inputs are no texts
Role = Literal["champion", "challenger", "shadow"]  # which of a scene's versions answered; a shadow answers nobody

GridRows = NDArray[np.int16]  # features on the grid, steps of 2**-15
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One task in one environment.

    Attributes:
        labels: declared class order; empty for regression.
        new_labels: whether feedback may bring a label that is not declared.
        hash_key: secret of the keyed hash that draws the calibration sample.
        offset, scale: a regression target y is learned as (y - offset) / scale, |.| < 1, on the 16-bit grid;
            scale is a power of two.
    """

    name: str
    task: Task
    modality: str
    labels: tuple[str, ...] = ()
    new_labels: Policy = "reject"
    hash_key: bytes = field(repr=False, default=b"")
    offset: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Example:
    """One labelled input of a data set, before it enters the ledger.

    ``digest`` is the SHA-256 of the input's bytes and the example's identity everywhere. ``content`` holds the bytes
    where they lie in no file of their own (a line of a table); ``path`` is empty then.
    """

    digest: str
    path: str
    split: Split
    label: str | None = None
    value: float | None = None
    group: str | None = None
    subject: str | None = None
    content: bytes | None = field(repr=False, default=None)


@dataclass(frozen=True, kw_only=True)
class LabelEvent:
    """One line of the ledger.

    ``target`` is the event that a correct, withdraw or join event acts on. ``example`` is None while a label waits
    for its prediction. An ``erase`` event carries the digests of the erased event ids in ``erased``.
    """

    sequence: int
    event_id: str
    kind: EventKind
    scene: str
    target: str | None = None
    example: str | None = None
    label: str | None = None
    value: float | None = None
    annotator: str = ""
    source: str = "feedback"
    confidence: float = 1.0
    erased: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Head:
    """What turns features into an answer, and where it came from.

    Attributes:
        weight: (D, K) float32, the temperature folded in.
        bias: (K,) float32.
        labels: K class names, in column order; ``("value",)`` for regression.
        sequence: the last label event that the head includes.
        fallback: nothing stands, and this is the head of the last promoted bundle.
    """

    weight: Floats
    bias: Floats
    labels: tuple[str, ...]
    sequence: int = 0
    lam: float = 0.0
    temperature: float = 1.0
    sample_digest: str = ""
    examples: int = 0
    fallback: bool = False


@dataclass(frozen=True, kw_only=True)
class Revision:
    """A head as published: ``number`` counts up from 1 within (scene, version); 0 is the head inside the bundle."""

    scene: str
    version: str
    number: int
    head: Head


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """One answered instance, as the prediction log keeps it. ``features`` is (D,) int16 on the grid.

    ``parent`` is, of a shadow, the id of the prediction that was answered.
    """

    prediction_id: str
    scene: str
    version: str
    extractor: str
    revision: int
    example: str
    features: GridRows
    label: str | None
    value: float | None
    confidence: float
    margin: float
    created_at: float
    media: str = ""
    instance: bytes | None = field(repr=False, default=None)
    role: Role = "champion"
    parent: str | None = None


@dataclass(frozen=True, kw_only=True)
class Version:
    """A registered bundle. ``version`` is the SHA-256 of its manifest; ``manifest`` the parsed JSON.

    ``origin`` is foreign where this home did not make it: it is then tried in a limited process before it is served.
    """

    scene: str
    version: str
    number: int
    manifest: dict[str, object] = field(repr=False)
    state: Literal["ready", "quarantined"] = "ready"
    reason: str = ""
    created_at: float = 0.0
    origin: Literal["own", "foreign"] = "own"
