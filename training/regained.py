"""The backbones of the champion, had again and put together as they stand in it: pristine, or with its own weights.

Promises that a fusion stays the one that it was while weights move: members in their order, as wide, with the same
shares and blocks. Knows nothing of how weights are moved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast, get_args

from onnx import TensorProto

from core.bundle import Manifest
from core.errors import InvalidInput
from core.home import Home
from exporters.backbone import Backbone
from exporters.compose import read
from exporters.transform import Kind
from training import rebuilt, tuned, tuning, zoo
from training.assemble import Joint
from training.merge.parents import Parent
from training.zoo import Setting

REMEDY = "retrain with --start base, or adapt the scene again"


def pristine(home: Home, champion: Parent, files: Mapping[str, bytes]) -> tuple[Backbone, ...]:
    """The champion's backbones as they were before anybody tuned them.

    Args:
        files: what is fitted on rows, and what came with the backbones.

    Raises:
        LeptonError, LookupError: one cannot be had again.
    """
    image = champion.manifest.inputs.get("image")
    setting = Setting(size=image.shape[0] if image else None, files=files)
    return tuple(
        zoo.load(tuned.named(home.artifacts, member.weights) if member.weights else member.zoo or member.name, setting)
        for member in champion.manifest.members
    )


def own(home: Home, champion: Parent) -> tuple[Backbone, ...]:
    """The champion's backbones with its own weights.

    Raises:
        InvalidInput: the weights of one were not kept, are gone, or are others now.
    """
    return rebuilt.backbones(champion.bundle, home.artifacts, f"version {champion.name}", REMEDY)


def kind(manifest: Manifest) -> Kind | None:
    """How features are scaled; None where every backbone has a way of its own."""
    return cast("Kind", manifest.transform) if manifest.transform in get_args(Kind) else None


def joint(champion: Parent) -> Joint | None:
    """How the champion's backbones stand side by side, where a fusion decided it.

    Raises:
        InvalidInput: it is fused of versions that are fused themselves, whose shares are not those of backbones.
    """
    manifest = champion.manifest
    if len(manifest.members) == 1 or "+" in manifest.modality:
        return None
    if len(manifest.alphas) != len(manifest.members):
        raise InvalidInput(
            f"version {champion.name} is fused of {len(manifest.alphas)} versions, of which some are fused themselves",
            "retrain one that they are fused of, and fuse again: lepton fuse",
        )
    stored = {tensor.name: tensor for tensor in read(champion.bundle.model).graph.initializer}
    widths = [_width(stored, place, member.dimension) for place, member in enumerate(manifest.members)]
    return Joint(widths=tuple(widths), alphas=manifest.alphas, blocks=bool(manifest.blocks))


def lead(champion: Parent, backbones: Sequence[Backbone]) -> int:
    """The place of the backbone whose weights a cycle moves: of those that can be tuned the one with the largest share,
    of equal shares the widest; the first where none can."""
    alphas = champion.manifest.alphas
    shares = alphas if len(alphas) == len(backbones) else [1.0] * len(backbones)
    places = [place for place, backbone in enumerate(backbones) if tuning.can_move(backbone)]
    return max(places, key=lambda place: (shares[place], backbones[place].dimension), default=0)


def _width(stored: Mapping[str, TensorProto], place: int, dimension: int) -> int:
    """Of the features of a member, where they were projected to fewer."""
    projection = stored.get(f"m{place}/scaled/projection")
    return dimension if projection is None else int(projection.dims[1])
