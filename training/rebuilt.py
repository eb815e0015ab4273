"""A registered version as a torch network: for what asks for gradients, which ONNX Runtime does not give.

Promises that what is rebuilt is what is served: weights by their digest, and features that agree with those of the
served graph on the rows at hand. Knows nothing of attacks.

Legend: N rows, D features.
"""

from __future__ import annotations

import numpy as np
import torch
from onnx import numpy_helper

from core.artifacts import Artifacts
from core.bundle import Bundle, Manifest
from core.bundle import Member as Told
from core.errors import InvalidInput, LeptonError
from core.preprocess import Inputs
from core.session import Session
from core.statistics import GRID
from core.types import Head
from exporters.backbone import Backbone
from exporters.compose import read
from exporters.transform import Transform
from training import tuned, zoo
from training.tune.network import Network, torch_body
from training.zoo import Setting

_SLACK = 2e-3  # of a feature between torch and the served graph, in any precision that serves


def network(bundle: Bundle, artifacts: Artifacts, head: Head, session: Session, rows: Inputs) -> Network:
    """Body, transform and the head that is served.

    Args:
        rows: on which the network has to agree with the session.

    Raises:
        InvalidInput: the version has several members, or its backbone cannot be had again, or is another now.
    """
    manifest = bundle.manifest
    if len(manifest.members) != 1 or "+" in manifest.modality:
        raise InvalidInput(
            f"the version has {len(manifest.members)} members for {manifest.modality}, and only one can be rebuilt",
            "choose a version of one backbone (--version)",
        )
    backbone = _backbone(manifest, manifest.members[0], artifacts, bundle)
    found = Network(torch_body(backbone), _transform(manifest, bundle.model), head).eval()
    _compare(found, session, rows)
    return found


def _backbone(manifest: Manifest, member: Told, artifacts: Artifacts, bundle: Bundle) -> Backbone:
    remedy = "adapt again with a backbone of the zoo that needs no file, or evaluate without --attack"
    if member.weights:
        return tuned.restore(artifacts, member.weights)
    size = manifest.inputs["image"].shape[0] if "image" in manifest.inputs else None
    try:
        backbone = zoo.load(member.zoo or member.name, Setting(size=size, files=bundle.files))
    except (LeptonError, LookupError) as error:
        raise InvalidInput(f"the backbone {member.name} cannot be loaded again: {error}", remedy) from error
    if backbone.digest != member.digest:
        raise InvalidInput(f"the backbone {member.name} has other weights than the version", remedy)
    return backbone


def _transform(manifest: Manifest, model: bytes) -> Transform:
    """The one of the first member; its constants, where it has any, stand in the graph."""
    kind = manifest.transform
    if kind != "standardised":
        return Transform(kind=kind)  # type: ignore[arg-type]
    held = {tensor.name: tensor for tensor in read(model).graph.initializer}
    mean_D, reach_D = (numpy_helper.to_array(held[f"m0/scaled/{name}"]) for name in ("mean", "reach"))
    clip = Transform.clip
    deviation_D = (reach_D / clip).astype(np.float32)
    return Transform(kind="standardised", mean_D=mean_D, deviation_D=deviation_D, clip=clip)


def _compare(found: Network, session: Session, rows: Inputs) -> None:
    with torch.no_grad():
        mine_ND = found({name: torch.from_numpy(array) for name, array in rows.items()}).features_BD.numpy()
    gap = float(np.abs(mine_ND - session.features(rows).astype(np.float64) / GRID).max())
    if not gap <= _SLACK:
        raise InvalidInput(
            f"the version rebuilt in torch differs from what is served by {gap:.2g}; allowed are {_SLACK}",
            "use a version in fp32 that this release of the packages made",
        )
