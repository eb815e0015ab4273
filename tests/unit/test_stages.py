"""The stages of a network of pictures beside its last features: blocks of one weight, of networks that have any."""

from itertools import accumulate, pairwise
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from core.errors import InvalidInput
from core.types import Floats
from exporters.backbone import Backbone, Normalised
from exporters.stages import Stages
from exporters.transform import Transform, apply
from training import zoo
from training.backbone import onnx_file, timm
from training.zoo import Setting

PICTURES = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)


@pytest.fixture(params=[0, 1], ids=["convolutions", "transformer"])
def named(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"timm:{timm.examples(tmp_path)[request.param][0]}"


def raw(backbone: Backbone, pictures: np.ndarray) -> Floats:
    assert isinstance(backbone.body, torch.nn.Module)
    with torch.inference_mode():
        return cast("Floats", backbone.body(torch.from_numpy(pictures)).numpy())


def edges(backbone: Backbone) -> list[int]:
    """Where blocks begin and end."""
    assert isinstance(backbone.body, Normalised)
    stages = backbone.body.model
    assert isinstance(stages, Stages)
    with torch.inference_mode():
        last, found = stages.model.forward_intermediates(torch.zeros(1, 3, 64, 64), indices=stages.places)
        widths = [*(int(stage.shape[1]) for stage in found), int(stages.model.forward_head(last).shape[1])]
    return list(accumulate(widths, initial=0))


def test_every_stage_weighs_as_much_and_the_last_one_is_what_the_plain_backbone_gives(named: str) -> None:
    plain, whole = zoo.load(named, Setting(size=64)), zoo.load(f"layers:{named}", Setting(size=64))
    found_ND, ends = raw(whole, PICTURES), edges(whole)
    assert found_ND.shape[1] == whole.dimension == ends[-1] > plain.dimension
    roots_ND = apply(Transform(kind="sqrt_l2"), found_ND)
    for start, stop in pairwise(ends):
        assert np.square(roots_ND[:, start:stop]).sum(axis=1) == pytest.approx(1 / (len(ends) - 1), abs=1e-6)
    last_ND, expected_ND = found_ND[:, ends[-2] :], raw(plain, PICTURES)
    assert last_ND == pytest.approx(expected_ND / np.abs(expected_ND).sum(axis=1, keepdims=True), abs=1e-6)


def test_it_is_another_backbone_than_the_plain_one_and_is_had_again_by_its_name(named: str) -> None:
    plain, whole = zoo.load(named, Setting(size=64)), zoo.load(f"layers:{named}", Setting(size=64))
    assert whole.digest != plain.digest and whole.parameters == plain.parameters
    again = zoo.load(whole.zoo_name, Setting(size=64))
    assert (again.digest, again.dimension) == (whole.digest, whole.dimension)
    assert np.array_equal(raw(again, PICTURES), raw(whole, PICTURES))


def test_a_deep_network_gives_a_few_of_its_stages(tmp_path: Path) -> None:
    deep = zoo.load(f"layers:timm:{timm.examples(tmp_path)[1][0]}", Setting(size=64))
    assert isinstance(deep.body, Normalised)
    stages = deep.body.model
    assert isinstance(stages, Stages)
    assert stages.places == [0, 1, 2, 4, 5] and len(stages.model.feature_info) == 6


def test_a_stage_that_sees_nothing_is_nothing() -> None:
    model = timm_model()
    for parameter in model.parameters():
        torch.nn.init.zeros_(parameter)
    found = Stages(model).eval()(torch.zeros(1, 3, 64, 64))
    assert torch.equal(found, torch.zeros_like(found))


def timm_model() -> torch.nn.Module:
    import timm as library

    model = library.create_model("test_resnet", pretrained=False, num_classes=0)
    assert isinstance(model, torch.nn.Module)
    return model


@pytest.mark.parametrize("name", ["wordllama", "logmel", "layers:efficientnet_lite0", "layers:minilm"])
def test_what_has_no_layers_is_refused_by_its_name(name: str) -> None:
    with pytest.raises(InvalidInput, match=rf"{name} is no network whose layers are known.*timm:NAME"):
        zoo.load(f"layers:{name}", Setting(size=96))


def test_a_graph_has_none_either(tmp_path: Path) -> None:
    path = onnx_file.examples(tmp_path)[0][0]
    with pytest.raises(InvalidInput, match="is no network whose layers are known"):
        zoo.load(f"layers:onnx_file:{path}", Setting(size=64))


def test_a_network_that_cannot_tell_its_stages_is_refused_and_not_a_traceback(
    named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Stages, pixels_BCHW: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no such stage")

    monkeypatch.setattr(Stages, "forward", broken)
    with pytest.raises(InvalidInput, match=r"stages of timm:.* cannot be read: no such stage"):
        zoo.load(f"layers:{named}", Setting(size=64))


def test_it_is_listed_as_it_is_and_behind_the_plain_one_which_stays_the_first_choice() -> None:
    rows = {row.name: row for row in zoo.available("image")}
    assert list(rows).index("efficientnet_lite0") < list(rows).index("layers:efficientnet_lite0")
    loaded = zoo.load("layers:efficientnet_lite0", Setting(size=64))
    assert loaded.dimension == rows["layers:efficientnet_lite0"].dimension
