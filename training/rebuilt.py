"""A registered version in torch again: for what asks for its weights or for gradients, which a served graph hides.

Promises that what is rebuilt is what is served: weights by their digest, and of a network features that agree with
those of the served graph on the rows at hand. Knows nothing of attacks or fusions.

Legend: N rows, D features.
"""

from __future__ import annotations

import numpy as np
import torch
from onnx import numpy_helper

from core.artifacts import Artifacts
from core.bundle import Bundle, Manifest, Member
from core.errors import InvalidInput, LeptonError, NotFound
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

REMEDY = "choose a version of one backbone of the zoo (--version), or evaluate without --attack"
_SLACK = 2e-3  # of a feature between torch and the served graph, in any precision that serves


def network(bundle: Bundle, artifacts: Artifacts, head: Head, session: Session, rows: Inputs) -> Network:
    """Body, transform and the head that is served.

    Args:
        rows: on which the network has to agree with the session.

    Raises:
        InvalidInput: the version has several members, or its backbone cannot be had again, or is another now.
    """
    whole = backbone(bundle, artifacts, "the version", REMEDY)
    found = Network(torch_body(whole), _transform(bundle.manifest, bundle.model), head).eval()
    _compare(found, session, rows)
    return found


def backbone(bundle: Bundle, artifacts: Artifacts, named: str, remedy: str) -> Backbone:
    """The backbone of a version of one, with its weights: kept ones from their blob, untouched ones from where they
    came.

    Args:
        named: the version, in messages. remedy: what to do where it cannot be had again.

    Raises:
        InvalidInput: it has several, its weights were not kept or are gone, or they are others now.
    """
    manifest = bundle.manifest
    if len(manifest.members) != 1 or "+" in manifest.modality:
        raise InvalidInput(f"{named} is made of {len(manifest.members)} backbones for {manifest.modality}", remedy)
    (found,) = backbones(bundle, artifacts, named, remedy)
    return found


def backbones(bundle: Bundle, artifacts: Artifacts, named: str, remedy: str) -> tuple[Backbone, ...]:
    """The same of a version of several, in their order.

    Raises:
        InvalidInput: the weights of one were not kept or are gone, or they are others now.
    """
    return tuple(_member(bundle, member, artifacts, named, remedy) for member in bundle.manifest.members)


def _member(bundle: Bundle, member: Member, artifacts: Artifacts, named: str, remedy: str) -> Backbone:
    manifest = bundle.manifest
    if member.tuned and not member.weights:
        raise InvalidInput(f"the tuned weights of {named} were not kept", remedy)
    if member.weights:
        try:
            return tuned.restore(artifacts, member.weights)
        except NotFound as error:
            raise InvalidInput(f"the weights of {named} are gone (blob {member.weights[:12]})", remedy) from error
    size = manifest.inputs["image"].shape[0] if "image" in manifest.inputs else None
    try:
        found = zoo.load(member.zoo or member.name, Setting(size=size, files=bundle.files))
    except (LeptonError, LookupError) as error:
        why = error.message if isinstance(error, LeptonError) else "it has none that the zoo knows"
        message = f"the weights of {named} cannot be loaded by the name of its backbone: {why}"
        raise InvalidInput(message, remedy) from None
    if found.digest != member.digest:
        raise InvalidInput(f"the weights of {named} are no longer those it was made of", remedy)
    return found


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
