"""The nouns of the program: frozen dataclasses that cross the borders between rooms.

Knows nothing of storage, HTTP or models.

Shape legend, used everywhere: B batch, N examples, D features, K classes, H height, W width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Task = Literal["classification", "regression"]
Policy = Literal["reject", "accept"]
EventKind = Literal["label", "correct", "withdraw", "join", "erase", "release"]
Split = Literal["train", "validation", "test"]
NAMES = "names"  # source of rows that stand for a class by its name alone, of a scene whose inputs are no texts
Role = Literal["champion", "challenger", "shadow"]  # which of a scene's versions answered; a shadow answers nobody

GridRows = NDArray[np.int16]  # features on the grid, steps of 2**-15
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One task in one environment, or several over the same inputs.

    What is asked, ``task`` to ``scale``, is said of the first task; the others are scenes of their own in ``further``,
    which differ in this alone. So whatever works for a scene with one task works for each of ``tasks``.

    Attributes:
        labels: declared class order; empty for regression.
        new_labels: whether feedback may bring a label that is not declared.
        hash_key: secret of the keyed hash that draws the calibration sample.
        offset, scale: a regression target y is learned as (y - offset) / scale, |.| < 1, on the 16-bit grid;
            scale is a power of two.
        task_name: of several tasks, what the first one is called; empty where it is the only one.
    """

    name: str
    task: Task
    modality: str
    labels: tuple[str, ...] = ()
    new_labels: Policy = "reject"
    hash_key: bytes = field(repr=False, default=b"")
    offset: float = 0.0
    scale: float = 1.0
    task_name: str = ""
    further: tuple[Scene, ...] = ()

    @property
    def tasks(self) -> tuple[Scene, ...]:
        """Every task as a scene that has no other."""
        return (replace(self, further=()), *self.further) if self.further else (self,)


@dataclass(frozen=True, kw_only=True)
class Example:
    """One labelled input of a data set, before it enters the ledger.

    ``digest`` is the SHA-256 of the input's bytes and the example's identity everywhere. ``content`` holds the bytes
    where they lie in no file of their own (a line of a table); ``path`` is empty then. ``label`` or ``value`` is that
    of the scene's first task, ``further`` has those of the others by name; of several tasks some may have none.
    """

    digest: str
    path: str
    split: Split
    label: str | None = None
    value: float | None = None
    group: str | None = None
    subject: str | None = None
    content: bytes | None = field(repr=False, default=None)
    further: Mapping[str, str | float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class LabelEvent:
    """One line of the ledger.

    ``target`` is the event that a correct, withdraw, join or release event acts on. ``example`` is None while a label
    waits for its prediction. An ``erase`` event carries the digests of the erased event ids in ``erased``. ``task`` is
    the name of the task, empty where the scene has one.
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
    task: str = ""
    erased: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Head:
    """What turns features into an answer, and where it came from.

    Attributes:
        weight: (D, K) float32, the temperature folded in.
        bias: (K,) float32.
        labels: K class names, in column order; ``("value",)`` for regression.
        sequence: the last label event that the head includes.
        lam: λ; of several blocks, their mean by α.
        fallback: nothing stands, and this is the head of the last promoted bundle.
        upto: where later labels are held, the last label event whose label may be in it; withdrawals and erasures up
            to ``sequence`` are.
        further: of several tasks, the heads of those beside the first, by name; all at one sequence.
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
    upto: int | None = None
    further: Mapping[str, Head] = field(default_factory=dict)

    def of(self, task: str) -> Head:
        """The head of the task of this name."""
        return self.further.get(task, self)


@dataclass(frozen=True, kw_only=True)
class Block:
    """Features with a head of their own: a member of a fusion of logits, whose scores count with the share ``alpha``.

    Attributes:
        start, stop: its columns among the features.
        alpha: the shares of all blocks sum to 1.
    """

    start: int
    stop: int
    alpha: float


@dataclass(frozen=True, kw_only=True)
class Revision:
    """A head as published: ``number`` counts up from 1 within (scene, version); 0 is the head inside the bundle."""

    scene: str
    version: str
    number: int
    head: Head


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What is answered for one task: a label or a value.

    ``margin`` is between the best and the second best probability, 1 where there is no second.
    """

    label: str | None
    value: float | None
    confidence: float
    margin: float


@dataclass(kw_only=True, slots=True)  # not frozen: one is made for every answer, and freezing is most of its cost
class Prediction:
    """One answered instance, as the prediction log keeps it. ``features`` is (D,) int16 on the grid.

    ``parent`` is, of a shadow, the id of the prediction that was answered. ``further`` has what was said for the tasks
    beside the first, by name.
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
    further: Mapping[str, Reply] = field(default_factory=dict)

    def of(self, task: str) -> Reply:
        """What was said for the task of this name."""
        first = Reply(label=self.label, value=self.value, confidence=self.confidence, margin=self.margin)
        return self.further.get(task, first)


@dataclass(frozen=True)
class Input:
    """One input of the model: its shape without the batch axis (None where it may vary) and its element type."""

    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True, kw_only=True)
class Version:
    """A registered bundle. ``version`` is the SHA-256 of its manifest; ``manifest`` the parsed JSON.

    ``origin`` is foreign where this home did not make it: it is then tried in a limited process before it is served.
    ``job`` is the job that made it, where one did.
    """

    scene: str
    version: str
    number: int
    manifest: dict[str, object] = field(repr=False)
    state: Literal["ready", "quarantined"] = "ready"
    reason: str = ""
    created_at: float = 0.0
    origin: Literal["own", "foreign"] = "own"
    job: str | None = None
