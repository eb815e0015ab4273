"""The labelling queue: its shares, and that accuracy is told without bias although it prefers what is uncertain."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.offers import weighted_share
from core.queueing import Open, choose, diverse, members_apart
from core.statistics import to_grid
from core.types import Block, Head


def pool(count: int, since: float = 0.0) -> list[Open]:
    return [Open(example=f"e{n}", at=since + 1.0 + n) for n in range(count)]


@given(st.integers(1, 60), st.integers(1, 40), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_what_is_offered_is_wanted_and_by_lot_in_its_share_and_nothing_twice(
    count: int, limit: int, share: float, seed: int
) -> None:
    open_ones, best = pool(count), [f"e{n}" for n in range(count)]
    found = choose(open_ones, best, {"old": 3.0, "older": 0.0}, limit, share, 0.5, set(), np.random.default_rng(seed))
    assert len(found.examples) == len(set(found.examples)) == min(limit, count)
    assert len(found.drawn) <= int(share * limit) + 1
    chosen = [example for example in found.examples if example not in found.drawn]
    assert chosen == [example for example in best if example in chosen], "in the order of the strategy"
    assert set(found.lot.chances) == {*found.examples, "old"}
    assert all(found.lot.chances[example] == 1.0 for example in chosen)
    expected = 1.0 if limit >= count else len(found.drawn) / (count - limit + len(found.drawn))
    assert all(found.lot.chances[example] == expected for example in found.drawn)


@given(st.integers(0, 2**32 - 1))
def test_a_turn_without_a_lot_comes_again(seed: int) -> None:
    chance = np.random.default_rng(seed)
    found = choose(pool(30), [f"e{n}" for n in range(30)], {}, 2, 0.0, 0.0, set(), chance)
    assert not found.drawn and found.lot.until is None
    all_by_lot = choose(pool(30), [], {}, 5, 0.0, 0.0, set(), chance)
    assert len(all_by_lot.drawn) == 5 and all_by_lot.lot.until == 30.0


def test_live_accuracy_is_unbiased_while_labels_come_from_margin_and_lot() -> None:
    """400 streams of 12 lots each; the model is wrong mostly where it is uncertain, as models are."""
    weighted, plain = [], []
    for seed in range(400):
        chance = np.random.default_rng(seed)
        rights: list[bool] = []
        chances: list[float] = []
        truth: list[bool] = []
        since, offered = 0.0, set[str]()
        open_ones: list[Open] = []
        margins: dict[str, float] = {}
        right: dict[str, bool] = {}
        for lot in range(12):
            for n in range(60):
                example = f"{lot}-{n}"
                margins[example] = float(chance.random())
                right[example] = bool(chance.random() < 0.55 + 0.45 * margins[example])
                truth.append(right[example])
                open_ones.append(Open(example=example, at=since + 1 + n))
            best = sorted((each.example for each in open_ones), key=lambda example: margins[example])
            found = choose(open_ones, best, {}, 10, 0.3, since, offered, chance)
            rights += [right[example] for example in found.lot.chances]
            chances += list(found.lot.chances.values())
            since = since if found.lot.until is None else found.lot.until
            offered |= found.lot.chances.keys()
            open_ones = [each for each in open_ones if each.example not in found.examples]
        weighted.append(weighted_share(rights, chances) - np.mean(truth))
        plain.append(np.mean(rights) - np.mean(truth))
    error = float(np.std(weighted) / np.sqrt(len(weighted)))
    assert abs(np.mean(weighted)) < 4 * error + 0.002
    assert np.mean(plain) < -0.1, "counted plainly, the uncertain make it look bad"


@given(st.integers(2, 6), st.integers(0, 2**16))
def test_diverse_takes_one_of_each_kind(kinds: int, seed: int) -> None:
    chance = np.random.default_rng(seed)
    centres = np.eye(8)[:kinds] * 0.8
    rows = to_grid(np.repeat(centres, 6, axis=0) + chance.normal(0, 0.005, (6 * kinds, 8)))
    found = diverse(rows, kinds, seed)
    assert len(set(found)) == kinds
    assert sorted(diverse(rows, 6 * kinds, seed)) == list(range(6 * kinds))


def test_members_disagree_where_their_answers_differ() -> None:
    blocks = (Block(start=0, stop=2, alpha=0.5), Block(start=2, stop=4, alpha=0.5))
    weight = np.array([[4, 0], [0, 4], [4, 0], [0, 4]], np.float32)
    head = Head(weight=weight, bias=np.zeros(2, np.float32), labels=("a", "b"))
    rows = to_grid(np.array([[0.9, 0, 0.9, 0], [0.9, 0, 0, 0.9], [0, 0, 0, 0]]))
    apart = members_apart(rows, head, blocks)
    assert apart[1] > 0.3 and abs(apart[0]) < 1e-12 and abs(apart[2]) < 1e-12
