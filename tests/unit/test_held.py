"""Rows are read once, as long as they are among the last that were asked for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInput
from core.preprocess import Row
from training.held import Held

asked = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("0123456")), max_size=60)


def row(key: str, digest: str) -> Row:
    return Row({"input": np.array([ord(key), ord(digest)], np.int64)})


@given(asked, st.integers(0, 6))
def test_everybody_gets_the_row_of_reading_and_no_more_stay_than_fit(order: list[tuple[str, str]], most: int) -> None:
    held, read = Held(16 * most), list[tuple[str, str]]()
    last: list[tuple[str, str]] = []  # the newest at the end

    def fresh(key: str, digest: str) -> Row:
        read.append((key, digest))
        return row(key, digest)

    for each in order:
        known, before = each in last, len(read)
        got = held.get(*each, lambda each=each: fresh(*each))  # type: ignore[misc]
        assert got.arrays["input"].tolist() == [ord(part) for part in each]
        assert (len(read) == before) == known
        last = [*(other for other in last if other != each), each][-most:] if most else []
        assert len(held) == len(last)


def test_what_cannot_be_read_is_asked_for_again() -> None:
    held = Held()

    def broken() -> Row:
        raise InvalidInput("no picture", "give one")

    for _ in range(2):
        with pytest.raises(InvalidInput):
            held.get("a", "0", broken)
    assert held.get("a", "0", lambda: row("a", "0")).arrays["input"].tolist() == [97, 48]


def test_several_threads_may_ask_at_once() -> None:
    held = Held(8 * 50)
    with ThreadPoolExecutor(8) as pool:
        names = [str(number % 70) for number in range(7000)]
        rows = list(pool.map(lambda name: held.get("a", name, lambda: Row({"input": np.array([int(name)])})), names))
    assert [each.arrays["input"].item() for each in rows] == [int(name) for name in names]
    assert len(held) == 50
