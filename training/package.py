"""A learned version becomes a bundle: manifest, model, golden rows and model card, in the registry.

Promises that parity with the original backbones was shown on real rows before anything is written, and that golden
rows belong to nobody who could ask to be erased. Knows nothing of how the head was learned.
"""

from __future__ import annotations

import importlib.metadata
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from core import bundle
from core.bundle import Golden, Lineage, Manifest, Member, Metric
from core.home import Home
from core.modality import image
from core.session import Session
from core.types import Example, Head, Scene, Version
from exporters import parity
from exporters.compose import OPSET, with_head
from exporters.parity import Parity
from training import card
from training.assemble import Assembly

GOLDEN_ROWS = 4

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What the manifest tells of the making."""

    recipe: str
    tuned: bool
    transform: str
    metrics: Mapping[str, Metric]
    data_digest: str
    parent: str | None


def check_parity(assembly: Assembly, pixels_NHWC: Pixels) -> Parity:
    """Compare the graph with the original backbones on real rows; fewer than 64 are filled up with their mirror
    images, and those of a handful with paler copies.

    Raises:
        ParityFailed: they differ by more than a backbone's tolerance.
    """
    rows_NHWC = pixels_NHWC
    if len(rows_NHWC) < parity.ROWS:
        rows_NHWC = np.concatenate([rows_NHWC[:, ::down, ::across] for down in (1, -1) for across in (1, -1)])
    while len(rows_NHWC) < parity.ROWS:
        rows_NHWC = np.concatenate([rows_NHWC, rows_NHWC // 2 + 64])
    return parity.check(assembly.parts, assembly.model, np.ascontiguousarray(rows_NHWC))


def register(
    home: Home, scene: Scene, assembly: Assembly, head: Head, examples: Sequence[Example], origin: Origin
) -> Version:
    """Write the bundle, put it in its place and register it; a scene's first version becomes champion.

    Raises:
        Unavailable: the disk is full or cannot be written; nothing is registered.
    """
    model = with_head(assembly.model, head)
    manifest = _manifest(scene, assembly, head, origin)
    files = {
        bundle.MODEL: model,
        bundle.GOLDEN: bundle.golden_bytes(_golden(home, model, examples)),
        bundle.CARD: card.render(manifest).encode(),
    }
    with tempfile.TemporaryDirectory() as folder:
        version = bundle.write(Path(folder), manifest, files)
        home.artifacts.adopt(Path(folder), version)
    told = home.bundle(version).manifest.model_dump(mode="json")
    return home.registry.register(scene.name, version, told, head)


def decoded(home: Home, examples: Sequence[Example], size: tuple[int, int]) -> Pixels:
    """(N, H, W, 3) pictures of the examples, as training and serving see them."""
    return np.stack([image.decode(Path(e.path).read_bytes(), size, home.limits) for e in examples])


def _golden(home: Home, model: bytes, examples: Sequence[Example]) -> Golden:
    session = Session(model)
    free = [e for e in examples if e.subject is None][:GOLDEN_ROWS]
    if free:
        pixels_NHWC = decoded(home, free, session.size)
    else:
        pixels_NHWC = np.random.default_rng(0).integers(0, 256, (GOLDEN_ROWS, *session.size, 3), np.uint8)
    inputs = {"image": pixels_NHWC}
    answer = session.predict(inputs)
    return Golden(inputs, answer.features, answer.outputs)


def _manifest(scene: Scene, assembly: Assembly, head: Head, origin: Origin) -> Manifest:
    height, width = assembly.session.size
    return Manifest(
        scene=scene.name,
        task=scene.task,
        modality=scene.modality,
        preprocessing=image.PREPROCESSING,
        new_labels=scene.new_labels,
        labels=head.labels,
        inputs={"image": bundle.Input(dtype="uint8", shape=(height, width, 3))},
        extractor=assembly.extractor,
        features=assembly.session.width,
        members=tuple(
            Member(
                name=backbone.name,
                source=backbone.source,
                digest=backbone.digest,
                licence=backbone.licence,
                dimension=backbone.dimension,
                parameters=backbone.parameters,
                tuned=origin.tuned,
            )
            for backbone in assembly.backbones
        ),
        transform=origin.transform,
        alphas=(1.0,),
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
            code=importlib.metadata.version("lepton"),
        ),
        files={},
    )
