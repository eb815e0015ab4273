"""Lower precisions: the head swaps as before, features stay on the grid and by the row; what harms stays in float."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import ModelProto

from core.errors import InvalidInput
from core.session import Session
from core.statistics import from_grid
from core.types import Doubles, Head
from exporters import compose, members, pixels, precision
from exporters.precision import LOWER
from tests import graphs

KINDS = {"convolutions": (graphs.convolutions, graphs.pictures), "products": (graphs.products, graphs.texts)}


@pytest.fixture(scope="module", params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=LOWER)
def lowered(request: pytest.FixtureRequest, kind: str) -> tuple[bytes, precision.Lowered, dict[str, np.ndarray]]:
    member, rows = KINDS[kind]
    model = graphs.composed(member())
    given = rows(48)
    return model, precision.lower(model, request.param, given), given


def operators(model: bytes) -> Counter[str]:
    return Counter(node.op_type for node in compose.read(model).graph.node)


def features(model: bytes, rows: dict[str, np.ndarray]) -> Doubles:
    return from_grid(Session(model).features(rows))


def cosine(one_ND: Doubles, other_ND: Doubles) -> float:
    lengths = np.linalg.norm(one_ND, axis=1) * np.linalg.norm(other_ND, axis=1)
    return float(((one_ND * other_ND).sum(axis=1) / lengths).mean())


def test_members_are_taken_out_and_put_back_without_a_trace() -> None:
    model = graphs.composed(graphs.convolutions(0), graphs.convolutions(1))
    back = members.replaced(model, members.taken(model))
    assert compose.extractor_digest(back) == compose.extractor_digest(model)


def test_features_are_like_the_original_and_the_file_is_smaller(
    lowered: tuple[bytes, precision.Lowered, dict[str, np.ndarray]],
) -> None:
    model, made, rows = lowered
    assert made.likeness == pytest.approx(cosine(features(made.model, rows), features(model, rows)))
    assert made.likeness >= precision.LIKE
    assert len(made.model) < 0.75 * len(model)
    assert made.lowered > 0


def test_a_row_has_the_same_features_whatever_shares_its_batch(
    lowered: tuple[bytes, precision.Lowered, dict[str, np.ndarray]],
) -> None:
    _, made, rows = lowered
    session = Session(made.model)
    alone = np.concatenate([session.features({n: a[i : i + 1] for n, a in rows.items()}) for i in range(8)])
    together = session.features({name: array[:8] for name, array in rows.items()})
    assert np.abs(alone.astype(int) - together).max() <= 1  # a step of the grid: float sums still round by batch


def test_the_head_is_swapped_as_before_and_is_float32(
    lowered: tuple[bytes, precision.Lowered, dict[str, np.ndarray]],
) -> None:
    _, made, rows = lowered
    random = np.random.default_rng(0)
    head = Head(
        weight=random.standard_normal((graphs.WIDTH, 5)).astype(np.float32),
        bias=random.standard_normal(5).astype(np.float32),
        labels=tuple("abcde"),
    )
    swapped = Session(made.model).predict(rows, head)
    stored = Session(compose.with_head(made.model, head)).predict(rows)
    assert np.array_equal(swapped.outputs, stored.outputs)
    scores = from_grid(swapped.features) @ head.weight + head.bias
    expected = np.exp(scores - scores.max(axis=1, keepdims=True))
    assert np.allclose(swapped.outputs, expected / expected.sum(axis=1, keepdims=True), atol=1e-5)


def test_a_lowered_model_is_another_extractor_and_the_same_bytes_each_time() -> None:
    model, rows = graphs.composed(graphs.convolutions()), graphs.pictures(32)
    made = [precision.lower(model, "int8", rows).model for _ in range(2)]
    assert made[0] == made[1]
    assert compose.extractor_digest(made[0]) != compose.extractor_digest(model)


def test_convolutions_and_products_become_integers() -> None:
    folded = precision.lower(graphs.composed(graphs.convolutions()), "int8", graphs.pictures(32))
    assert operators(folded.model)["DequantizeLinear"] >= 6
    multiplied = precision.lower(graphs.composed(graphs.products()), "int8", graphs.texts(32))
    told = operators(multiplied.model)
    assert told["MatMulInteger"] == 2
    assert told["DynamicQuantizeLinear"] == 0  # its scale is that of the whole batch


@pytest.mark.parametrize("mean", [(127.0,), (127.5, 127.5, 127.5)])
def test_a_picture_whose_channels_are_normalised_alike_is_read_as_bytes(mean: tuple[float, ...]) -> None:
    model = graphs.composed(graphs.convolutions(mean=mean))
    made = precision.lower(model, "int8", graphs.pictures(32))
    assert {"Sub", "QuantizeLinear"} & set(operators(made.model)) <= {"QuantizeLinear"}
    assert operators(made.model)["Cast"] == 0
    assert made.likeness > 0.99


def test_a_picture_whose_channels_are_normalised_each_in_its_way_stays_in_float() -> None:
    member = graphs.convolutions(mean=(123.7, 116.3, 103.5), deviation=(58.4, 57.1, 57.4))
    made = precision.lower(graphs.composed(member), "int8", graphs.pictures(32))
    assert operators(made.model)["Sub"] == 1
    assert made.likeness > 0.98


@settings(max_examples=25, deadline=None)
@given(st.floats(0, 255), st.floats(1, 300))
def test_bytes_stand_for_the_normalised_picture_to_half_a_step(mean: float, deviation: float) -> None:
    (member,) = members.taken(graphs.composed(graphs.convolutions(mean=(mean,), deviation=(deviation,))))
    found = pixels.find(member)
    assert found is not None
    picture = np.arange(256)
    exact = (picture - np.float32(mean)) / np.float32(deviation)
    assert np.abs((picture - found.zero) * found.scale - exact).max() <= 0.5 * found.scale * (1 + 1e-4)


def test_a_node_whose_range_the_rows_do_not_show_stays_in_float() -> None:
    """One product carries a number that dwarfs all others of its row: there eight bits lose the row."""
    made = precision.lower(_with_spike(), "int8", graphs.texts(32))
    assert made.kept == ("m0/node_spiked",)
    assert made.likeness >= precision.LIKE
    assert made.lowered == 2


def _with_spike() -> bytes:
    member = compose.read(graphs.products())
    _spike(member)
    return graphs.composed(member.SerializeToString())


def _spike(member: ModelProto) -> None:
    """The first product reads words with a column a thousand times as large, which its weights do not look at."""
    from onnx import helper, numpy_helper

    graph = member.graph
    scale = np.ones(graphs.WIDTH, np.float32)
    shift = np.zeros(graphs.WIDTH, np.float32)
    shift[0], scale[0] = 3000.0, 0.0
    weights = next(t for t in graph.initializer if t.name == "first")
    blind = numpy_helper.to_array(weights).copy()
    blind[0] = 0.0
    weights.CopyFrom(numpy_helper.from_array(blind, "first"))
    graph.initializer.extend([numpy_helper.from_array(scale, "scale"), numpy_helper.from_array(shift, "shift")])
    place = next(i for i, node in enumerate(graph.node) if node.op_type == "MatMul")
    graph.node[place].input[0] = "spiked"
    graph.node[place].name = "node_spiked"
    graph.node.insert(place, helper.make_node("Add", ["dimmed", "shift"], ["spiked"]))
    graph.node.insert(place, helper.make_node("Mul", ["words", "scale"], ["dimmed"]))


def test_an_unknown_precision_is_refused_with_the_choices() -> None:
    with pytest.raises(LookupError, match="'int4'; choose one of: fp16, int8"):
        precision.lower(graphs.composed(graphs.convolutions()), "int4", graphs.pictures(32))


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(InvalidInput, match="31 rows are too few"):
        precision.lower(graphs.composed(graphs.convolutions()), "int8", graphs.pictures(31))


@pytest.mark.parametrize("name", LOWER)
def test_a_model_without_weights_has_nothing_to_lower(name: str) -> None:
    from onnx import TensorProto, helper

    flat = [helper.make_node("Flatten", ["image"], ["flat"]), helper.make_node("Cast", ["flat"], ["raw"], to=1)]
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", 4, 4, 3])
    raw = helper.make_tensor_value_info("raw", TensorProto.FLOAT, ["batch", 48])
    member = helper.make_model(
        helper.make_graph(flat, "flat", [image], [raw]), opset_imports=[helper.make_opsetid("", compose.OPSET)]
    )
    with pytest.raises(InvalidInput, match=f"nothing in the model can be made {name}"):
        precision.lower(graphs.composed(member.SerializeToString()), name, {"image": np.zeros((32, 4, 4, 3), np.uint8)})
