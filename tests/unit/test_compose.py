"""The one graph computes transform, grid and head as defined, and its head can be replaced by name or per call."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from core.errors import BrokenBundle, InvalidInput
from core.session import Session
from core.statistics import GRID, to_grid
from core.types import Head
from exporters.backbone import member
from exporters.compose import Member, alike, compose, cut, extractor_digest, with_head
from exporters.transform import Kind, Transform, apply, combine, projection
from training.backbone import onnx_file

RNG = np.random.default_rng(7)
PIXELS = RNG.integers(0, 256, (5, 2, 4, 3), dtype=np.uint8)


def plain(gain: float = 1 / 255, size: tuple[int, int] = (2, 4), opset: int = 20) -> bytes:
    """A member whose raw features are its pixels times ``gain``, minus half of it: some are negative."""
    width = size[0] * size[1] * 3
    nodes = [
        helper.make_node("Flatten", ["image"], ["flat"]),
        helper.make_node("Cast", ["flat"], ["cast"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["cast", "gain"], ["scaled"]),
        helper.make_node("Sub", ["scaled", "half"], ["raw"]),
    ]
    values = {"gain": gain, "half": gain * 127.5}
    graph = helper.make_graph(
        nodes,
        "plain",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", *size, 3])],
        [helper.make_tensor_value_info("raw", TensorProto.FLOAT, ["batch", width])],
        [numpy_helper.from_array(np.array(value, np.float32), name) for name, value in values.items()],
    )
    data: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8
    ).SerializeToString()
    return data


def raw(gain: float = 1 / 255) -> np.ndarray:
    return PIXELS.reshape(len(PIXELS), -1) * np.float32(gain) - np.float32(gain * 127.5)


def head(width: int, classes: int, seed: int = 0) -> Head:
    rng = np.random.default_rng(seed)
    return Head(
        weight=rng.standard_normal((width, classes)).astype(np.float32),
        bias=rng.standard_normal(classes).astype(np.float32),
        labels=tuple(map(str, range(classes))),
    )


def transform(kind: Kind) -> Transform:
    if kind != "standardised":
        return Transform(kind=kind)
    return Transform(kind=kind, mean_D=np.full(24, 0.1, np.float32), deviation_D=np.full(24, 0.2, np.float32), clip=2.0)


@pytest.mark.parametrize("kind", ["sqrt_l2", "l2", "standardised"])
def test_features_are_the_numpy_transform_on_the_grid(kind: Kind) -> None:
    session = Session(compose([Member(graph=plain(), transform=transform(kind))]))
    expected = to_grid(apply(transform(kind), raw()))
    found = session.features({"image": PIXELS})
    assert np.abs(found.astype(int) - expected).max() <= 1
    assert np.abs(found).max() > GRID // 8


@pytest.mark.parametrize("kind", ["sqrt_l2", "l2"])
def test_an_all_zero_member_gives_zero_and_not_nan(kind: Kind) -> None:
    session = Session(compose([Member(graph=plain(gain=0.0), transform=Transform(kind=kind))]))
    assert (session.features({"image": PIXELS}) == 0).all()


def test_a_huge_and_a_tiny_member_stay_on_the_grid() -> None:
    for gain in (1e30, 1e-30):
        found = Session(compose([Member(graph=plain(gain=gain))])).features({"image": PIXELS})
        assert np.abs(found.astype(int)).max() <= GRID - 1


def test_two_members_stand_side_by_side_at_unit_length() -> None:
    parts = [Member(graph=plain()), Member(graph=plain(0.5), transform=Transform(kind="l2"))]
    found = Session(compose(parts)).features({"image": PIXELS}).astype(float) / GRID
    expected = combine([apply(Transform(), raw()), apply(Transform(kind="l2"), raw(0.5))])
    assert np.abs(found - expected).max() < 2 / GRID
    assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-3)


def test_members_of_an_older_opset_are_brought_up() -> None:
    old, new = (Session(compose([Member(graph=plain(opset=opset))])) for opset in (13, 20))
    assert np.array_equal(old.features({"image": PIXELS}), new.features({"image": PIXELS}))


@pytest.mark.parametrize("classes", [1, 2, 7])
def test_a_stored_head_answers_like_the_same_head_given_per_call(classes: int) -> None:
    model = compose([Member(graph=plain())])
    given = Session(model).predict({"image": PIXELS}, head(24, classes))
    stored = Session(with_head(model, head(24, classes))).predict({"image": PIXELS})
    assert np.array_equal(given.outputs, stored.outputs)
    assert np.array_equal(given.features, stored.features)
    logits = given.features / GRID @ head(24, classes).weight + head(24, classes).bias
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert given.outputs == pytest.approx(expected, abs=1e-5)


def test_regression_answers_in_the_units_of_the_scene() -> None:
    model = compose([Member(graph=plain())], task="regression", offset=40.0, scale=16.0)
    one = head(24, 1)
    out = Session(with_head(model, one)).predict({"image": PIXELS})
    assert out.outputs.shape == (5, 1)
    assert out.outputs == pytest.approx((out.features / GRID @ one.weight + one.bias) * 16 + 40, rel=1e-5)


def test_the_extractor_digest_knows_nothing_of_head_task_or_scale() -> None:
    model = compose([Member(graph=plain())])
    digest = extractor_digest(model)
    assert extractor_digest(with_head(model, head(24, 3))) == digest
    assert extractor_digest(with_head(with_head(model, head(24, 3)), head(24, 9, seed=1))) == digest
    assert extractor_digest(compose([Member(graph=plain())], task="regression", offset=3.0, scale=2.0)) == digest


def test_the_extractor_digest_changes_with_weights_transform_and_size() -> None:
    models = [
        compose([Member(graph=plain())]),
        compose([Member(graph=plain(0.5))]),
        compose([Member(graph=plain(), transform=Transform(kind="l2"))]),
        compose([Member(graph=plain(size=(4, 2)))]),
        compose([Member(graph=plain()), Member(graph=plain())]),
    ]
    assert len({extractor_digest(model) for model in models}) == len(models)


def test_another_process_composes_the_same_bytes(tmp_path: Path) -> None:
    (name, size), *_ = onnx_file.examples(tmp_path)
    here = extractor_digest(compose([Member(graph=member(onnx_file.load(name, size)))]))
    program = (
        "from training import zoo; from training.backbone import onnx_file; from exporters.backbone import member;"
        "from exporters.compose import Member, compose, extractor_digest;"
        f"print(extractor_digest(compose([Member(graph=member(onnx_file.load({name!r}, zoo.{size})))])))"
    )
    root = Path(__file__).parents[2]
    there = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here


def test_the_graph_has_the_form_of_the_contract() -> None:
    proto = onnx.load_model_from_string(compose([Member(graph=plain())]))
    shapes = {
        value.name: [axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
        for value in (*proto.graph.input, *proto.graph.output)
    }
    assert shapes == {
        "image": ["batch", 2, 4, 3],
        "head.weight": [24, "classes"],
        "head.bias": ["classes"],
        "probabilities": ["batch", "classes"],
        "features": ["batch", 24],
    }
    assert {"head.weight", "head.bias"} <= {tensor.name for tensor in proto.graph.initializer}
    assert proto.ir_version >= 4


def test_what_does_not_fit_is_refused_by_name() -> None:
    model = compose([Member(graph=plain())])
    with pytest.raises(BrokenBundle, match="does not fit"):
        with_head(model, head(23, 2))
    with pytest.raises(InvalidInput, match="one size"):
        compose([Member(graph=plain()), Member(graph=plain(size=(4, 2)))])
    with pytest.raises(InvalidInput, match="no members"):
        compose([])
    with pytest.raises(BrokenBundle):
        extractor_digest(b"not a model")
    with pytest.raises(BrokenBundle, match="features"):
        extractor_digest(plain())


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"kind": "cubed"}, "sqrt_l2"),
        ({"kind": "standardised"}, "mean_D"),
        ({"kind": "l2", "mean_D": np.zeros(2, np.float32)}, "leave them out"),
        ({"kind": "standardised", "mean_D": np.zeros(1), "deviation_D": np.zeros(1)}, "above 0"),
        ({"clip": 0.0}, "clip"),
    ],
)
def test_a_transform_that_makes_no_sense_is_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Transform(**settings)  # type: ignore[arg-type]


def test_a_model_cut_before_its_grid_is_a_member_that_computes_the_same() -> None:
    whole = compose([Member(graph=plain()), Member(graph=plain(0.5), transform=Transform(kind="l2"))])
    graph, width = cut(with_head(whole, head(48, 3)))
    assert width == 48
    again = compose([Member(graph=graph, transform=Transform(kind="as_is"))])
    assert np.array_equal(Session(again).features({"image": PIXELS}), Session(whole).features({"image": PIXELS}))
    twice = compose([Member(graph=g, transform=Transform(kind="as_is")) for g in (graph, cut(again)[0])])
    found = Session(twice).features({"image": PIXELS}).astype(float)
    assert np.abs(found[:, :48] - found[:, 48:]).max() == 0
    with pytest.raises(BrokenBundle, match="no joined features"):
        cut(plain())


def test_a_projected_member_has_fewer_features_and_no_longer_rows() -> None:
    projected = Transform(projection_DP=projection(24, 10, seed=3))
    session = Session(compose([Member(graph=plain(), transform=projected), Member(graph=plain(0.5))]))
    assert session.width == 34
    found = session.features({"image": PIXELS}).astype(float) / GRID
    expected = combine([apply(projected, raw()), apply(Transform(), raw(0.5))])
    assert np.abs(found - expected).max() < 2 / GRID
    assert (np.linalg.norm(found, axis=1) < 1.001).all()


def test_a_projection_is_the_same_for_the_same_seed_and_nearly_keeps_distances() -> None:
    drawn = projection(200, 100, seed=1)
    assert np.array_equal(drawn, projection(200, 100, seed=1))
    assert not np.array_equal(drawn, projection(200, 100, seed=2))
    rows_ND = np.random.default_rng(0).standard_normal((50, 200))
    kept_N = np.square(rows_ND @ drawn).sum(axis=1) / np.square(rows_ND).sum(axis=1)
    assert (np.abs(kept_N - 0.5) < 0.2).all()
    with pytest.raises(ValueError, match="no orthonormal columns"):
        Transform(projection_DP=drawn * 2)


def test_models_of_other_weights_are_alike_and_those_of_another_size_type_or_step_are_not() -> None:
    whole = compose([Member(graph=plain())])
    assert alike(whole, compose([Member(graph=plain(0.5))])) and whole != compose([Member(graph=plain(0.5))])
    assert alike(with_head(whole, head(24, 3)), with_head(whole, head(24, 5))), "heads are swapped"
    assert not alike(whole, compose([Member(graph=plain(size=(4, 4)))]))
    assert not alike(whole, compose([Member(graph=plain(), transform=Transform(kind="as_is"))]))
    stored = onnx.load_model_from_string(whole)
    for tensor in stored.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    assert not alike(whole, stored.SerializeToString())
