"""Every backbone plugin x every law, found by listing the folder; a plugin's ``examples`` say how to build it small."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from sklearn.datasets import load_sample_image

from core import plugins
from core.errors import LeptonError
from core.session import Session
from core.statistics import GRID
from core.types import GridRows
from exporters.backbone import Backbone, member
from exporters.compose import Member, compose, extractor_digest
from exporters.parity import BATCHES, ROWS, check
from exporters.transform import Transform
from training import zoo

PACKAGE = "training.backbone"
PLUGINS = plugins.names(PACKAGE)


@dataclass(frozen=True)
class Built:
    plugin: str
    name: str
    asked: int
    backbone: Backbone
    graph: bytes
    model: bytes


def photographs(size: tuple[int, int]) -> np.ndarray:
    """64 tiles of a real photograph, at any size up to 200."""
    photo = load_sample_image("china.jpg")
    height, width = size
    return np.stack([photo[y : y + height, x : x + width] for y in range(0, 216, 27) for x in range(0, 400, 50)])


def features(model: bytes, rows: np.ndarray) -> GridRows:
    return Session(model, threads=2).features({"image": rows})


@pytest.fixture(scope="module", params=PLUGINS)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Built]:
    """The examples of a plugin, loaded, exported and composed once for all laws."""
    module = plugins.load(PACKAGE, request.param)
    made = []
    for name, asked in module.examples(tmp_path_factory.mktemp(request.param)):
        backbone = module.load(name, asked)
        graph = member(backbone)
        made.append(Built(request.param, name, asked, backbone, graph, compose([Member(graph=graph)])))
    assert made
    return made


def test_the_folder_offers_what_the_issue_asks_for() -> None:
    assert set(PLUGINS) >= {"packaged", "timm", "onnx_file"}


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_plugin_says_what_it_is_when_to_use_it_and_its_limit(plugin: str) -> None:
    text = plugins.load(PACKAGE, plugin).__doc__ or ""
    for words in ("When to use:", "Limit:", ">>>"):
        assert words in text


@pytest.mark.parametrize("plugin", PLUGINS)
def test_rows_are_complete_and_resolve_to_their_plugin(plugin: str) -> None:
    rows = plugins.load(PACKAGE, plugin).names()
    assert len({row.name for row in rows}) == len(rows)
    for row in rows:
        assert zoo.resolve(row.name)[0] == plugin
        assert min(row.dimension, row.parameters) > 0
        assert all((row.modality, row.licence, row.source))


@pytest.mark.parametrize("plugin", PLUGINS)
def test_an_unknown_name_is_an_error_for_people(plugin: str) -> None:
    with pytest.raises((LookupError, LeptonError)):
        plugins.load(PACKAGE, plugin).load("no_such_backbone", 96)


def test_a_backbone_is_what_it_says(built: list[Built]) -> None:
    for one in built:
        backbone = one.backbone
        assert backbone.parameters > 0
        assert backbone.licence
        assert len(backbone.digest) == 64
        assert Session(one.model).width == backbone.dimension
        assert Session(one.model).size == backbone.size


def test_loading_again_gives_the_same_backbone(built: list[Built]) -> None:
    for one in built:
        again = plugins.load(PACKAGE, one.plugin).load(one.name, one.asked)
        assert (again.digest, again.dimension, again.size, again.parameters) == (
            one.backbone.digest,
            one.backbone.dimension,
            one.backbone.size,
            one.backbone.parameters,
        )


def test_the_export_agrees_with_the_original_on_photographs(built: list[Built]) -> None:
    for one in built:
        found = check([(one.backbone, Transform())], one.model, photographs(one.backbone.size))
        assert found.rows == ROWS
        assert found.batches == BATCHES
        assert found.argmax_agreement == 1.0


def test_only_the_batch_axis_is_free(built: list[Built]) -> None:
    for one in built:
        proto = onnx.load_model_from_string(one.graph)
        axes = [[a.dim_param or a.dim_value for a in value.type.tensor_type.shape.dim] for value in proto.graph.input]
        assert axes == [["batch", *one.backbone.size, 3]]
        out = [a.dim_param or a.dim_value for a in proto.graph.output[0].type.tensor_type.shape.dim]
        assert out == ["batch", one.backbone.dimension]


def test_the_graph_carries_no_trace_of_this_machine(built: list[Built]) -> None:
    for one in built:
        for words in (str(Path.cwd()), "site-packages", '.py"', sys.prefix):
            assert words.encode() not in one.graph


@pytest.mark.parametrize("value", [0, 255])
def test_flat_pictures_give_finite_features(built: list[Built], value: int) -> None:
    for one in built:
        rows = np.full((2, *one.backbone.size, 3), value, np.uint8)
        found = features(one.model, rows)
        assert np.array_equal(found[0], found[1])


def test_features_tell_photographs_apart_and_have_unit_length(built: list[Built]) -> None:
    for one in built:
        found = features(one.model, photographs(one.backbone.size)[::9]).astype(np.float64) / GRID
        assert len(np.unique(found, axis=0)) == len(found)
        assert np.linalg.norm(found, axis=1) == pytest.approx(1.0, abs=2e-3)


def test_the_extractor_digest_is_that_of_a_second_composition(built: list[Built]) -> None:
    for one in built:
        assert extractor_digest(compose([Member(graph=one.graph)])) == extractor_digest(one.model)
