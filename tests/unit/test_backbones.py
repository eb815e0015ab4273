"""What is particular to each source of backbones: weights that fit, files that say what they are, clear refusals."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from safetensors.torch import load_file, save_file

from core.errors import InvalidInput, LeptonError, NotFound, Unavailable
from core.session import Session
from exporters.backbone import Backbone, Normalised, OnnxSource, member
from exporters.compose import Member, compose
from exporters.parity import raw
from exporters.template import identity
from tests.tuning import backbone as tiny
from training import zoo
from training.backbone import onnx_file, packaged
from training.backbone import timm as timm_plugin
from training.zoo import Setting

NOISE = np.random.default_rng(5).integers(0, 256, (4, 48, 64, 3), dtype=np.uint8)


@pytest.fixture
def maps(tmp_path: Path) -> Path:
    """An ONNX file of NCHW floats whose output is a feature map."""
    return Path(onnx_file.examples(tmp_path)[0][0])


def sidecar(path: Path, **fields: object) -> None:
    path.with_name(f"{path.name}.json").write_text(json.dumps(fields))


def source(backbone: Backbone) -> OnnxSource:
    assert isinstance(backbone.body, OnnxSource)
    return backbone.body


@pytest.mark.parametrize("row", packaged.names(), ids=lambda row: row.name)
def test_packaged_rows_state_what_the_weights_hold(row: zoo.Row) -> None:
    backbone = packaged.load(row.name, Setting(size=64))
    assert (backbone.parameters, backbone.dimension) == (row.parameters, row.dimension)
    assert isinstance(backbone.body, torch.nn.Module)
    with torch.inference_mode():
        out = backbone.body(torch.zeros(1, 64, 64, 3, dtype=torch.uint8))
    assert out.shape == (1, row.dimension)


def test_packaged_weights_know_two_tiles_of_one_photograph() -> None:
    """Random weights would not: two tiles of one photograph must look more alike than tiles of two photographs."""
    from sklearn.datasets import load_sample_image

    tiles = [load_sample_image(name)[100:228, x : x + 128] for name in ("china.jpg", "flower.jpg") for x in (150, 300)]
    features = raw(packaged.load("efficientnet_lite0", Setting(size=128)), {"image": np.stack(tiles)})
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    alike = unit @ unit.T
    assert min(alike[0, 1], alike[2, 3]) > alike[:2, 2:].max() + 0.1


def test_packaged_backbones_refuse_tiny_sizes_and_unknown_names() -> None:
    with pytest.raises(InvalidInput, match="at least 32"):
        packaged.load("efficientnet_lite0", Setting(size=16))
    with pytest.raises(LookupError, match="efficientnet_lite2"):
        packaged.load("efficientnet_lite9", Setting(size=96))


def test_timm_rows_state_what_timm_builds() -> None:
    import timm

    for row in timm_plugin.names()[:4]:
        model = timm.create_model(row.name.partition(":")[2], pretrained=False, num_classes=0)
        assert sum(parameter.numel() for parameter in model.parameters()) == row.parameters


def test_timm_weights_must_be_complete(tmp_path: Path) -> None:
    (name, size), (other, _) = timm_plugin.examples(tmp_path)
    path = Path(name.partition("@")[2])
    tensors = load_file(path)
    del tensors[next(key for key in tensors if key.endswith("conv1.weight"))]
    save_file(tensors, tmp_path / "holed.safetensors")
    with pytest.raises(InvalidInput, match="lacks 1 tensors"):
        timm_plugin.load(f"test_resnet@{tmp_path / 'holed.safetensors'}", size)
    with pytest.raises(InvalidInput, match="lacks"):
        timm_plugin.load(f"test_resnet@{other.partition('@')[2]}", size)
    (tmp_path / "broken.safetensors").write_bytes(b"nonsense")
    with pytest.raises(InvalidInput):
        timm_plugin.load(f"test_resnet@{tmp_path / 'broken.safetensors'}", size)


def test_timm_takes_local_safetensors_and_nothing_pickled(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="pickled"):
        timm_plugin.load(f"resnet18@{tmp_path / 'weights.pth'}", Setting(size=96))
    with pytest.raises(NotFound):
        timm_plugin.load(f"resnet18@{tmp_path / 'missing.safetensors'}", Setting(size=96))
    with pytest.raises(LookupError, match="resnet"):
        timm_plugin.load("resnet18000", Setting(size=96))


def test_timm_without_a_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(Unavailable, match="packaged"):
        timm_plugin.load("resnet18", Setting(size=96))


def test_a_file_of_free_size_takes_the_size_asked_for_and_the_sidecar_overrules(maps: Path) -> None:
    assert onnx_file.load(str(maps), Setting(size=40)).size == (40, 40)
    sidecar(maps, size=56, licence="MIT", mean=[0, 0, 0], std=[1, 1, 1])
    backbone = onnx_file.load(str(maps), Setting(size=40))
    assert (backbone.size, backbone.licence, backbone.dimension) == ((56, 56), "MIT", 32)
    assert source(backbone).deviation == (255.0, 255.0, 255.0)


def test_a_file_of_fixed_size_keeps_it(tmp_path: Path) -> None:
    name, _ = onnx_file.examples(tmp_path)[1]
    assert onnx_file.load(name, Setting(size=224)).size == (48, 64)
    assert source(onnx_file.load(name, Setting(size=224))).mean is None


def test_the_sidecar_is_part_of_the_digest(maps: Path) -> None:
    before = onnx_file.load(str(maps), Setting(size=40)).digest
    sidecar(maps, mean=[0.5, 0.5, 0.5])
    assert onnx_file.load(str(maps), Setting(size=40)).digest != before


def test_any_inner_tensor_can_be_the_output(tmp_path: Path) -> None:
    path = Path(onnx_file.examples(tmp_path)[1][0])
    whole = raw(onnx_file.load(str(path), Setting(size=48)), {"image": NOISE})
    sidecar(path, output="pooled", output_layout="NCHW")
    inner = onnx_file.load(str(path), Setting(size=48))
    assert np.array_equal(raw(inner, {"image": NOISE}), whole)
    assert Session(compose([Member(graph=member(inner))])).width == 32


def test_tokens_are_averaged(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Squeeze", ["float", "batch_of_one"], ["tokens"]),
    ]
    axis = onnx.numpy_helper.from_array(np.array([1]), "batch_of_one")
    entry = helper.make_tensor_value_info("image", TensorProto.UINT8, ["n", 1, 64, 3])
    exit_ = helper.make_tensor_value_info("tokens", TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "tokens", [entry], [exit_], [axis])
    path = tmp_path / "tokens.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    backbone = onnx_file.load(str(path), Setting(size=96))
    rows = NOISE[:, :1]
    assert raw(backbone, {"image": rows}) == pytest.approx(rows[:, 0].mean(axis=1), rel=1e-6)
    assert Session(compose([Member(graph=member(backbone))])).width == 3


def test_modules_that_print_alike_and_compute_otherwise_have_different_templates() -> None:
    class Heads(torch.nn.Module):
        def __init__(self, heads: int) -> None:
            super().__init__()
            self.heads, self.mix = heads, torch.nn.Linear(12, 12)

    few, many, twin = Heads(2), Heads(3), Heads(2)
    assert repr(few) == repr(many) and few.state_dict().keys() == many.state_dict().keys()
    assert identity(few) != identity(many)
    assert identity(few) == identity(twin.train()), "weights and mode are none of it"
    twin.register_buffer("mask", torch.ones(3), persistent=False)
    assert identity(few) != identity(twin)


def test_layers_that_overwrite_their_input_come_to_the_same_graph_and_go_on_doing_so() -> None:
    def made(inplace: bool) -> Backbone:
        torch.manual_seed(0)
        net = torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 8, stride=8),
            torch.nn.ReLU6(inplace=inplace),
            torch.nn.AvgPool2d(4),
            torch.nn.Flatten(),
        )
        return replace(tiny(), dimension=4, body=Normalised(net, (128.0,) * 3, (64.0,) * 3).eval())

    hasty, patient = made(True), made(False)
    assert member(hasty) == member(patient)
    assert isinstance(hasty.body, Normalised) and isinstance(hasty.body.model, torch.nn.Sequential)
    assert hasty.body.model[1].extra_repr() == "inplace=True"


def test_weights_beside_the_file_are_refused(maps: Path) -> None:
    onnx.save(onnx.load(maps), maps, save_as_external_data=True, location="w.bin", size_threshold=0)
    with pytest.raises(InvalidInput, match="another file"):
        onnx_file.load(str(maps), Setting(size=40))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"layout": "CHWN"}, "NCHW or NHWC"),
        ({"mean": [0.5]}, "three"),
        ({"std": [0, 1, 1]}, "above 0"),
        ({"colour": "BGR"}, "licence"),
        ({"output": "nowhere"}, "nowhere"),
        ({"layout": "NHWC"}, "layout"),
    ],
)
def test_a_sidecar_that_does_not_fit_is_refused(maps: Path, fields: dict[str, object], words: str) -> None:
    sidecar(maps, **fields)
    with pytest.raises(InvalidInput, match=words):
        onnx_file.load(str(maps), Setting(size=40))


@pytest.mark.parametrize("data", [b"", b"hello", bytes(100)])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "broken.onnx"
    path.write_bytes(data)
    with pytest.raises(LeptonError, match=r"broken\.onnx"):
        onnx_file.load(str(path), Setting(size=40))
    with pytest.raises(NotFound):
        onnx_file.load(str(tmp_path / "missing.onnx"), Setting(size=40))


def test_the_zoo_lists_offline_first_and_names_its_choices() -> None:
    rows = zoo.available("image")
    assert [row.offline for row in rows] == sorted((row.offline for row in rows), reverse=True)
    assert {"efficientnet_lite0", "timm:resnet18"} <= {row.name for row in rows}
    assert zoo.resolve("onnx_file:/a:b/model.onnx") == ("onnx_file", "/a:b/model.onnx")
    with pytest.raises(LookupError, match="efficientnet_lite0"):
        zoo.load("resnet_from_nowhere", Setting(size=96))
