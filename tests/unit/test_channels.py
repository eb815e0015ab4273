"""Channels taken out: which can be, that the graph gets smaller by itself, and that what reads the others is solved."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import numpy_helper

from core.errors import InvalidInput
from core.session import Session
from core.statistics import from_grid
from core.types import Doubles
from exporters import channels, compose, members
from exporters.chains import chains, cut
from tests import graphs

KINDS = {"pictures": (graphs.bottleneck, graphs.pictures), "texts": (graphs.feed_forward, graphs.texts)}


def features(model: bytes, rows: dict[str, np.ndarray]) -> Doubles:
    return from_grid(Session(model).features(rows))


def cosine(one_ND: Doubles, other_ND: Doubles) -> float:
    lengths = np.linalg.norm(one_ND, axis=1) * np.linalg.norm(other_ND, axis=1)
    return float(((one_ND * other_ND).sum(axis=1) / lengths).mean())


def test_the_insides_of_blocks_are_chains_and_what_meets_a_sum_is_none() -> None:
    (graph,) = members.named(members.taken(graphs.composed(graphs.bottleneck())))
    found = {end.node.removeprefix("node_"): chain for chain in chains(graph) for end in chain.ends}
    assert {name: chain.width for name, chain in found.items()} == {"p1": 48, "c2": 48}, "not the stem, not the results"
    assert {name for name, _ in found["p1"].cuts} == {"wide", "wide_bias", "depth", "gain"}
    (graph,) = members.named(members.taken(graphs.composed(graphs.feed_forward())))
    (chain,) = chains(graph)
    assert dict(chain.cuts) == {"first": 1, "first_bias": 0}
    assert [(end.weight, end.axis) for end in chain.ends] == [("second", 0)]
    for whole in (graphs.convolutions(), graphs.products(), graphs.projection()):
        assert not chains(members.named(members.taken(graphs.composed(whole)))[0])


@pytest.mark.parametrize("kind", KINDS)
def test_the_graph_is_smaller_and_solving_brings_features_back(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made, rows = KINDS[kind]
    model, fresh = graphs.composed(made()), rows(40, seed=1)
    steps: list[tuple[int, int]] = []
    pruned = channels.prune(model, 0.5, rows(64), lambda done, total: steps.append((done, total)))
    assert pruned.after == pruned.before // 2 and steps[-1][0] == steps[-1][1] == len(steps)
    assert len(pruned.model) < len(model)
    shapes = {t.name: tuple(t.dims) for t in members.taken(pruned.model)[0].graph.initializer}
    assert 24 in shapes["wide"] if kind == "pictures" else shapes["second"] == (32, graphs.WIDTH)
    monkeypatch.setattr(channels, "WIDEST", 0)
    bare = channels.prune(model, 0.5, rows(64)).model
    whole, solved, without = (features(each, fresh) for each in (model, pruned.model, bare))
    assert solved.shape == whole.shape
    assert cosine(solved, whole) > max(0.9, cosine(without, whole))


def test_channels_that_say_nothing_are_the_first_to_go_and_cost_nothing() -> None:
    """Half of the inside of the bottleneck is made constant: what is left gives the very features, to rounding."""
    model, rows = graphs.composed(graphs.bottleneck()), graphs.pictures(48)
    (graph,) = members.taken(model)
    for tensor in graph.graph.initializer:
        if tensor.name in {"wide", "second"}:
            array = numpy_helper.to_array(tensor).copy()
            array[::2] = 0
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    dull = members.replaced(model, [graph])
    pruned = channels.prune(dull, 0.5, rows)
    assert np.abs(features(pruned.model, rows) - features(dull, rows)).max() < 5e-3, "edges alone are not constant"


def test_a_cut_that_keeps_all_changes_nothing() -> None:
    (graph,) = members.named(members.taken(graphs.composed(graphs.bottleneck())))
    for chain in chains(graph):
        again = cut(graph, chain, range(chain.width))
        before, after = ({t.name: numpy_helper.to_array(t) for t in each.graph.initializer} for each in (graph, again))
        assert all(np.array_equal(array, after[name]) for name, array in before.items())


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(InvalidInput, match="share of channels"):
        channels.prune(graphs.composed(graphs.bottleneck()), share, graphs.pictures(16))


def test_a_model_without_blocks_is_refused_with_another_way() -> None:
    with pytest.raises(InvalidInput, match="nothing in the model can be pruned") as caught:
        channels.prune(graphs.composed(graphs.projection()), 0.5, graphs.pictures(16))
    assert "int8" in caught.value.remedy


def test_the_head_is_swapped_as_before() -> None:
    model = graphs.composed(graphs.bottleneck())
    pruned = channels.prune(model, 0.25, graphs.pictures(32)).model
    assert compose.extractor_digest(pruned) != compose.extractor_digest(model)
    assert Session(pruned).width == Session(model).width
