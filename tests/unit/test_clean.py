"""Near twins and labels that look wrong, on arrays."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from core.errors import InvalidInput
from core.modality.image import decode
from core.preprocess import Limits
from tests.pictures import png, twin
from training.clean import clusters, label_errors, looks_alike
from training.modality.image import SIDE, twin_pairs
from training.split import assign, quota, unite


def thumbnails(*pictures: bytes) -> NDArray[np.uint8]:
    return np.stack([decode(data, (SIDE, SIDE), Limits()) for data in pictures])


def brute_force(stack: NDArray[np.uint8]) -> list[tuple[int, int]]:
    pairs = [(i, j) for i in range(len(stack)) for j in range(i + 1, len(stack))]
    return [(i, j) for i, j in pairs if np.abs(stack[i].astype(int) - stack[j]).mean() <= 4]


def test_a_scaled_and_compressed_copy_is_a_twin() -> None:
    assert twin_pairs(thumbnails(png(1), png(2), twin(1), twin(2, quality=60))) == [(0, 2), (1, 3)]


def test_plain_pictures_of_different_colours_are_no_twins() -> None:
    plain = np.zeros((4, SIDE, SIDE, 3), np.uint8)
    plain[:] = np.array([0, 60, 61, 200], np.uint8)[:, None, None, None]
    assert twin_pairs(plain) == [(1, 2)]


def test_a_small_defect_makes_another_picture() -> None:
    board = thumbnails(png(3))[0]
    scratched = board.copy()
    scratched[10:14, 8:12] = 255 - scratched[10:14, 8:12]
    assert np.abs(board.astype(int) - scratched).mean() < 4
    assert twin_pairs(np.stack([board, scratched])) == []


def test_pairs_across_blocks_are_found() -> None:
    stack = np.stack([thumbnails(png(n))[0] for n in range(300)])
    stack = np.concatenate([stack, stack[::-1]])
    assert sorted(twin_pairs(stack)) == brute_force(stack) == [(n, 599 - n) for n in range(300)]


def test_likeness_does_not_chain() -> None:
    assert clusters([(0, 1), (1, 2), (2, 3)]) == [[0, 1], [2, 3]]
    assert clusters([]) == []


def test_a_class_that_looks_alike_is_not_taken_for_copies() -> None:
    labels = ["ok"] * 40 + ["bad"] * 200
    assert looks_alike(range(9), labels)
    assert not looks_alike(range(8), labels)
    assert not looks_alike(range(40, 60), labels)


def test_planted_label_errors_are_found_worst_first() -> None:
    random = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], 40)
    probabilities = random.dirichlet([1, 1, 1], 120) * 0.2
    probabilities[np.arange(120), truth] += 0.8
    planted = random.choice(120, 12, replace=False)
    given = truth.copy()
    given[planted] = (given[planted] + 1) % 3
    found = label_errors(probabilities, given.tolist())
    assert {error.index for error in found} == set(planted.tolist())
    assert [error.probability for error in found] == sorted(error.probability for error in found)
    assert all(error.suggested == truth[error.index] and error.given == given[error.index] for error in found)


def test_a_column_that_no_label_names_does_no_harm() -> None:
    probabilities = np.array([[0.9, 0.05, 0.05]] * 10 + [[0.05, 0.05, 0.9]] * 10)
    given = [0] * 10 + [2] * 10
    assert label_errors(probabilities, given) == ()
    assert [error.index for error in label_errors(probabilities, [2, *given[1:]])] == [0]
    assert label_errors(probabilities, [0] * 20) == ()


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InvalidInput, match="do not fit"):
        label_errors(np.full((3, 2), 0.5), [0, 1])
    with pytest.raises(InvalidInput):
        label_errors(np.full((2, 2), np.nan), [0, 1])
    with pytest.raises(InvalidInput):
        label_errors(np.full((2, 2), 0.5), [0, 2])


def test_small_classes_are_tested_before_they_are_validated() -> None:
    assert [quota(n, "test") for n in range(1, 8)] == [0, 1, 1, 1, 1, 1, 1]
    assert [quota(n, "validation") for n in range(1, 8)] == [0, 0, 0, 0, 1, 1, 1]


def test_a_unit_follows_the_side_that_one_member_was_given() -> None:
    sides = assign(["a", "b", "c"], ["x", "x", "x"], unite(3, [[0, 1]]), ["test", None, "train"], seed=0)
    assert sides == ["test", "test", "train"]


def test_big_units_do_not_leave_a_class_untested() -> None:
    units = [0] * 5 + [5] * 4
    sides = assign([str(n) for n in range(9)], ["x"] * 9, units, [None] * 9, seed=0)
    assert sides == ["train"] * 5 + ["test"] * 4
