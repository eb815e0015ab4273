"""A network learns on one table and is of use on another that shares columns with it; the graph computes it exactly."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from safetensors.numpy import load_file, save_file

from core.errors import BadConfiguration, InvalidInput
from core.head import fit_head
from core.modality.tabular import RowPreprocessor
from core.preprocess import Inputs, Limits
from core.schema import FILE, MISSING, UNSEEN, Schema, canonical, from_bytes
from core.session import Session
from core.statistics import from_grid
from core.types import Doubles, GridRows
from exporters.backbone import Backbone, MemberGraph, member
from exporters.compose import Member, compose
from exporters.table_transfer import TENSORS, WEIGHTS
from exporters.transform import Transform
from tests import rows
from training.backbone import table_mlp, tabular
from training.schema import Cell, infer
from training.table_network import Schooling, encoded, pretrain
from training.zoo import Setting

Cells = list[dict[str, Cell]]
PLAN = Schooling(width=64, epochs=50, batch=128)
SOURCE, SAID = rows.table_of(600)
TARGET: Cells = [
    {"since": row["since"], "income": row["income"], "job": row["job"], "pets": float(n % 4)}
    for n, row in ((n, rows.row(n)) for n in range(1000, 1400))
]
TRUTH = [rows.label(cells) for cells in TARGET]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pretrain(SOURCE, SAID, tmp_path_factory.mktemp("network"), plan=PLAN)


def inputs_of(schema: Schema, cells: Cells) -> Inputs:
    reader = RowPreprocessor(schema, Limits())
    return reader.batch([reader.read(canonical(one)) for one in cells])


def loaded(folder: Path, schema: Schema) -> Backbone:
    return table_mlp.load(str(folder), Setting(files={FILE: schema.to_bytes()}))


def features(backbone: Backbone, inputs: Inputs) -> GridRows:
    model = compose([Member(graph=member(backbone), transform=Transform(kind=backbone.transform))])
    return Session(model).features(inputs)


def graph_output(backbone: Backbone, inputs: Inputs) -> Doubles:
    assert isinstance(backbone.body, MemberGraph)
    session = ort.InferenceSession(backbone.body.model, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["raw"], inputs)[0], np.float64)


def by_hand(folder: Path, pieces_NP: Doubles) -> Doubles:
    """The network's features in numpy."""
    held = load_file(folder / WEIGHTS)
    hidden_NH = np.maximum(pieces_NP @ held["first.weight"].T + held["first.bias"], 0)
    return np.asarray(np.maximum(hidden_NH @ held["second.weight"].T + held["second.bias"], 0), np.float64)


def test_on_its_own_table_the_graph_is_the_network(network: Path) -> None:
    schema = from_bytes((network / FILE).read_bytes())
    inputs = inputs_of(schema, SOURCE[:50])
    expected = by_hand(network, encoded(schema, inputs))
    assert graph_output(loaded(network, schema), inputs)[:, : expected.shape[1]] == pytest.approx(expected, abs=1e-5)
    assert np.linalg.norm(expected, axis=1).mean() == pytest.approx(1, abs=0.2)


def test_on_another_table_shared_columns_hold_and_the_others_are_missing(network: Path) -> None:
    source, schema = from_bytes((network / FILE).read_bytes()), infer(TARGET)
    shown: Cells = [{name: cell for name, cell in cells.items() if name != "pets"} for cells in TARGET[:50]]
    expected = by_hand(network, encoded(source, inputs_of(source, shown)))
    found = graph_output(loaded(network, schema), inputs_of(schema, TARGET[:50]))
    assert found[:, : expected.shape[1]] == pytest.approx(expected, abs=1e-5)


def test_a_category_that_the_source_never_saw_is_unseen_to_the_network(network: Path) -> None:
    source = from_bytes((network / FILE).read_bytes())
    cells: Cells = [{"job": "pilot"}, {"job": "pilot"}, {"job": None}]
    schema = infer(cells)
    found = graph_output(loaded(network, schema), inputs_of(schema, cells))
    as_seen = inputs_of(source, [{"job": "pilot"}, {"job": None}])
    assert [int(as_seen["categorical"][n, 0]) for n in range(2)] == [UNSEEN, MISSING]
    expected = by_hand(network, encoded(source, as_seen))
    assert found[[0, 2], : expected.shape[1]] == pytest.approx(expected, abs=1e-5)


def test_with_few_labels_the_pretrained_network_beats_the_columns_alone(network: Path) -> None:
    schema = infer(TARGET[:100])
    inputs = inputs_of(schema, TARGET)
    right: dict[str, list[float]] = {"network": [], "columns": []}
    settled = Setting(files={FILE: schema.to_bytes()})
    known = {"network": loaded(network, schema), "columns": tabular.load("table_linear", settled)}
    for name, backbone in known.items():
        rows_ND = features(backbone, inputs)
        for start in range(0, 100, 10):
            taken = slice(start, start + 10)
            head = fit_head(rows_ND[taken], TRUTH[taken])
            said = (from_grid(rows_ND[100:]) @ head.weight + head.bias).argmax(axis=1)
            right[name].append(float(np.mean([head.labels[k] == t for k, t in zip(said, TRUTH[100:], strict=True)])))
    assert np.mean(right["network"]) > np.mean(right["columns"]) + 0.05


def test_a_network_of_a_regression_is_carried_too(tmp_path: Path) -> None:
    targets: list[Cell] = [rows.score(cells) for cells in SOURCE]
    folder = pretrain(SOURCE, targets, tmp_path, plan=PLAN)
    schema = from_bytes((folder / FILE).read_bytes())
    seen = by_hand(folder, encoded(schema, inputs_of(schema, SOURCE)))
    truth = np.array(targets, np.float64)
    with_one = np.hstack([seen, np.ones((len(seen), 1))])
    fitted = with_one @ np.linalg.lstsq(with_one, truth, rcond=None)[0]
    assert np.square(fitted - truth).mean() < 0.2 * truth.var()


def test_the_same_rows_and_seed_give_the_same_network(tmp_path: Path) -> None:
    plan = Schooling(width=8, epochs=2)
    first, second = (pretrain(SOURCE[:60], SAID[:60], tmp_path / name, plan=plan) for name in "ab")
    assert (first / WEIGHTS).read_bytes() == (second / WEIGHTS).read_bytes()


def test_a_network_of_other_columns_a_damaged_one_and_none_are_refused(network: Path, tmp_path: Path) -> None:
    schema = infer(TARGET)
    with pytest.raises(InvalidInput, match="shares no column"):
        loaded(network, infer([{"other": 1.0}, {"income": "a word"}]))
    with pytest.raises(BadConfiguration, match="cannot be read"):
        loaded(tmp_path / "nowhere", schema)
    (tmp_path / FILE).write_bytes((network / FILE).read_bytes())
    (tmp_path / WEIGHTS).write_bytes(b"\x80\x04pickle")
    with pytest.raises(BadConfiguration, match="cannot be read"):
        loaded(tmp_path, schema)
    held = load_file(network / WEIGHTS)
    for broken in (held | {"first.weight": held["first.weight"][:, :-1]}, {"first.weight": held["first.weight"]}):
        save_file({name: np.ascontiguousarray(value) for name, value in broken.items()}, tmp_path / WEIGHTS)
        with pytest.raises(InvalidInput, match="expected"):
            loaded(tmp_path, schema)
    assert set(held) == set(TENSORS)


def test_too_few_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="too few"):
        pretrain(SOURCE[:5], SAID[:5], tmp_path)
