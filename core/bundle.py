"""The servable model on disk: a folder named by the SHA-256 of its manifest, which names the SHA-256 of every file.

Promises that what was read is what was written: digests are checked over the very bytes that are loaded. Knows nothing
of how a model is made or served.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    BaseModel,
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationError,
    field_validator,
    model_serializer,
    model_validator,
)
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from core.artifacts import SHORT
from core.blocks import tile
from core.errors import BrokenBundle, Unavailable
from core.types import Block, Policy, Task

SCHEMA = 1
MANIFEST = "manifest.json"
MODEL = "model.onnx"
GOLDEN = "golden.safetensors"
CARD = "card.md"
LARGEST_MANIFEST = 4 * 2**20
SLACK = 1e-9  # of the sum of shares from 1
_OUTPUTS = "outputs."  # of a task beside the first, before its name


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Schema(BaseModel):
    schema_version: int  # all that can be read of a manifest that a later program wrote


class Input(_Part):
    """One input of the graph, the batch axis left out."""

    dtype: str
    shape: tuple[int | None, ...]


class Tuning(_Part):
    """How a recipe moved a member's weights.

    ``base``: digest of the weights that it began from. ``settings``: every hyperparameter as it was used. ``best``: the
    epoch whose weights these are, of ``epochs``. ``floor`` and ``score``: of the closed form on the untouched and on
    the tuned features, on so many validation ``rows``; ``trained``: of the head that was trained along. ``run``: under
    which its epochs are kept.
    """

    recipe: str
    base: str
    settings: dict[str, str | int | float | bool | None]
    seed: int
    epochs: int
    best: int
    seconds: float
    stopped: str
    floor: float
    score: float
    trained: float
    rows: int
    run: str = ""


class _Grown(_Part):
    """A part with fields that came later: left out where they say nothing, so that what says nothing new is spelled,
    and so named by its digest, as it always was."""

    LATER: ClassVar[frozenset[str]]

    @model_serializer(mode="wrap")
    def _plain(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        told: dict[str, Any] = whole(self)
        return {name: value for name, value in told.items() if value or name not in self.LATER}


class Member(_Grown):
    """One frozen backbone inside the graph.

    ``tuned``: its weights were adapted on labels of the scene. ``weights``: the blob in which they are kept, if any.
    ``zoo``: what it is loaded by, where that is not its name.
    """

    name: str
    source: str
    digest: str
    licence: str
    dimension: int
    parameters: int
    tuned: bool = False
    weights: str = ""
    tuning: Tuning | None = None
    zoo: str = ""

    LATER = frozenset({"weights", "tuning", "zoo"})


class Metric(_Part):
    """A figure with its 95 % interval, and the rows it was measured on."""

    value: float
    low: float
    high: float
    rows: int


class FurtherTask(_Part):
    """A task beside the first, over the same features: of it what the manifest itself says of the first."""

    name: str
    task: Task
    labels: tuple[str, ...]
    lam: float
    temperature: float
    target_offset: float = 0.0
    target_scale: float = 1.0
    metrics: dict[str, Metric]


class Lineage(_Grown):
    """Where the version comes from.

    ``sequence``: the last label event in the head that is stored in the graph. ``parents``: the versions that it was
    fused of. ``validation``: the list of examples on which no weight was tuned (core/untouched.py). Of a cycle:
    ``start``, base or champion; the labels after event ``since`` up to ``upto`` were new to it; its ``seed``; and the
    ``decision`` of the gate.
    """

    data_digest: str
    sequence: int
    parent: str | None = None
    parents: tuple[str, ...] = ()
    validation: str = ""
    code: str
    start: str = ""
    since: int = 0
    upto: int = 0
    seed: int = 0
    decision: str = ""

    LATER = frozenset({"parents", "validation", "start", "since", "upto", "seed", "decision"})


class Share(_Part):
    """What one member of a fusion is worth: α, its score alone, that of the others ``without`` it; None: not known."""

    name: str
    alpha: float
    alone: float | None
    without: float | None = None


class Fusion(_Part):
    """How a version was fused, and the evidence for each member.

    ``score`` is what ``metric`` says, on so many ``rows``; ``best`` is that of the best member alone, ``low`` and
    ``high`` the 95 % interval of the difference. ``tried`` maps what was compared on the way to its score, ``chosen``
    what the method chose to the number chosen.
    """

    method: str
    metric: str
    rows: int
    score: float
    best: float
    low: float
    high: float
    members: tuple[Share, ...]
    tried: dict[str, float] = {}
    chosen: dict[str, float] = {}


class Manifest(_Grown):
    """Everything that is known of a version. ``files`` maps every other file to its SHA-256.

    ``blocks``: features that have heads of their own, mixed by α; none where one head is solved for all. ``task`` to
    ``metrics`` are said of the first task, ``task_name``.
    """

    schema_version: int = SCHEMA
    scene: str
    task: Task
    modality: str
    preprocessing: str
    new_labels: Policy
    labels: tuple[str, ...]
    inputs: dict[str, Input]
    extractor: str
    features: int
    members: tuple[Member, ...]
    transform: str
    alphas: tuple[float, ...]
    blocks: tuple[Block, ...] = ()
    fusion: Fusion | None = None
    lam: float
    temperature: float
    target_offset: float = 0.0
    target_scale: float = 1.0
    precision: str = "fp32"
    opset: int
    recipe: str
    metrics: dict[str, Metric]
    lineage: Lineage
    files: dict[str, str]
    task_name: str = ""
    further: tuple[FurtherTask, ...] = ()

    LATER = frozenset({"blocks", "fusion", "task_name", "further"})

    @field_validator("alphas")
    @classmethod
    def _shares(cls, alphas: tuple[float, ...]) -> tuple[float, ...]:
        if not alphas or min(alphas) < 0 or not abs(math.fsum(alphas) - 1.0) <= SLACK:
            raise ValueError(f"are {alphas}; expected shares of at least 0 that sum to 1")
        return alphas

    @model_validator(mode="after")
    def _blocks(self) -> Manifest:
        if self.blocks and not tile(self.blocks, self.features):
            raise ValueError(f"blocks {self.blocks} do not cover {self.features} features")
        if self.blocks and tuple(block.alpha for block in self.blocks) != self.alphas:
            raise ValueError(f"blocks have the shares {[block.alpha for block in self.blocks]}, not {self.alphas}")
        return self

    def to_bytes(self) -> bytes:
        """The one spelling of the manifest: sorted keys, two spaces, a newline at the end."""
        told = json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=2, ensure_ascii=False)
        return (told + "\n").encode()


@dataclass(frozen=True)
class Golden:
    """Rows with their answers by the stored head, to try a loaded model on.

    Attributes:
        inputs: input name → (N, …) array.
        features: (N, D) int16 on the grid.
        outputs: (N, K) float32 probabilities, or (N, 1) values; of the first task.
        further: the same for every other task, by name.
    """

    inputs: Mapping[str, NDArray[np.generic]]
    features: NDArray[np.int16]
    outputs: NDArray[np.float32]
    further: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


@dataclass(frozen=True)
class Bundle:
    """A bundle in memory, every byte checked. ``files``: what else lies in it, by name, such as a tokenizer."""

    version: str
    manifest: Manifest
    model: bytes = field(repr=False)
    golden: Golden = field(repr=False)
    files: Mapping[str, bytes] = field(repr=False)


def write(folder: Path, manifest: Manifest, files: Mapping[str, bytes]) -> str:
    """Write a bundle into a folder; ``manifest.files`` is filled in here. Returns the version, its SHA-256."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    digests = {name: _digest(data) for name, data in sorted(files.items())}
    told = manifest.model_copy(update={"files": digests}).to_bytes()
    (folder / MANIFEST).write_bytes(told)
    return _digest(told)


