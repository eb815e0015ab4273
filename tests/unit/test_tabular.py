"""Rows of a table read as defined; everything else is refused by the column's name, whatever the bytes."""

import json
import math
from datetime import datetime

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BrokenBundle, InvalidInput, LeptonError, TooLarge, UnsupportedMedia
from core.modality import tabular
from core.modality.tabular import RowPreprocessor, dated, from_json, inputs_of, preprocessor, sniff, to_json
from core.preprocess import Limits, plain
from core.schema import FILE, FIRST, LONGEST, MISSING, UNSEEN, canonical, from_bytes
from tests import rows
from training.schema import Cell, infer, tidy

LIMITS = Limits()
TABLE = rows.table_of(60)[0]
SCHEMA = infer(TABLE)
READER = RowPreprocessor(SCHEMA, LIMITS)

NAMES = st.sampled_from([*rows.COLUMNS, "Income", "", "ü"]) | st.text(max_size=5)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=True)
    | st.text(max_size=20)
    | st.sampled_from(["clerk", "town 1", "2020-01-01", "1", "NaN", " ", 10**400, 2**53, -0.0, 1e308])
)
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3))
OBJECTS = st.dictionaries(NAMES, SCALARS, max_size=6)


def test_a_row_becomes_numbers_and_indexes_in_the_order_of_the_columns() -> None:
    found = READER.read(b'{"income": 3000, "age": 31, "job": "clerk", "town": "town 0", "since": "2020-01-15"}')
    assert not found.flags
    assert found.arrays["numeric"].dtype == np.float32
    assert found.arrays["numeric"][:3] == pytest.approx([3000, 31, 18276])
    indexes = zip(SCHEMA.categoricals, found.arrays["categorical"], strict=True)
    words = [column.categories[index - FIRST] for column, index in indexes]
    assert words == ["clerk", "town 0"]


@pytest.mark.parametrize("blank", ["{}", '{"income": null}', '{"income": "", "job": " ", "since": "\\t"}'])
def test_a_missing_value_is_defined_and_flagged_in_every_spelling(blank: str) -> None:
    found = READER.read(blank.encode())
    assert found.flags == {"missing": rows.COLUMNS}
    assert np.isnan(found.arrays["numeric"]).all()
    assert found.arrays["categorical"].tolist() == [MISSING, MISSING]


