"""Parity catches what exporters get wrong: a frozen batch, another normalisation, another layout, other weights."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from core.errors import InvalidInput, ParityFailed
from exporters.backbone import Backbone, Normalised, OnnxSource, member
from exporters.backbone import pictures as pictures_of
from exporters.compose import Member, compose
from exporters.parity import check
from exporters.transform import Transform
from training.backbone import onnx_file

MEAN, DEVIATION = (120.0, 110.0, 100.0), (60.0, 61.0, 62.0)
SIDE = 24


class Pico(torch.nn.Module):
    """Two convolutions and a mean: 32 features."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(3, 32, 3, stride=2)
        self.second = torch.nn.Conv2d(32, 32, 3, stride=2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.second(torch.relu(self.first(x))).mean(dim=(2, 3))
        return out


def backbone(mean: tuple[float, ...] = MEAN, seed: int = 0) -> Backbone:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Pico()
    return Backbone(
        name="pico",
        source="test",
        modality="image",
        digest="0" * 64,
        licence="Apache-2.0",
        parameters=sum(p.numel() for p in model.parameters()),
        dimension=32,
        inputs=pictures_of((SIDE, SIDE)),
        body=Normalised(model, mean, DEVIATION).eval(),
    )


@pytest.fixture(scope="module")
def graph() -> bytes:
    return member(backbone())


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """Tiles of a real photograph."""
    from sklearn.datasets import load_sample_image

    photo = load_sample_image("flower.jpg")
    return np.stack([photo[y : y + SIDE, x : x + SIDE] for y in range(0, 400, 50) for x in range(0, 600, 75)])


def test_a_faithful_graph_passes_with_numbers(graph: bytes, pictures: np.ndarray) -> None:
    found = check([(backbone(), Transform())], compose([Member(graph=graph)]), {"image": pictures})
    assert found.max_abs < found.tolerance
    assert found.argmax_agreement == 1.0
    assert (found.rows, found.batches) == (64, (1, 3, 16))


class Faint(Pico):
    """Half of the features are nothing but a hundred-thousandth of the largest, times ``share``."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = super().forward(x).abs()
        least = 1e-5 * self.share * found.amax(dim=1, keepdim=True)
        return torch.cat([found[:, :16], least.expand(-1, 16)], dim=1)


@pytest.mark.parametrize(("share", "passes"), [(0.5, True), (100.0, False)])
def test_what_rounding_leaves_of_nothing_is_no_fault_though_its_root_is_large(
    share: float, passes: bool, pictures: np.ndarray
) -> None:
    def faint(share: float) -> Backbone:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return replace(backbone(), body=Normalised(Faint(share), MEAN, DEVIATION).eval())

    model = compose([Member(graph=member(faint(share)))])
    if passes:
        assert check([(faint(0.0), Transform())], model, {"image": pictures}).max_abs < 1e-4
        return
    with pytest.raises(ParityFailed, match="features differ"):
        check([(faint(0.0), Transform())], model, {"image": pictures})


def test_two_members_are_checked_together(graph: bytes, pictures: np.ndarray) -> None:
    second = Transform(kind="l2")
    model = compose([Member(graph=graph), Member(graph=graph, transform=second)])
    assert check([(backbone(), Transform()), (backbone(), second)], model, {"image": pictures}).max_abs < 2e-4


@pytest.mark.parametrize("wrong", [(123.675, 116.28, 103.53), (121.0, 111.0, 101.0), (0.0, 0.0, 0.0)])
def test_another_normalisation_is_caught(graph: bytes, pictures: np.ndarray, wrong: tuple[float, ...]) -> None:
    with pytest.raises(ParityFailed, match=r"pico at batch 1: features differ by .* in row"):
        check([(backbone(wrong), Transform())], compose([Member(graph=graph)]), {"image": pictures})


def test_other_weights_are_caught(graph: bytes, pictures: np.ndarray) -> None:
    with pytest.raises(ParityFailed):
        check([(backbone(seed=1), Transform())], compose([Member(graph=graph)]), {"image": pictures})


def test_another_transform_is_caught(graph: bytes, pictures: np.ndarray) -> None:
    with pytest.raises(ParityFailed):
        check([(backbone(), Transform(kind="l2"))], compose([Member(graph=graph)]), {"image": pictures})


def test_a_frozen_batch_axis_is_caught(pictures: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A Reshape to one row, as exporters write where they lost the batch axis: right at batch 1 alone."""
    name, size = onnx_file.examples(tmp_path_factory.mktemp("frozen"))[1]
    good = onnx_file.load(name, size)
    assert isinstance(good.body, OnnxSource)
    proto = onnx.load_model_from_string(good.body.model)
    proto.graph.node[-1].CopyFrom(onnx.helper.make_node("Reshape", ["pooled", "one_row"], ["vector"]))
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array([1, 32]), "one_row"))
    proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    frozen = replace(good, body=replace(good.body, model=proto.SerializeToString()))
    rows = np.repeat(np.repeat(pictures, 2, axis=1), 3, axis=2)[:, :48, :64]
    with pytest.raises(ParityFailed, match="batch 3"):
        check([(frozen, Transform())], compose([Member(graph=member(frozen))]), {"image": rows})


def test_too_few_rows_are_no_check(graph: bytes, pictures: np.ndarray) -> None:
    with pytest.raises(InvalidInput, match="64"):
        check([(backbone(), Transform())], compose([Member(graph=graph)]), {"image": pictures[:63]})


def test_a_graph_that_gives_nan_does_not_pass(graph: bytes, pictures: np.ndarray) -> None:
    proto = onnx.load_model_from_string(graph)
    for tensor in proto.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 4:
            values = np.full(tuple(tensor.dims), np.nan, np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    with pytest.raises(ParityFailed):
        check([(backbone(), Transform())], compose([Member(graph=proto.SerializeToString())]), {"image": pictures})
