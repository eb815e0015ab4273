"""Buffers that stay: the very answers of a plain run, whatever sizes, heads and threads follow each other."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.binding import CLASS_COUNTS, buckets
from core.execution import Gpu
from core.session import Output, Session
from core.types import Head
from exporters.compose import with_head
from tests import pico

PIXELS = np.random.default_rng(5).integers(0, 256, (40, pico.SIDE, pico.SIDE, 3), np.uint8)


def head(classes: int, seed: int = 0) -> Head:
    drawn = np.random.default_rng((classes, seed))
    weight = drawn.standard_normal((pico.WIDTH, classes)).astype(np.float32)
    return Head(weight=weight, bias=weight[0].copy(), labels=tuple(map(str, range(classes))))


MODEL = with_head(pico.model(), head(3))
HEADS: Sequence[Head | None] = (None, *(head(classes, seed) for classes in (2, 3, 5) for seed in (0, 1)))
PLAIN = Session(MODEL)
BOUND = Session(MODEL, gpu=Gpu(max_batch=12), _bind=True)

steps = st.tuples(st.integers(1, 40), st.integers(0, 20), st.sampled_from(range(len(HEADS))))


def same(one: Output, other: Output) -> bool:
    return np.array_equal(one.outputs, other.outputs) and np.array_equal(one.features, other.features)


@settings(max_examples=40, deadline=None)
@given(st.lists(steps, min_size=1, max_size=6))
def test_bound_buffers_give_the_answers_of_a_plain_run_to_the_last_bit(taken: list[tuple[int, int, int]]) -> None:
    for rows, start, number in taken:
        pixels = {"image": PIXELS[start : start + rows]}
        plain = [
            PLAIN.predict({"image": _padded(pixels["image"][at : at + 12])}, HEADS[number])
            for at in range(0, len(pixels["image"]), 12)
        ]
        bound = BOUND.predict(pixels, HEADS[number])
        outputs = np.concatenate([part.outputs for part in plain])
        cut = _kept(len(pixels["image"]))
        assert np.array_equal(bound.outputs, outputs[cut])
        assert np.array_equal(bound.features, PLAIN.features(pixels))


def test_threads_with_different_heads_do_not_mix() -> None:
    turns = [(n % 12 + 1, n % 20, n % len(HEADS)) for n in range(120)]
    want = [BOUND.predict({"image": PIXELS[s : s + r]}, HEADS[h]) for r, s, h in turns]
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda t: BOUND.predict({"image": PIXELS[t[1] : t[1] + t[0]]}, HEADS[t[2]]), turns))
    assert all(same(one, other) for one, other in zip(want, found, strict=True))


def test_an_answer_stays_as_it_was_when_others_follow() -> None:
    first = BOUND.predict({"image": PIXELS[:4]}, HEADS[1])
    kept = first.outputs.copy(), first.features.copy()
    BOUND.predict({"image": PIXELS[4:8]}, HEADS[2])
    assert np.array_equal(first.outputs, kept[0])
    assert np.array_equal(first.features, kept[1])


def test_ever_new_classes_are_answered_and_old_buffers_are_let_go() -> None:
    session = Session(MODEL, gpu=Gpu(max_batch=4), _bind=True)
    for classes in (*range(2, 2 + 3 * CLASS_COUNTS), 2):
        answer = session.predict({"image": PIXELS[:4]}, head(classes))
        assert same(answer, PLAIN.predict({"image": PIXELS[:4]}, head(classes)))
    bound = session._bound
    assert bound is not None
    assert len(bound._weights) == CLASS_COUNTS
    assert len(bound._lanes) <= CLASS_COUNTS


@pytest.mark.parametrize(("most", "want"), [(1, (1,)), (2, (1, 2)), (8, (1, 2, 4, 8)), (12, (1, 2, 4, 8, 12))])
def test_buckets_double_up_to_the_largest_batch(most: int, want: tuple[int, ...]) -> None:
    assert buckets(most) == want
    assert Session(MODEL, gpu=Gpu(max_batch=most), _bind=True).sizes(most) == want


def test_on_the_processor_batches_run_as_they_come() -> None:
    assert PLAIN._bound is None
    assert PLAIN.sizes(8) == (1, 8)


def _padded(pixels: np.ndarray) -> np.ndarray:
    bucket = next(size for size in buckets(12) if size >= len(pixels))
    return np.concatenate([pixels, np.zeros((bucket - len(pixels), *pixels.shape[1:]), np.uint8)])


def _kept(rows: int) -> np.ndarray:
    """Which rows of the padded parts are no padding."""
    kept: list[bool] = []
    for at in range(0, rows, 12):
        part = min(12, rows - at)
        bucket = next(size for size in buckets(12) if size >= part)
        kept += [True] * part + [False] * (bucket - part)
    return np.array(kept)
