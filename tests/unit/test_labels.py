"""What a scene can learn, and what identifiers may look like."""

from __future__ import annotations

import numpy as np
import pytest

from core.errors import InvalidInput
from core.ids import check_identifier
from core.labels import LONGEST_LABEL, check_label, target_of
from core.statistics import from_grid
from core.types import Scene

CLOSED = Scene(name="s", task="classification", modality="image", labels=("cat", "dög"))
OPEN = Scene(name="s", task="classification", modality="image", labels=("cat",), new_labels="accept")
VALUES = Scene(name="s", task="regression", modality="image", offset=10.0, scale=4.0)


@pytest.mark.parametrize(
    ("scene", "label", "value"), [(CLOSED, "dög", None), (OPEN, "<b>emu</b>\n", None), (VALUES, None, 13.99)]
)
def test_what_fits_is_taken(scene: Scene, label: str | None, value: float | None) -> None:
    check_label(scene, label, value)


@pytest.mark.parametrize(
    ("scene", "label", "value", "why"),
    [
        (CLOSED, "emu", None, r"does not know the label 'emu'; it knows 'cat', 'dög'"),
        (CLOSED, None, 1.0, "is a classification"),
        (CLOSED, "cat", 1.0, "is a classification"),
        (CLOSED, None, None, "is a classification"),
        (OPEN, "", None, "cannot be used"),
        (OPEN, "x" * (LONGEST_LABEL + 1), None, "cannot be used"),
        (OPEN, "a\0b", None, "cannot be used"),
        (OPEN, "a\ud800", None, "cannot be used"),
        (VALUES, "cat", None, "is a regression"),
        (VALUES, None, None, "is a regression"),
        (VALUES, None, 14.0, "between 6 and 14"),
        (VALUES, None, 6.0, "out of range"),
        (VALUES, None, float("nan"), "out of range"),
        (VALUES, None, float("inf"), "out of range"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(
    scene: Scene, label: str | None, value: float | None, why: str
) -> None:
    with pytest.raises(InvalidInput, match=why):
        check_label(scene, label, value)


def test_a_value_keeps_its_place_on_the_grid() -> None:
    for value in (6.001, 10.0, 13.9999):
        back = float(from_grid(np.array(target_of(VALUES, value), np.int16))) * VALUES.scale + VALUES.offset
        assert back == pytest.approx(value, abs=VALUES.scale / 2**15)


@pytest.mark.parametrize("value", ["", "x" * 201, "a\nb", "a\0", "\ud800"])
def test_an_identifier_that_cannot_be_used_is_refused(value: str) -> None:
    with pytest.raises(InvalidInput, match=r"annotator .* cannot be used"):
        check_identifier("annotator", value)
