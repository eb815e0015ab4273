"""The graphs of tables compute what they say, for every row that can be read, alone or among others."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInput
from core.modality.tabular import RowPreprocessor
from core.preprocess import Limits
from core.schema import FILE, Schema, canonical
from core.session import Session
from core.statistics import GRID, from_grid
from core.types import Floats
from exporters import compose, table
from exporters.backbone import MemberGraph
from exporters.transform import Transform
from tests import rows
from tests.homes import home_at
from training.backbone import tabular
from training.schema import Cell, infer
from training.zoo import Setting

TABLE, LABELS = rows.table_of(80)
SCHEMA = infer(TABLE)
READER = RowPreprocessor(SCHEMA, Limits())
BUILT = {"linear": table.linear(SCHEMA), "quantile": table.quantile(SCHEMA), "waves": table.waves(SCHEMA)}
SESSIONS = {
    name: Session(compose.compose([compose.Member(graph=graph, transform=Transform(kind="l2"))]))
    for name, (graph, _, _) in BUILT.items()
}
KINDS = pytest.mark.parametrize("kind", list(BUILT))


def raw(schema: Schema, graph: bytes, *told: dict[str, Cell]) -> Floats:
    """What a graph makes of rows, before any transform."""
    reader = RowPreprocessor(schema, Limits())
    inputs = reader.batch([reader.read(canonical(cells)) for cells in told])
    found: Floats = ort.InferenceSession(graph, providers=["CPUExecutionProvider"]).run(["raw"], inputs)[0]
    return found


def test_linear_standardises_numbers_and_gives_each_category_its_place() -> None:
    schema = infer([{"n": 1.0, "c": "a"}, {"n": 3.0, "c": "a"}, {"n": None, "c": "b"}, {"n": 2.0, "c": "b"}])
    graph, width, _ = table.linear(schema)
    deviation = np.array([1.0, 3.0, 2.0]).std()
    found = raw(schema, graph, {"n": 3.0, "c": "a"}, {"c": "b"}, {"n": 99.0, "c": "z"}, {"n": 1.0})
    assert found.shape == (4, width) == (4, 5)
    assert found[:, 0] == pytest.approx([1 / deviation, 0, 1 / deviation, -1 / deviation])
    assert found[:, 1:4].tolist() == [[0, 1, 0], [1, 0, 1], [0, 0, 0], [0, 0, 0]]
    assert len(set(found[:, 4])) == 1


def test_quantile_fills_the_pieces_between_knots_from_below() -> None:
    schema = infer([{"n": float(n)} for n in range(17)])
    graph, width, _ = table.quantile(schema)
    found = raw(schema, graph, {"n": 0.0}, {"n": 2.5}, {"n": 16.0}, {"n": 99.0})
    assert width == 1 + 16 + 1
    assert found[:, 1:17].sum(axis=1) == pytest.approx([0, 2.5, 16, 16])
    assert found[1, 1:5].tolist() == [1, 1, 0.5, 0]


def test_waves_stand_for_a_gaussian_kernel_of_the_rows_distance() -> None:
    _, width, _ = BUILT["waves"]
    plain = raw(SCHEMA, BUILT["linear"][0], *TABLE)[:, :-1]
    lifted = raw(SCHEMA, BUILT["waves"][0], *TABLE)[:, : table.WAVES]
    apart_NN = np.square(plain[:, None] - plain[None]).sum(axis=2)
    kernel_NN = np.exp(-apart_NN / apart_NN.mean() / 2)
    assert width == table.WAVES + plain.shape[1]
    assert np.abs(lifted @ lifted.T - kernel_NN).mean() < 0.05


@KINDS
def test_a_row_alone_has_the_features_that_it_has_among_others_in_any_order(kind: str) -> None:
    read = [READER.read(canonical(cells)) for cells in TABLE[:20]]
    together = SESSIONS[kind].features(READER.batch(read)).astype(int)
    turned = SESSIONS[kind].features(READER.batch(read[::-1])).astype(int)[::-1]
    alone = np.concatenate([SESSIONS[kind].features(READER.batch([one])) for one in read]).astype(int)
    assert np.abs(together - alone).max() <= 2
    assert np.abs(together - turned).max() <= 2


@KINDS
@given(
    cells=st.fixed_dictionaries(
        {},
        optional={
            "income": st.floats(allow_nan=False, allow_infinity=False),
            "age": st.integers(),
            "job": st.text(max_size=3),
            "town": st.sampled_from(["town 0", "town 1", "elsewhere"]),
            "since": st.dates().map(str),
        },
    )
)
def test_every_row_that_can_be_read_has_features_of_unit_length(kind: str, cells: dict[str, Cell]) -> None:
    try:
        row = READER.read(canonical(cells))
    except InvalidInput:
        return
    features = from_grid(SESSIONS[kind].features(READER.batch([row])))
    assert np.linalg.norm(features) == pytest.approx(1, abs=0.01)


@KINDS
def test_what_a_number_is_beyond_the_range_makes_no_difference(kind: str) -> None:
    edge = {"age": max(cells["age"] for cells in TABLE if isinstance(cells["age"], float))}
    inputs = READER.batch([READER.read(canonical(cells)) for cells in (edge, {"age": 1e300})])
    first, second = SESSIONS[kind].features(inputs)
    assert np.array_equal(first, second)


@pytest.mark.parametrize("column", [[5.0, 5.0], [1e300, -1e300], [1e-40, 2e-40], [None, None], ["a", "b"]])
@pytest.mark.parametrize("name", tabular._NAMES)
def test_a_table_of_one_odd_column_still_has_features(name: str, column: list[Cell]) -> None:
    cells = [{"x": cell} for cell in column]
    setting = Setting(files={FILE: infer(cells).to_bytes()})
    backbone = tabular.load(name, setting)
    assert isinstance(backbone.body, MemberGraph)
    found = raw(infer(cells), backbone.body.model, *cells)
    assert found.shape == (2, backbone.dimension)
    assert np.isfinite(found).all()


def test_a_table_that_becomes_too_wide_is_refused_with_a_remedy_that_works() -> None:
    words = [{f"c{c}": f"w{n // 2}" for c in range(20)} for n in range(240)]
    schema = infer(words)
    with pytest.raises(InvalidInput, match="choose table_random"):
        table.linear(schema)
    assert table.waves(schema)[1] == table.WAVES


def test_a_backbone_of_tables_needs_a_schema() -> None:
    with pytest.raises(InvalidInput, match=r"without schema\.json"):
        tabular.load("table_linear", Setting())


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_a_scene_of_rows_is_learned_and_answers(tmp_path: Path, task: str) -> None:
    home = home_at(tmp_path)
    made = rows.register(home, task=task)  # type: ignore[arg-type]
    held = home.bundle(made.version.version)
    session = Session(held.model)
    reader = home.preprocessor(held, session)
    fresh = [rows.row(number) for number in range(200, 300)]
    answer = session.predict(reader.batch([reader.read(canonical(cells)) for cells in fresh])).outputs
    if task == "classification":
        said = [rows.LABELS[k] for k in answer.argmax(axis=1)]
        assert np.mean([a == rows.label(cells) for a, cells in zip(said, fresh, strict=True)]) > 0.8
    else:
        truth = np.array([rows.score(cells) for cells in fresh])
        assert np.square(answer[:, 0] - truth).mean() < 0.5 * truth.var()
    assert GRID > np.abs(session.features(reader.batch([reader.blank()])).astype(int)).max() > 0
