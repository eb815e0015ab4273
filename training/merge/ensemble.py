"""Versions as members of one graph, whatever they are: each is cut out of its own model, so no weights are needed.

Promises a graph whose parity with the versions was shown on real rows. Knows nothing of how α was chosen.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

from core import plugins
from core.bundle import Fusion
from core.home import Home
from exporters import compose
from exporters.backbone import Backbone, MemberGraph
from exporters.transform import Transform
from training import package
from training.assemble import Assembly, Joint, join
from training.merge.bench import Bench
from training.merge.members import Given, Mix, alone, score
from training.merge.parents import Parent
from training.merge.proposal import Proposal, evidence

METHODS = "training.fuse"


def mixed(given: Given, method: str, config: Any = None) -> tuple[Mix, Fusion] | None:
    """What a method of features makes of members, as it is set by default; None where it leaves one alone."""
    module = plugins.load(METHODS, method)
    config = config or module.Config()
    mix: Mix = module.fuse(given, config)
    if len(mix.kept) < 2:
        return None
    places = range(len(mix.alphas))
    without = [_without(given, place, module, config) if place in mix.kept else None for place in places]
    return mix, evidence(method, given, mix.outcomes_N, mix.alphas, without, mix.tried, mix.chosen)


def propose(home: Home, bench: Bench, method: str) -> Proposal | None:
    """The fusion of versions by a method of features; None where it leaves one version alone.

    Raises:
        ParityFailed: the graph is not faithful.
    """
    found = mixed(bench.given, method)
    if found is None:
        return None
    mix, fusion = found
    kept = [bench.parents[place] for place in mix.kept]
    assembly = _assembled(home, bench, kept, joint_of(mix))
    return Proposal(
        assembly=assembly,
        parity=package.check_parity(assembly, bench.examples),
        fusion=fusion,
        members=tuple(member for parent in kept for member in parent.manifest.members),
        transform=", ".join(sorted({parent.manifest.transform for parent in kept})),
        slower=True,
    )


def joint_of(mix: Mix) -> Joint:
    """How the members that were kept stand side by side."""
    return Joint(
        widths=tuple(mix.widths[place] for place in mix.kept),
        alphas=tuple(mix.alphas[place] for place in mix.kept),
        blocks=mix.blocks,
    )


def _without(given: Given, place: int, module: ModuleType, config: Any) -> float:
    """The score of the others, fused alike."""
    rest = replace(given, members=[member for other, member in enumerate(given.members) if other != place])
    if len(rest.members) == 1:
        return score(rest, alone(rest, rest.members[0]))
    return score(rest, module.fuse(rest, config).outcomes_N)


def _assembled(home: Home, bench: Bench, kept: Sequence[Parent], joint: Joint) -> Assembly:
    backbones = [_backbone(parent) for parent in kept]
    members = []
    for backbone in backbones:
        assert isinstance(backbone.body, MemberGraph)
        members.append(compose.Member(graph=backbone.body.model, transform=Transform(kind="as_is")))
    files = kept[0].preprocessor.files
    return join(backbones, members, files, bench.scene, os.cpu_count() or 1, home.limits, joint)


def _backbone(parent: Parent) -> Backbone:
    """A version as a backbone: its features as they are before the grid."""
    graph, width = compose.cut(parent.bundle.model)
    return Backbone(
        name=f"version {parent.version.number}",
        source=f"version {parent.version.version}",
        modality=parent.manifest.modality,
        digest=parent.manifest.extractor,
        licence=", ".join(sorted({member.licence for member in parent.manifest.members})),
        parameters=sum(member.parameters for member in parent.manifest.members),
        dimension=width,
        inputs=parent.session.inputs,
        files=parent.preprocessor.files,
        body=MemberGraph(model=graph),
        transform="as_is",
    )
