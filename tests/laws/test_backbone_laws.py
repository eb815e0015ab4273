"""Every backbone plugin x every law, found by listing the folder; a plugin's ``examples`` say how to build it small."""

import copy
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from core import plugins
from core.errors import LeptonError
from core.preprocess import Inputs, Preprocessor, Row
from core.session import Session
from core.statistics import GRID
from exporters.backbone import Backbone, member
from exporters.compose import Member, compose, extractor_digest
from exporters.parity import BATCHES, ROWS, check
from exporters.template import identity, trace
from exporters.transform import Transform
from tests.inputs import preprocessor_of, rows_of
from training import zoo
from training.zoo import Setting

PACKAGE = "training.backbone"
PLUGINS = plugins.names(PACKAGE)
STEPS = 2  # of the grid, by which a row's features may differ with its neighbours


@dataclass(frozen=True)
class Built:
    plugin: str
    name: str
    asked: Setting
    backbone: Backbone
    template: bytes | None
    graph: bytes
    model: bytes
    session: Session
    preprocessor: Preprocessor
    rows: list[Row]

    def inputs(self) -> Inputs:
        return self.preprocessor.batch(self.rows)


@pytest.fixture(scope="module", params=PLUGINS)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Built]:
    """The examples of a plugin, loaded, exported and composed once for all laws."""
    module = plugins.load(PACKAGE, request.param)
    made = []
    for name, asked in module.examples(tmp_path_factory.mktemp(request.param)):
        backbone = module.load(name, asked)
        template = trace(backbone.body, backbone.inputs, name) if isinstance(backbone.body, torch.nn.Module) else None
        graph = member(backbone, template)
        model = compose([Member(graph=graph, transform=Transform(kind="l2"))])
        session = Session(model, threads=2)
        reader = preprocessor_of(backbone)
        read = rows_of(backbone)
        made.append(Built(request.param, name, asked, backbone, template, graph, model, session, reader, read))
    if not made:
        pytest.skip(f"the weights of {request.param} are not installed here")
    return made


def test_the_folder_offers_what_is_promised() -> None:
    assert set(PLUGINS) >= {"packaged", "timm", "onnx_file", "minilm", "transformers", "wordllama", "tabular"}


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
        assert row.modality == "tabular" or min(row.dimension, row.parameters) > 0
        assert all((row.modality, row.licence, row.source))


@pytest.mark.parametrize("plugin", PLUGINS)
def test_an_unknown_name_is_an_error_for_people(plugin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises((LookupError, LeptonError)):
        plugins.load(PACKAGE, plugin).load("no_such_backbone", Setting(size=96))


def test_a_template_is_filled_with_other_weights_as_if_it_were_traced_for_them_and_holds_none(
    built: list[Built],
) -> None:
    for each in built[:1]:  # tracing takes seconds
        if each.template is None:
            continue
        body = copy.deepcopy(each.backbone.body)
        assert isinstance(body, torch.nn.Module)
        for tensor in body.state_dict().values():
            if tensor.is_floating_point():
                tensor.mul_(1.25)
        moved = replace(each.backbone, body=body)
        assert identity(body) == identity(each.backbone.body)  # type: ignore[arg-type]
        assert member(moved, each.template) == member(moved) != each.graph
        weights = [
            tensor for tensor in body.state_dict().values() if tensor.is_floating_point() and len(tensor.unique()) > 8
        ]
        assert weights and not any((tensor / 1.25).numpy().tobytes() in each.template for tensor in weights)


def test_a_backbone_is_what_it_says(built: list[Built]) -> None:
    for one in built:
        backbone = one.backbone
        assert backbone.parameters >= 0
        assert backbone.licence
        assert len(backbone.digest) == 64
        assert one.session.width == backbone.dimension
        assert dict(one.session.inputs) == dict(backbone.inputs)
        assert dict(one.preprocessor.files) == dict(backbone.files)


def test_loading_again_gives_the_same_backbone(built: list[Built]) -> None:
    for one in built:
        again = plugins.load(PACKAGE, one.plugin).load(one.name, one.asked)
        assert (again.digest, again.dimension, again.inputs, again.files, again.parameters) == (
            one.backbone.digest,
            one.backbone.dimension,
            one.backbone.inputs,
            one.backbone.files,
            one.backbone.parameters,
        )


def test_the_export_agrees_with_the_original(built: list[Built]) -> None:
    for one in built:
        found = check([(one.backbone, Transform(kind="l2"))], one.model, one.inputs())
        assert found.rows == ROWS
        assert found.batches == BATCHES
        assert found.argmax_agreement == 1.0


def test_only_the_axes_that_are_stated_as_free_are_free(built: list[Built]) -> None:
    for one in built:
        proto = onnx.load_model_from_string(one.graph)
        for value in proto.graph.input:
            batch, *axes = value.type.tensor_type.shape.dim
            assert batch.dim_param == "batch"
            assert tuple(axis.dim_value or None for axis in axes) == one.backbone.inputs[value.name].shape
        out = [a.dim_param or a.dim_value for a in proto.graph.output[0].type.tensor_type.shape.dim]
        assert out == ["batch", one.backbone.dimension]


def test_the_graph_carries_no_trace_of_this_machine(built: list[Built]) -> None:
    for one in built:
        for words in (str(Path.cwd()), "site-packages", '.py"', sys.prefix):
            assert words.encode() not in one.graph


def test_a_row_among_others_has_the_features_that_it_has_alone(built: list[Built]) -> None:
    for one in built:
        rows = one.rows[::5]
        together = one.session.features(one.preprocessor.batch(rows)).astype(int)
        backwards = one.session.features(one.preprocessor.batch(rows[::-1])).astype(int)[::-1]
        alone = np.concatenate([one.session.features(one.preprocessor.batch([row])) for row in rows]).astype(int)
        assert np.abs(together - alone).max() <= STEPS
        assert np.abs(together - backwards).max() <= STEPS


def test_a_blank_row_gives_finite_features(built: list[Built]) -> None:
    for one in built:
        found = one.session.features(one.preprocessor.batch([one.preprocessor.blank()] * 2))
        assert np.array_equal(found[0], found[1])


@pytest.mark.parametrize("value", [0, 255])
def test_flat_pictures_give_finite_features(built: list[Built], value: int) -> None:
    for one in built:
        if one.backbone.modality == "image":
            found = one.session.features({"image": np.full((2, *one.backbone.size, 3), value, np.uint8)})
            assert np.array_equal(found[0], found[1])


def test_features_tell_inputs_apart_and_have_unit_length(built: list[Built]) -> None:
    for one in built:
        found = one.session.features(one.preprocessor.batch(one.rows[::9])).astype(np.float64) / GRID
        assert len(np.unique(found, axis=0)) == len(found)
        assert np.linalg.norm(found, axis=1) == pytest.approx(1.0, abs=2e-3)


def test_the_extractor_digest_is_that_of_a_second_composition(built: list[Built]) -> None:
    for one in built:
        again = compose([Member(graph=one.graph, transform=Transform(kind="l2"))])
        assert extractor_digest(again) == extractor_digest(one.model)
