"""A learned version becomes a bundle: manifest, model, golden rows and model card, in the registry.

Promises that parity with the original backbones was shown on real rows before anything is written, and that golden
rows belong to nobody who could ask to be erased. Knows nothing of how the head was learned.
"""

from __future__ import annotations

import importlib.metadata
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from core import bundle
from core.bundle import FurtherTask, Fusion, Golden, Lineage, Manifest, Member, Metric, Tuning
from core.errors import Overtaken
from core.failpoint import passes
from core.home import Home
from core.mixture import PRESENT
from core.preprocess import Inputs
from core.session import Session
from core.types import Example, Head, Scene, Version
from exporters import parity
from exporters.backbone import Backbone
from exporters.compose import OPSET, with_head
from exporters.parity import Parity
from training import card, features, tuned
from training.assemble import Assembly

GOLDEN_ROWS = 4


@dataclass(frozen=True, kw_only=True)
class Round:
    """What the manifest tells of a cycle of retraining; see ``core.bundle.Lineage``."""

    start: str
    since: int
    upto: int
    seed: int
    decision: str


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What the manifest tells of the making.

    Attributes:
        further: metrics of the tasks beside the first, by name.
        validation: the list of examples on which no weight was tuned, as ``core.untouched`` names it.
        tuning: how the one member's weights were moved; None where they are as they were.
        members: what the graph is made of, where its members are graphs that are made of several themselves.
        alphas: the share of each of what was fused, where the assembly does not say it.
        fusion: how and why it was fused. parents: the versions that it was fused of.
        cycle: of retraining, where one made it.
    """

    recipe: str
    transform: str
    metrics: Mapping[str, Metric]
    data_digest: str
    parent: str | None
    further: Mapping[str, Mapping[str, Metric]] = field(default_factory=dict)
    validation: str = ""
    tuning: Tuning | None = None
    members: tuple[Member, ...] = ()
    alphas: tuple[float, ...] = (1.0,)
    fusion: Fusion | None = None
    parents: tuple[str, ...] = ()
    cycle: Round | None = None


def check_parity(assembly: Assembly, examples: Sequence[Example]) -> Parity:
    """Compare the graph with the original backbones on real rows; where they are fewer than 64, pictures come again
    mirrored and paler, and any other row comes again as it is.

    Raises:
        ParityFailed: they differ by more than a backbone's tolerance.
    """
    rows = inputs_of(assembly, examples[: parity.ROWS])
    while len(next(iter(rows.values()))) < parity.ROWS:
        rows = {name: np.concatenate([array, _varied(name, array)]) for name, array in rows.items()}
    if PRESENT in rows:  # a part that is missing is compared as blank
        rows[PRESENT] = np.ones_like(rows[PRESENT])
    return parity.check(assembly.parts, assembly.model, rows)


def register(
    home: Home, scene: Scene, assembly: Assembly, head: Head, examples: Sequence[Example], origin: Origin
) -> Version:
    """Write the bundle, put it in its place and register it; a scene's first version becomes champion.

    Raises:
        Unavailable: the disk is full or cannot be written; nothing is registered.
        Overtaken: somebody of whom a cycle may have learned was erased meanwhile; nothing that it made is kept.
    """
    model = with_head(assembly.model, head)
    manifest = _manifest(scene, assembly, head, origin, origin.members or members(home, assembly, origin.tuning))
    golden = _golden(assembly, model, examples)
    learned = origin.cycle.upto if origin.cycle else None
    return write(home, manifest, model, golden, head, assembly.preprocessor.files, learned)


def write(
    home: Home,
    manifest: Manifest,
    model: bytes,
    golden: Golden,
    head: Head,
    more: Mapping[str, bytes],
    learned: int | None = None,
) -> Version:
    """Write a bundle, put it in its place and register it, with further files; ``learned`` as the registry says.

    Raises:
        Unavailable: the disk is full or cannot be written; nothing is registered.
    """
    files = {
        bundle.MODEL: model,
        bundle.GOLDEN: bundle.golden_bytes(golden),
        bundle.CARD: card.render(manifest).encode(),
        **more,
    }
    with tempfile.TemporaryDirectory() as folder:
        version = bundle.write(Path(folder), manifest, files)
        home.artifacts.adopt(Path(folder), version)
    told = home.bundle(version).manifest.model_dump(mode="json")
    passes("version.written")
    try:
        made = home.registry.register(manifest.scene, version, told, head, learned=learned)
    except Overtaken:
        _discard(home, manifest, version)
        raise
    passes("version.registered")
    return made


def _discard(home: Home, manifest: Manifest, version: str) -> None:
    """Remove what was written of a version that may not be, but for weights that others have."""
    others = [home.bundle(other.version).manifest for other in home.registry.versions(manifest.scene)]
    kept = {member.weights for other in others for member in other.members}
    for blob in {member.weights for member in manifest.members} - kept - {""}:
        home.artifacts.delete(blob)
    home.untouched.drop(manifest.lineage.validation)
    shutil.rmtree(home.artifacts.bundle(version), ignore_errors=True)


def inputs_of(assembly: Assembly, examples: Sequence[Example]) -> Inputs:
    """Examples as the model takes them, all in one batch."""
    read = assembly.preprocessor.read
    return assembly.preprocessor.batch([read(features.content(example)) for example in examples])


def _varied(name: str, array: NDArray[Any]) -> NDArray[Any]:
    if name != "image":
        return array
    return np.ascontiguousarray(array[:, :, ::-1] // 2 + np.uint8(64))


def _golden(assembly: Assembly, model: bytes, examples: Sequence[Example]) -> Golden:
    free = [e for e in examples if e.subject is None][:GOLDEN_ROWS]
    if free:
        inputs = inputs_of(assembly, free)
    else:
        blank = assembly.preprocessor.batch([assembly.preprocessor.blank()] * GOLDEN_ROWS)
        inputs = {name: _noise(array) if name == "image" else array for name, array in blank.items()}
    answer = Session(model).predict(inputs)
    return Golden(inputs, answer.features, answer.outputs, answer.further)


def _noise(array: NDArray[Any]) -> NDArray[Any]:
    return np.random.default_rng(0).integers(0, 256, array.shape, np.uint8)


def members(home: Home, assembly: Assembly, tuning: Tuning | None) -> tuple[Member, ...]:
    """The backbones of the graph; the weights of a tuned one are kept, so that they can be fused and tuned on.

    ``tuning``: how the weights of what is tuned were moved.
    """
    return tuple(
        Member(
            name=backbone.name,
            source=backbone.source,
            digest=backbone.digest,
            licence=backbone.licence,
            dimension=backbone.dimension,
            parameters=backbone.parameters,
            tuned=bool(backbone.recipe),
            weights=tuned.keep(home.artifacts, backbone) if _can_be_kept(backbone) else "",
            tuning=tuning if backbone.recipe else None,
            zoo="" if backbone.zoo_name == backbone.name else backbone.zoo_name,
        )
        for backbone in assembly.backbones
    )


def _can_be_kept(backbone: Backbone) -> bool:
    return bool(backbone.recipe and backbone.zoo_name) and isinstance(backbone.body, torch.nn.Module)


def _manifest(scene: Scene, assembly: Assembly, head: Head, origin: Origin, members: tuple[Member, ...]) -> Manifest:
    return Manifest(
        scene=scene.name,
        task=scene.task,
        modality=scene.modality,
        preprocessing=assembly.preprocessor.key,
        new_labels=scene.new_labels,
        labels=head.labels,
        inputs={
            name: bundle.Input(dtype=held.dtype.name, shape=held.shape)
            for name, held in assembly.session.inputs.items()
        },
        extractor=assembly.extractor,
        features=assembly.session.width,
        members=members,
        transform=origin.transform,
        alphas=assembly.joint.alphas if assembly.joint else origin.alphas,
        blocks=assembly.blocks,
        fusion=origin.fusion,
        lam=head.lam,
        temperature=head.temperature,
        target_offset=scene.offset,
        target_scale=scene.scale,
        opset=OPSET,
        recipe=origin.recipe,
        metrics=dict(origin.metrics),
        lineage=Lineage(
            data_digest=origin.data_digest,
            sequence=head.sequence,
            parent=origin.parent,
            parents=origin.parents,
            validation=origin.validation,
            code=importlib.metadata.version("lepton"),
            **(asdict(origin.cycle) if origin.cycle else {}),
        ),
        files={},
        task_name=scene.task_name,
        further=tuple(_further(task, head.of(task.task_name), origin) for task in scene.further),
    )


def _further(task: Scene, head: Head, origin: Origin) -> FurtherTask:
    return FurtherTask(
        name=task.task_name,
        task=task.task,
        labels=head.labels,
        lam=head.lam,
        temperature=head.temperature,
        target_offset=task.offset,
        target_scale=task.scale,
        metrics=dict(origin.further[task.task_name]),
    )