def read(folder: Path, version: str | None = None) -> Bundle:
    """Read a bundle and check every digest.

    Args:
        folder: the bundle.
        version: the digest that the manifest must have, where it is known.

    Raises:
        BrokenBundle: a file is missing, truncated or changed, or the manifest is not one.
        Unavailable: the machine cannot open files just now.
    """
    told = _bytes(folder, MANIFEST)
    found = _digest(told)
    if version is not None and found != version:
        raise _broken(folder, f"the manifest's digest is {found[:12]}…, expected {version[:12]}…")
    try:
        schema = _Schema.model_validate_json(told).schema_version
        if schema != SCHEMA:
            raise _broken(folder, f"the manifest has schema {schema}, this program reads {SCHEMA}")
        manifest = Manifest.model_validate_json(told)
    except ValidationError as error:
        raise _broken(
            folder, f"the manifest does not fit: {error.errors()[0]['loc']} {error.errors()[0]['msg']}"
        ) from None
    contents = {name: checked(folder, name, digest) for name, digest in manifest.files.items()}
    missing = {MODEL, GOLDEN} - contents.keys()
    if missing:
        raise _broken(folder, f"the manifest names no {' and no '.join(sorted(missing))}")
    others = {name: data for name, data in contents.items() if name not in {MODEL, GOLDEN, CARD}}
    return Bundle(found, manifest, contents[MODEL], _golden(folder, contents[GOLDEN]), others)


