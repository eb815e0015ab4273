"""Backbones become the one graph, before anything is learned, so that every feature can come out of it.

Promises that the graph holds no head yet and that its extractor digest is final. Knows nothing of labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnxruntime as ort

from core.errors import InvalidInput
from core.preprocess import Inputs, Limits, Preprocessor, modality
from core.session import Session
from core.types import Block, Example, Floats, Scene
from exporters.backbone import Backbone
from exporters.compose import Member, compose, extractor_name
from exporters.transform import Kind, Transform, apply, projection
from training import features, parts

LEAST_DEVIATION = 1e-6  # a feature that varies less is constant: it is centred, not scaled
BATCH = 16


@dataclass(frozen=True, kw_only=True)
class Joint:
    """How members stand side by side: as a fusion decided it.

    Attributes:
        widths: features that each member has in the whole; fewer than it has where they are projected.
        alphas: the share of each. blocks: whether each has a head of its own, mixed by its share.
    """

    widths: tuple[int, ...]
    alphas: tuple[float, ...]
    blocks: bool

    def cut(self) -> tuple[Block, ...]:
        """The blocks of the head; none where one head is solved for all."""
        if not self.blocks:
            return ()
        ends = np.cumsum([0, *self.widths]).tolist()
        return tuple(
            Block(start=start, stop=stop, alpha=alpha)
            for start, stop, alpha in zip(ends[:-1], ends[1:], self.alphas, strict=True)
        )


@dataclass(frozen=True)
class Assembly:
    """Members in one graph, its head still empty; ``joint`` where a fusion decided how they stand side by side."""

    backbones: tuple[Backbone, ...]
    transforms: tuple[Transform, ...]
    model: bytes = field(repr=False)
    session: Session = field(repr=False)
    preprocessor: Preprocessor = field(repr=False)
    extractor: str
    joint: Joint | None = None

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Features that have heads of their own."""
        return self.joint.cut() if self.joint else ()

    @property
    def parts(self) -> list[tuple[Backbone, Transform]]:
        """Each backbone with its transform, in the order of the features."""
        return list(zip(self.backbones, self.transforms, strict=True))


def assemble(
    backbones: Sequence[Backbone],
    kind: Kind | None,
    scene: Scene,
    cache: Path,
    drawn: Sequence[Example],
    threads: int,
    limits: Limits,
    joint: Joint | None = None,
) -> Assembly:
    """Export (or take from the cache) and compose.

    Args:
        backbones: members in the order of their features, all of the scene's modality; for a mixture, of each part.
        kind: how each member's features are transformed; None follows the backbone.
        scene: gives the modality, the tasks and the scales of regressions.
        drawn: training examples, on which a standardised transform is measured.
        limits: what an example may cost.
        joint: how members stand side by side, where a fusion decided it.

    Raises:
        LeptonError: a backbone cannot be exported, or they do not go together.
    """
    files = _same_reading(backbones, scene.modality)
    members = []
    for backbone in backbones:
        mine = parts.of(drawn, scene.modality, backbone.modality, limits)
        members.append(_member(backbone, kind or backbone.transform, scene.modality, cache, mine, limits))
    return join(backbones, members, files, scene, threads, limits, joint)


def join(
    backbones: Sequence[Backbone],
    members: Sequence[Member],
    files: Mapping[str, bytes],
    scene: Scene,
    threads: int,
    limits: Limits,
    joint: Joint | None,
) -> Assembly:
    """Compose members that are graphs already; ``files`` is what their one preprocessor needs."""
    if joint is not None:
        pairs = zip(backbones, members, joint.widths, strict=True)
        members = [_narrowed(member, backbone.dimension, width) for backbone, member, width in pairs]
    model = compose(members, task=scene.task, offset=scene.offset, scale=scene.scale, further=scene.further)
    session = Session(model, threads=threads)
    preprocessor = modality(scene.modality).preprocessor(session.inputs, files, limits)
    extractor = extractor_name(model, preprocessor.key)
    transforms = tuple(member.transform for member in members)
    return Assembly(tuple(backbones), transforms, model, session, preprocessor, extractor, joint)


def alone(backbone: Backbone, scene: Scene, cache: Path, drawn: Sequence[Example], limits: Limits) -> Assembly:
    """One backbone in a graph of its own, as candidates are compared: with its own transform, one thread."""
    return assemble([backbone], None, scene, cache, drawn, 1, limits)


def batches(preprocessor: Preprocessor, examples: Sequence[Example]) -> list[Inputs]:
    """Examples as the model takes them, a few at a time."""
    rows = [features.read(example, preprocessor) for example in examples]
    return [preprocessor.batch(rows[start : start + BATCH]) for start in range(0, len(rows), BATCH)]


def _same_reading(backbones: Sequence[Backbone], modality_name: str) -> Mapping[str, bytes]:
    """The files of the one preprocessor that all members of a modality share."""
    firsts: dict[str, Backbone] = {}
    for backbone in backbones:
        first = firsts.setdefault(backbone.modality, backbone)
        if dict(backbone.files) != dict(first.files):
            raise InvalidInput(
                f"{first.name} and {backbone.name} read their input in different ways",
                "fuse only backbones that share a tokenizer, a schema or windows",
            )
    wanted = parts.names(modality_name)
    if sorted(firsts) != wanted:
        raise InvalidInput(
            f"{', '.join(backbone.name for backbone in backbones)}: for {' and '.join(sorted(firsts))}, and the data "
            f"are {' and '.join(wanted)}",
            f"choose from lepton backbones --modality {wanted[0]}" + (", one for each part" if wanted[1:] else ""),
        )
    return {name: data for first in firsts.values() for name, data in first.files.items()}


def _member(
    backbone: Backbone, kind: Kind, modality_name: str, cache: Path, drawn: Sequence[Example], limits: Limits
) -> Member:
    """A backbone in the graph; in a mixture, with what stands where its part is missing."""
    graph = features.graph(backbone, cache)
    mixed = modality_name != backbone.modality
    if not mixed and kind != "standardised":
        return Member(graph=graph, transform=Transform(kind=kind))
    if not drawn:
        raise InvalidInput(f"no training example has the part {backbone.modality}", "leave its column out")
    preprocessor = modality(backbone.modality).preprocessor(backbone.inputs, backbone.files, limits)
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    raw_ND = np.concatenate([session.run(["raw"], part)[0] for part in batches(preprocessor, drawn)])
    transform = measured(kind, raw_ND)
    if not mixed:
        return Member(graph=graph, transform=transform)
    mean_D = apply(transform, raw_ND).mean(axis=0).astype(np.float32)
    return Member(
        graph=graph, transform=transform, part=parts.names(modality_name).index(backbone.modality), mean_D=mean_D
    )


def _narrowed(member: Member, dimension: int, width: int) -> Member:
    """The member with its features projected at random to ``width``, where it has more."""
    if width >= dimension:
        return member
    assert member.mean_D is None, "the mean of a mixture's part would have to be projected, too"
    return replace(member, transform=replace(member.transform, projection_DP=projection(dimension, width)))


def measured(kind: Kind, raw_ND: Floats) -> Transform:
    """The transform of a kind, measured on raw features where it needs that."""
    if kind != "standardised":
        return Transform(kind=kind)
    deviation_D = raw_ND.std(axis=0)
    deviation_D[deviation_D < LEAST_DEVIATION] = 1.0
    return Transform(
        kind=kind, mean_D=raw_ND.mean(axis=0).astype(np.float32), deviation_D=deviation_D.astype(np.float32)
    )
