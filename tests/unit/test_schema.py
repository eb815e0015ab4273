"""A schema says what the training rows were, whatever their order, and a damaged one is refused."""

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BrokenBundle, InvalidInput
from core.modality.tabular import RowPreprocessor
from core.preprocess import Limits
from core.schema import LARGEST, MOST_KNOTS, Categorical, Date, Numeric, Schema, canonical, from_bytes
from tests import rows
from training.schema import Cell, infer, spread, tidy

CELLS = (
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers(-(10**6), 10**6)
    | st.text(max_size=4)
    | st.sampled_from(["1", "01", "a", "NA", "2020-01-01", "1e400"])
)
TABLES = st.lists(st.dictionaries(st.sampled_from("abc"), CELLS, min_size=1), min_size=1, max_size=12)


def column(*cells: Cell) -> Numeric | Date | Categorical:
    return infer(tidy([{"x": cell} for cell in cells])).columns[0]


def test_texts_that_are_all_numbers_become_numbers() -> None:
    found = column("1", "2.5", "-3e2", "NA", "")
    assert isinstance(found, Numeric)
    assert found.missing == 2
    assert (found.spread.low, found.spread.high, found.spread.fill) == (-300, 2.5, 1)


@pytest.mark.parametrize(
    "cells", [("007", "008"), ("1", "x"), ("1", "1_000"), ("1", "1e999"), (True, False), ("٣", "٤")]
)
def test_texts_that_json_would_not_write_as_numbers_stay_words(cells: tuple[Cell, ...]) -> None:
    assert isinstance(column(*cells), Categorical)


def test_a_column_of_dates_has_four_numbers() -> None:
    found = column("2024-02-29", "2023-12-31T23:59:59", None)
    assert isinstance(found, Date)
    assert [part.high for part in found.spreads][1:3] == pytest.approx([365.99999, 6.99999], abs=1e-4)


def test_categories_are_counted_and_rare_ones_teach_what_unseen_means() -> None:
    assert column("b", "a", "b", "c", "a", "b", None) == Categorical(
        name="x", missing=1, rare=1, categories=("b", "a"), counts=(3, 2)
    )


def test_a_column_of_both_numbers_and_words_is_read_as_words() -> None:
    assert column(1, "a", 1.0, "a") == Categorical(name="x", missing=0, rare=0, categories=("1", "a"), counts=(2, 2))


def test_the_usual_words_for_missing_are_words_among_words_alone() -> None:
    assert column("none", "NA", "some", "none", "NA") == Categorical(
        name="x", missing=0, rare=1, categories=("NA", "none"), counts=(2, 2)
    )
    assert tidy([{"x": "n/a"}, {"x": "2024-01-01"}, {"x": "?"}]) == [{"x": None}, {"x": "2024-01-01"}, {"x": None}]


def test_true_and_false_stay_what_a_client_would_send() -> None:
    assert tidy([{"x": True}, {"x": False}]) == [{"x": True}, {"x": False}]
    assert column(True, False, True, False) == Categorical(
        name="x", missing=0, rare=0, categories=("false", "true"), counts=(2, 2)
    )


def test_a_column_of_no_value_at_all_stays_in_the_schema() -> None:
    assert column(None, " ") == Categorical(name="x", missing=2, rare=0, categories=(), counts=())


@given(TABLES)
def test_every_row_that_a_schema_was_inferred_from_can_be_read_and_is_in_range(table: list[dict[str, Cell]]) -> None:
    clean = tidy(table)
    schema = infer(clean)
    assert from_bytes(schema.to_bytes()) == schema
    reader = RowPreprocessor(schema, Limits())
    for cells in clean:
        found = reader.read(canonical(cells))
        large = [v for v in cells.values() if isinstance(v, float) and abs(v) > LARGEST]
        assert "out_of_range" not in found.flags or large


@given(TABLES, st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_change_a_schema(table: list[dict[str, Cell]], random: Random) -> None:
    clean = [{"a": None, "b": None, "c": None} | cells for cells in tidy(table)]
    turned = clean.copy()
    random.shuffle(turned)
    assert infer(turned).to_bytes() == infer(clean).to_bytes()


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=50))
def test_a_spread_holds_whatever_the_numbers(values: list[float]) -> None:
    found = spread(np.array(values))
    assert found.low <= found.fill <= found.high
    assert len(found.knots) <= MOST_KNOTS


@pytest.mark.parametrize(
    "damage", ['"deviation": 0', '"deviation": 1e999', '"deviation": "1"', '"other": 1', '"low": 1e30']
)
def test_a_damaged_schema_is_a_broken_bundle(damage: str) -> None:
    good = infer([{"a": 1.0}]).to_bytes().decode()
    name = damage.split(":", maxsplit=1)[0]
    lines = [line for line in good.splitlines() if not line.strip().startswith(name)]
    bad = "\n".join(lines).replace('"fill":', f'{damage}, "fill":')
    with pytest.raises(BrokenBundle, match=r"schema\.json"):
        from_bytes(bad.encode())


@pytest.mark.parametrize("bad", [b"", b"{}", b"\xff", b'{"rows": 1, "columns": []}', b'{"a":' * 100_000])
def test_bytes_that_are_no_schema_are_a_broken_bundle(bad: bytes) -> None:
    with pytest.raises(BrokenBundle):
        from_bytes(bad)


def test_two_columns_of_one_name_are_refused() -> None:
    twice = infer([{"a": 1.0}]).columns * 2
    with pytest.raises(ValueError, match="one name"):
        Schema(rows=1, columns=twice)


def test_a_table_without_rows_or_of_running_text_is_refused() -> None:
    with pytest.raises(InvalidInput, match="0 rows"):
        infer([])
    with pytest.raises(InvalidInput, match="1001 characters"):
        tidy([{"a": "x" * 1001}])


def test_the_tests_own_table_has_every_kind_of_column() -> None:
    kinds = [type(held).__name__ for held in infer(rows.table_of(60)[0]).columns]
    assert kinds == ["Numeric", "Numeric", "Categorical", "Categorical", "Date"]