def test_an_unseen_category_and_a_number_out_of_range_are_answered_and_flagged() -> None:
    cells = {"income": 1e300, "age": 3, "job": "astronaut", "town": 7, "since": "1950-01-01T12:00:00+02:00"}
    found = READER.read(canonical(cells))
    assert found.flags == {"out_of_range": ("income", "age", "since"), "unseen": ("job", "town")}
    assert np.isfinite(found.arrays["numeric"]).all()
    assert found.arrays["categorical"].tolist() == [UNSEEN, UNSEEN]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ('{"incom": 1}', "did you mean 'income'"),
        ('{"income": "1"}', "column 'income' is the text '1'; expected a number"),
        ('{"income": true}', "column 'income' is true; expected a number"),
        ('{"since": 2020}', "expected a date"),
        ('{"since": "2020-02-30"}', "expected a date"),
        ('{"income": [1]}', "no row"),
        ('{"income": NaN}', "no row"),
        ('{"income": 1e999}', "no row"),
        ("[]", "no row"),
        ("", "no row"),
        ('{"a":' * 100_000, "no row"),
        ('{"job": "\\ud800"}', "no row"),
    ],
)
def test_what_is_no_row_of_the_scene_is_refused_with_the_reason(bad: str, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        READER.read(bad.encode())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([1], "features is a list"),
        ({"income": {}}, "column 'income' is an object"),
        ({"income": math.nan}, "no finite number"),
        ({"income": 10**400}, "no finite number"),
        ({"job": "x" * (LONGEST + 1)}, "1001 characters"),
        ({"x" * (LONGEST + 1): 1}, "name has 1001 characters"),
        ({"job": "\ud800"}, "surrogate"),
    ],
)
def test_what_a_client_may_not_write_is_refused_before_it_becomes_an_example(content: object, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        from_json(content, LIMITS)


def test_too_many_bytes_or_columns_are_too_large() -> None:
    with pytest.raises(TooLarge, match="bytes"):
        from_json({"job": "clerk"}, Limits(max_bytes=8))
    with pytest.raises(TooLarge, match="bytes"):
        RowPreprocessor(SCHEMA, Limits(max_bytes=8)).read(canonical({"job": "clerk"}))
    with pytest.raises(TooLarge, match="3000 columns"):
        from_json({str(n): n for n in range(3000)}, LIMITS)


@given(st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_give_a_row_or_an_error_for_people(data: bytes) -> None:
    try:
        found = READER.read(data)
    except LeptonError as error:
        assert error.status in {413, 422}
    else:
        assert found.arrays["numeric"].shape == (6,)
        assert not np.isinf(found.arrays["numeric"]).any()
        assert (found.arrays["categorical"] >= 0).all()
        assert set(found.flags) <= {"missing", "unseen", "out_of_range"}


@given(JSON)
def test_whatever_a_client_writes_is_canonical_bytes_or_an_error_for_people(content: object) -> None:
    try:
        data = from_json(content, LIMITS)
    except LeptonError as error:
        assert error.status in {413, 422}
    else:
        assert from_json(msgspec.json.decode(data), LIMITS) == data
        assert from_json(to_json(data), LIMITS) == data
        assert sniff(data) == "application/json"


@given(OBJECTS.filter(lambda cells: not any(isinstance(v, float) and not math.isfinite(v) for v in cells.values())))
def test_neither_the_order_of_columns_nor_nulls_change_an_example(cells: dict[str, object]) -> None:
    try:
        data = canonical(cells)
    except InvalidInput:
        return
    turned = dict(reversed(cells.items()))
    assert canonical(turned) == data
    assert canonical({"another": None, "blank": "  "} | turned) == data


@given(st.sampled_from(TABLE))
def test_a_training_row_and_the_same_row_from_a_client_are_identical_to_the_bit(cells: dict[str, Cell]) -> None:
    trained = READER.read(canonical(cells))
    told = json.dumps(dict(reversed(cells.items())))
    served = preprocessor(inputs_of(SCHEMA), READER.files, LIMITS).read(from_json(json.loads(told), LIMITS))
    assert {name: array.tobytes() for name, array in trained.arrays.items()} == {
        name: array.tobytes() for name, array in served.arrays.items()
    }
    assert trained.flags == served.flags


PLAIN = [{name: cell for name, cell in cells.items() if name != "since"} for cells in TABLE]
QUICK = RowPreprocessor(infer(PLAIN), LIMITS)
USUAL = st.fixed_dictionaries(
    {
        "income": st.floats(100, 40_000) | st.integers(100, 40_000) | SCALARS,
        "age": st.floats(18, 79) | st.sampled_from([-0.0, 0, True, "30"]) | SCALARS,
        "job": st.sampled_from(["clerk", "farmer", " nurse", "x" * 2000]) | SCALARS,
        "town": st.sampled_from(["town 0", "town 1", "town 99"]) | SCALARS,
    }
)


@given(USUAL | OBJECTS | JSON)
def test_a_plain_row_is_the_very_row_of_its_bytes(content: object) -> None:
    quick = plain(QUICK, content)
    if quick is None:
        return
    read = QUICK.read(from_json(content, LIMITS))
    assert quick.flags == read.flags == {}
    one, other = QUICK.batch([quick]), QUICK.batch([read])
    assert {name: (array.dtype, array.tobytes()) for name, array in one.items()} == {
        name: (array.dtype, array.tobytes()) for name, array in other.items()
    }


def test_rows_of_the_training_data_without_gaps_are_plain() -> None:
    whole = [cells for cells in PLAIN if None not in cells.values()]
    known = [cells for cells in whole if not QUICK.read(canonical(cells)).flags]
    assert len(known) > 20
    assert all(plain(QUICK, dict(reversed(cells.items()))) for cells in known)
    assert plain(READER, TABLE[0]) is None, "a date is not plain"
    assert plain(RowPreprocessor(infer(PLAIN), Limits(max_bytes=200)), known[0]) is None, "nor what may be too long"


def test_a_csv_file_and_json_give_the_same_examples() -> None:
    texts = [{name: "" if cell is None else str(cell) for name, cell in cells.items()} for cells in TABLE]
    assert [canonical(cells) for cells in tidy(texts)] == [canonical(cells) for cells in TABLE]


def test_only_an_object_is_sniffed_as_a_row() -> None:
    with pytest.raises(UnsupportedMedia):
        sniff(b"\x89PNG")


def test_rows_are_batched_one_under_another_and_a_blank_one_is_valid() -> None:
    found = READER.batch([READER.blank(), READER.read(canonical(TABLE[0]))])
    assert {name: array.shape for name, array in found.items()} == {"numeric": (2, 6), "categorical": (2, 2)}


def test_an_input_without_columns_is_left_out() -> None:
    reader = RowPreprocessor(infer([{"a": 1.0}, {"a": 2.0}]), LIMITS)
    assert set(reader.blank().arrays) == set(reader.batch([reader.blank()])) == {"numeric"}


def test_a_bundle_without_its_schema_or_with_another_one_is_broken() -> None:
    with pytest.raises(BrokenBundle, match=r"no schema\.json"):
        preprocessor(inputs_of(SCHEMA), {}, LIMITS)
    other = infer([{"a": 1.0}])
    with pytest.raises(BrokenBundle, match="describes numeric float32"):
        preprocessor(inputs_of(SCHEMA), {FILE: other.to_bytes()}, LIMITS)


def test_the_key_names_the_schema_and_the_way_of_reading() -> None:
    assert READER.key.startswith(tabular.PREPROCESSING)
    assert READER.key == RowPreprocessor(from_bytes(SCHEMA.to_bytes()), LIMITS).key
    assert READER.key != RowPreprocessor(infer(TABLE[:-1]), LIMITS).key


@given(st.text(max_size=30) | st.dates().map(str) | st.datetimes().map(lambda moment: moment.isoformat()))
def test_any_text_is_a_date_or_not(text: str) -> None:
    found = dated(text)
    assert found is None or all(math.isfinite(part) for part in found)


@given(st.datetimes())
def test_the_parts_of_a_date_are_those_of_the_calendar(moment: datetime) -> None:
    text = moment.isoformat()
    parts = dated(text)
    assert parts is not None
    days, _, weekday, hour = parts
    assert math.floor(days) == moment.toordinal() - 719_163
    assert int(weekday) == moment.weekday()
    assert int(hour) == moment.hour
