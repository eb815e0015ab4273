"""The one extractor: exact grid features, a head per call, and refusal of everything that is not a model of ours."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from core.errors import BadConfiguration, BrokenBundle, InvalidInput
from core.execution import LARGE
from core.session import Session
from core.types import Head
from exporters.backbone import member
from exporters.compose import Member, compose
from training.backbone import onnx_file

PIXELS = np.random.default_rng(3).integers(0, 256, (20, 48, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    name, size = onnx_file.examples(tmp_path_factory.mktemp("onnx"))[1]
    return compose([Member(graph=member(onnx_file.load(name, size)))])


def head(width: int, classes: int) -> Head:
    weight = np.random.default_rng(classes).standard_normal((width, classes)).astype(np.float32)
    return Head(weight=weight, bias=np.zeros(classes, np.float32), labels=tuple(map(str, range(classes))))


def test_a_session_says_what_it_takes(model: bytes) -> None:
    session = Session(model)
    assert (session.size, session.width, session.task, session.device) == ((48, 64), 32, "classification", "cpu")
    assert session.inputs["image"].shape == (48, 64, 3)
    assert session.inputs["image"].dtype == np.uint8


def test_a_new_class_is_answered_without_a_new_session(model: bytes) -> None:
    session = Session(model)
    for classes in (2, 5, 3):
        answer = session.predict({"image": PIXELS}, head(32, classes)).outputs
        assert answer.shape == (20, classes)
        assert answer.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_features_do_not_depend_on_who_shares_the_batch(model: bytes) -> None:
    session = Session(model)
    together = session.features({"image": PIXELS})
    alone = np.concatenate([session.features({"image": PIXELS[row : row + 1]}) for row in range(20)])
    assert together.dtype == np.int16
    assert np.array_equal(together, alone)
    assert np.array_equal(together, session.predict({"image": PIXELS}).features)


def test_threads_share_one_session(model: bytes) -> None:
    session = Session(model, threads=2)
    expected = session.features({"image": PIXELS})
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: session.features({"image": PIXELS}), range(16)))
    assert all(np.array_equal(expected, one) for one in found)


def test_building_and_running_prints_nothing(model: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    Session(model).predict({"image": PIXELS}, head(32, 3))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("cut", [0, 10, 1000, -1])
def test_broken_bytes_are_a_broken_bundle(model: bytes, cut: int) -> None:
    with pytest.raises(BrokenBundle):
        Session(model[:cut])


def test_a_model_without_features_is_a_broken_bundle(tmp_path: Path) -> None:
    name, size = onnx_file.examples(tmp_path)[0]
    with pytest.raises(BrokenBundle, match="features"):
        Session(member(onnx_file.load(name, size)))


def test_weights_in_another_file_are_refused(model: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proto = onnx.load_model_from_string(model)
    onnx.save(proto, str(tmp_path / "m.onnx"), save_as_external_data=True, location="w.bin", size_threshold=0)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BrokenBundle):
        Session((tmp_path / "m.onnx").read_bytes())


def large(model: bytes, *weights: TensorProto) -> ModelProto:
    """The model with so many more numbers in it that it is given to ONNX Runtime as a file."""
    proto = onnx.load_model_from_string(model)
    ballast = np.zeros(LARGE // 4, np.float32)
    proto.graph.initializer.extend([onnx.numpy_helper.from_array(ballast, "ballast"), *weights])
    return proto


def test_a_large_model_answers_as_a_small_one_does(model: bytes) -> None:
    small, grown = Session(model), Session(large(model).SerializeToString())
    assert np.array_equal(small.predict({"image": PIXELS}).outputs, grown.predict({"image": PIXELS}).outputs)
    with pytest.raises(BrokenBundle):
        Session(large(model).SerializeToString()[:-1000])


@pytest.mark.parametrize("place", ["w.bin", "../w.bin", "{folder}/w.bin", "{number}"])
def test_a_large_model_reads_no_other_file_either(
    model: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(2**12))
    monkeypatch.chdir(tmp_path)
    with (tmp_path / "w.bin").open("rb") as opened:
        elsewhere = TensorProto(name="more", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
        elsewhere.external_data.add(key="location", value=place.format(folder=tmp_path, number=opened.fileno()))
        proto = large(model, elsewhere)
        answer = next(node for node in proto.graph.node if "features" in node.output)
        answer.output[0] = "before"
        least = helper.make_node("ReduceMin", ["more"], ["least"], keepdims=0)
        proto.graph.node.extend([least, helper.make_node("Add", ["before", "least"], ["features"])])
        with pytest.raises(BrokenBundle):
            Session(proto.SerializeToString())


def test_features_off_the_grid_are_refused(model: bytes) -> None:
    proto = onnx.load_model_from_string(model)
    step = next(tensor for tensor in proto.graph.initializer if tensor.name == "features/step")
    step.CopyFrom(onnx.numpy_helper.from_array(np.array(1 / 30000, np.float32), "features/step"))
    with pytest.raises(BrokenBundle, match=r"2\*\*-15"):
        Session(proto.SerializeToString()).features({"image": PIXELS})


@pytest.mark.parametrize(
    "inputs",
    [
        {},
        {"picture": PIXELS},
        {"image": PIXELS.astype(np.float32)},
        {"image": PIXELS[:, :47]},
        {"image": PIXELS[0]},
        {"image": PIXELS[:0]},
    ],
)
def test_inputs_that_do_not_fit_are_named(model: bytes, inputs: dict[str, np.ndarray]) -> None:
    with pytest.raises(InvalidInput, match="image"):
        Session(model).features(inputs)


def test_a_head_of_another_width_is_refused(model: bytes) -> None:
    with pytest.raises(BrokenBundle, match="does not fit 32 features"):
        Session(model).predict({"image": PIXELS}, head(31, 2))


def test_threads_and_devices_that_are_not_there_are_refused(model: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadConfiguration, match="threads"):
        Session(model, threads=0)
    monkeypatch.setattr("core.execution.devices", lambda: ())
    assert Session(model, device="auto").device == "cpu"
    with pytest.raises(BadConfiguration, match="NVIDIA"):
        Session(model, device="cuda")