def blocks_of(manifest: Mapping[str, object]) -> tuple[Block, ...]:
    """The blocks of a manifest as the registry keeps it: parsed JSON."""
    listed = manifest.get("blocks") or ()
    assert isinstance(listed, list | tuple)
    return tuple(Block(**block) for block in listed)


def checked(folder: Path, name: str, digest: str) -> bytes:
    """The bytes of one file of a bundle.

    Raises:
        BrokenBundle: it is missing, or its digest is another; Unavailable: the machine cannot open files just now.
    """
    if Path(name).name != name or name in {MANIFEST, "", ".."} or "\0" in name:
        raise _broken(folder, f"the manifest names a file {name[:80]!r}, which is no plain file name")
    data = _bytes(folder, name)
    if _digest(data) != digest:
        raise _broken(folder, f"{name} has digest {_digest(data)[:12]}…, the manifest says {digest[:12]}…")
    return data


def metrics_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics of every task in a manifest's JSON, by name, the first task's first; empty for an empty one."""
    if "metrics" not in manifest:
        return {}
    further = {task["name"]: task["metrics"] for task in manifest.get("further", ())}
    return {str(manifest.get("task_name", "")): manifest["metrics"]} | further


def golden_bytes(golden: Golden) -> bytes:
    """Golden rows as safetensors."""
    tensors = {f"input.{name}": np.ascontiguousarray(array) for name, array in golden.inputs.items()}
    tensors |= {f"{_OUTPUTS}{task}": array for task, array in golden.further.items()}
    return save_tensors(tensors | {"features": golden.features, "outputs": golden.outputs})


def _golden(folder: Path, data: bytes) -> Golden:
    try:
        tensors = load_tensors(data)
        features, outputs = tensors.pop("features"), tensors.pop("outputs")
    except (SafetensorError, KeyError, ValueError) as error:
        raise _broken(folder, f"{GOLDEN} cannot be read: {error}") from error
    further = {name: tensors.pop(name) for name in list(tensors) if name.startswith(_OUTPUTS)}
    return Golden(
        {name.removeprefix("input."): array for name, array in tensors.items()},
        features,
        outputs,
        {name.removeprefix(_OUTPUTS): array for name, array in further.items()},
    )


def _bytes(folder: Path, name: str) -> bytes:
    try:
        if name == MANIFEST and (folder / name).stat().st_size > LARGEST_MANIFEST:
            raise _broken(folder, f"{name} is larger than {LARGEST_MANIFEST} bytes")
        return (folder / name).read_bytes()
    except OSError as error:
        if error.errno in SHORT:
            what = f"bundle {folder.name[:12]}: {name} cannot be read just now: {error.strerror}"
            raise Unavailable(what, "it is tried again; raise the limit on open files, or free memory") from error
        raise _broken(folder, f"{name} cannot be read: {error.strerror}") from error


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _broken(folder: Path, what: str) -> BrokenBundle:
    return BrokenBundle(
        f"bundle {folder.name[:12]}: {what}",
        "restore the folder from where it was exported, or roll back to a good version",
    )
