"""The champion's backbones had again: how they stand together, and which of them a cycle moves."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest

from core.config import Settings
from core.errors import InvalidInput
from core.home import open_home
from core.types import Block
from exporters.backbone import MemberGraph
from tests import pico
from tests.tuning import backbone
from training import regained
from training.assemble import Joint
from training.merge.parents import Parent


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Parent:
    """A version of one backbone, of which each test makes another's manifest."""
    with closing(open_home(Settings(home=tmp_path_factory.mktemp("home")))) as home:
        made = pico.register(home)
        return Parent(version=made.version, bundle=home.bundle(made.version.version), home=home)


def told(single: Parent, **update: object) -> Parent:
    """The version with some of its manifest otherwise; ``members`` is how many."""
    count = int(str(update.pop("members", 1)))
    members = single.manifest.members * count
    manifest = single.manifest.model_copy(update={"members": members, **update})
    return replace(single, bundle=replace(single.bundle, manifest=manifest))


def test_members_stand_side_by_side_as_the_fusion_decided(single: Parent) -> None:
    assert regained.joint(single) is None
    fused = told(single, members=2, alphas=(0.25, 0.75))
    assert regained.joint(fused) == Joint(widths=(pico.WIDTH, pico.WIDTH), alphas=(0.25, 0.75), blocks=False)
    mixed = told(single, members=2, alphas=(0.25, 0.75), blocks=(Block(start=0, stop=32, alpha=0.25),))
    found = regained.joint(mixed)
    assert found is not None and found.blocks
    assert regained.joint(told(single, members=2, modality="image+text")) is None
    with pytest.raises(InvalidInput, match="some are fused themselves") as caught:
        regained.joint(told(single, members=3, alphas=(0.5, 0.5)))
    assert "fuse again" in caught.value.remedy


def test_the_largest_share_that_can_be_tuned_moves_and_of_equal_shares_the_widest(single: Parent) -> None:
    network = backbone()
    graph = replace(network, body=MemberGraph(model=b""))
    wide = replace(network, dimension=2 * network.dimension)
    alphas = {"alphas": (0.2, 0.5, 0.3), "members": 3}
    assert regained.lead(told(single, **alphas), [network, network, network]) == 1
    assert regained.lead(told(single, **alphas), [network, graph, network]) == 2
    assert regained.lead(told(single, members=3), [graph, network, wide]) == 2
    assert regained.lead(told(single, members=2), [graph, graph]) == 0


def test_a_way_of_scaling_is_that_of_all_or_each_has_its_own(single: Parent) -> None:
    assert regained.kind(single.manifest) == "sqrt_l2"
    assert regained.kind(told(single, transform="l2, sqrt_l2").manifest) is None
