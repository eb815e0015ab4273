"""A prediction that waits for the log is the one that was answered, and an example has one name however it waits."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.modality import tabular
from core.predictions import COLUMNS
from core.preprocess import Limits
from core.types import Prediction, Reply
from service.engine.record import Record, bare, pack, packed, unpack
from service.identity import Content, known

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
REPLIES = st.builds(Reply, label=st.none() | TEXTS, value=st.none() | NUMBERS, confidence=NUMBERS, margin=NUMBERS)
CELLS = st.one_of(TEXTS, NUMBERS, st.booleans(), st.integers(-(10**30), 10**30))
ROWS = st.dictionaries(TEXTS, CELLS, min_size=1, max_size=6)


@st.composite
def predictions(draw: st.DrawFn) -> Prediction:
    instance = draw(st.none() | st.binary(min_size=1, max_size=20))
    return Prediction(
        prediction_id=draw(TEXTS),
        scene=draw(TEXTS),
        version=draw(TEXTS),
        extractor=draw(TEXTS),
        revision=draw(st.integers(0, 2**40)),
        example=draw(TEXTS),
        features=np.array(draw(st.lists(st.integers(-(2**15), 2**15 - 1), max_size=8)), np.int16),
        label=draw(st.none() | TEXTS),
        value=draw(st.none() | NUMBERS),
        confidence=draw(NUMBERS),
        margin=draw(NUMBERS),
        created_at=draw(NUMBERS),
        media="" if instance is None else draw(TEXTS),
        instance=instance,
        role=draw(st.sampled_from(["champion", "challenger", "shadow"])),
        parent=draw(st.none() | TEXTS),
        further=draw(st.dictionaries(TEXTS, REPLIES, max_size=3)),
    )


def told(prediction: Prediction) -> list[object]:
    """All of it, as it can be compared."""
    fields = {name: getattr(prediction, name) for name in Prediction.__slots__}
    return [*(fields | {"features": fields["features"].tolist()}).items()]


def of_row(row: dict[str, object], *, keeps: bool) -> Record:
    record = Record("s:1", "s", "v", "e", 1, "", b"", "a", None, 1.0, 1.0, "", 0.0, "champion")
    record.content, record.keeps = Content("tabular", row), keeps
    return record


def test_a_record_begins_as_a_row_does() -> None:
    assert Record.__struct_fields__[: len(COLUMNS)] == COLUMNS


@given(predictions())
def test_what_was_packed_is_unpacked(prediction: Prediction) -> None:
    waiting = packed(prediction)
    assert told(unpack(waiting)) == told(prediction)
    assert waiting.prediction_id == prediction.prediction_id


@given(predictions())
def test_without_its_input_all_else_is_kept(prediction: Prediction) -> None:
    one = bare(packed(prediction))
    prediction.media, prediction.instance = "", None
    assert told(unpack(one)) == told(prediction)


@given(ROWS, st.booleans())
def test_a_row_that_waits_has_the_name_that_its_bytes_have(row: dict[str, object], keeps: bool) -> None:
    now = known("tabular", tabular.from_json(row, Limits()))
    later = unpack(pack(of_row(row, keeps=keeps), None))
    assert later.example == now.example
    assert (later.media, later.instance) == ((now.media, now.data) if keeps else ("", None))
    assert unpack(bare(pack(of_row(row, keeps=keeps), None))).example == now.example
