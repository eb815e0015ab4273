"""Backbones become the one graph, before anything is learned, so that every feature can come out of it.

Promises that the graph holds no head yet and that its extractor digest is final. Knows nothing of labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from core.preprocess import Limits, Preprocessor, modality
from core.session import Session
from core.types import Scene
from exporters.backbone import Backbone
from exporters.compose import Member, compose, extractor_digest
from exporters.transform import Kind, Transform
from training import features, zoo

LEAST_DEVIATION = 1e-6  # a feature that varies less is constant: it is centred, not scaled


Pixels = NDArray[np.uint8]
Draw = Callable[[tuple[int, int]], Pixels]  # (H, W) → (N, H, W, 3) training pictures


@dataclass(frozen=True)
class Assembly:
    """Members in one graph, its head still empty."""

    backbones: tuple[Backbone, ...]
    transforms: tuple[Transform, ...]
    model: bytes = field(repr=False)
    session: Session = field(repr=False)
    preprocessor: Preprocessor = field(repr=False)
    extractor: str

    @property
    def parts(self) -> list[tuple[Backbone, Transform]]:
        """Each backbone with its transform, in the order of the features."""
        return list(zip(self.backbones, self.transforms, strict=True))


def assemble(
    names: Sequence[str],
    size: int,
    kind: Kind,
    scene: Scene,
    cache: Path,
    draw: Draw,
    threads: int,
    limits: Limits,
) -> Assembly:
    """Load, export (or take from the cache) and compose.

    Args:
        names: backbones, as ``lepton backbones`` lists them.
        size: side of the pictures in pixels.
        kind: how each member's features are transformed.
        scene: gives the task and the scale of a regression.
        draw: gives training pictures of a size, on which a standardised transform is measured.
        limits: what an example may cost.

    Raises:
        LookupError: an unknown backbone; LeptonError: its weights are not to be had, or it cannot be exported.
    """
    backbones = tuple(zoo.load(name, size) for name in names)
    graphs = [features.graph(backbone, cache) for backbone in backbones]
    transforms = tuple(
        _transform(kind, graph, draw, backbone.size) for graph, backbone in zip(graphs, backbones, strict=True)
    )
    members = [Member(graph=graph, transform=transform) for graph, transform in zip(graphs, transforms, strict=True)]
    model = compose(members, task=scene.task, offset=scene.offset, scale=scene.scale)
    session = Session(model, threads=threads)
    preprocessor = modality(scene.modality).preprocessor(session.inputs, {}, limits)
    return Assembly(backbones, transforms, model, session, preprocessor, extractor_digest(model))


def _transform(kind: Kind, graph: bytes, draw: Draw, size: tuple[int, int]) -> Transform:
    if kind != "standardised":
        return Transform(kind=kind)
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    raw_ND = np.concatenate([session.run(["raw"], {"image": row[None]})[0] for row in draw(size)])
    deviation_D = raw_ND.std(axis=0)
    deviation_D[deviation_D < LEAST_DEVIATION] = 1.0
    return Transform(
        kind=kind, mean_D=raw_ND.mean(axis=0).astype(np.float32), deviation_D=deviation_D.astype(np.float32)
    )
