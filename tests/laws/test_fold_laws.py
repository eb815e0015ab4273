"""Laws of what teaches parted in two, and of answers that were given in turns."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.head import Row
from core.types import Doubles, Example, Scene
from training import folds
from training.contest import _Answers, _in_turn, _truth
from training.recipe import Rows

SCENE = Scene(name="s", task="classification", modality="text", labels=("a", "b", "c", "d"), hash_key=b"key")
names = st.frozensets(st.text("0123456789abcdef", min_size=8, max_size=8), max_size=40)


def example(name: str) -> Example:
    return Example(digest=name, path="", split="train", label="a")


@given(names, names)
def test_everybody_who_teaches_is_in_one_half_and_stays_there_whoever_comes_or_goes(
    some: frozenset[str], others: frozenset[str]
) -> None:
    one, other = folds.part(some, SCENE)
    assert one | other == some and not one & other
    both = folds.part(some | others, SCENE)
    assert (both[0] & some, both[1] & some) == (one, other)
    held = tuple(map(example, sorted(others - some)))
    rows = Rows(train=tuple(map(example, sorted(some))), validation=held)
    halves = folds.teaching(rows, SCENE, by_turns=True)
    assert tuple(map(folds.names, halves)) == (one, other)
    assert all(half.validation == held for half in halves), "so few watch both"
    assert folds.teaching(rows, SCENE, by_turns=False) == (rows,)


def test_the_halves_are_about_as_large_and_of_many_who_watch_each_has_its_own() -> None:
    names = [f"{number:064x}" for number in range(2200)]
    rows = Rows(train=tuple(map(example, names[:2000])), validation=tuple(map(example, names[2000:])))
    one, other = folds.teaching(rows, SCENE, by_turns=True)
    assert len(one.train) + len(other.train) == 2000 and abs(len(one.train) - len(other.train)) < 200
    assert sorted(each.digest for each in (*one.validation, *other.validation)) == names[2000:]
    assert min(len(one.validation), len(other.validation)) > 60


def turn(known: tuple[tuple[str, ...], tuple[str, ...]], truths: list[str], first: int, seed: int) -> _Answers:
    """So many examples from ``first`` on, answered by two heads that know these classes."""
    chance = np.random.default_rng(seed)
    rows = tuple(
        Row(example=f"{first + n}", features=np.zeros(1, np.int16), column=truth, target=None, weight=1)
        for n, truth in enumerate(truths)
    )

    def shares(side: int) -> Doubles:
        return chance.dirichlet(np.ones(len(known[side])), len(rows))

    return _Answers(
        task=SCENE,
        names=tuple(row.example for row in rows),
        rows=rows,
        labels=known,
        truths=(_truth(rows, known[0]), _truth(rows, known[1])),
        answers=(shares(0), shares(1)),
        unread_N=chance.random(len(rows)) < 0.5,
    )


def words(told: _Answers, side: int) -> tuple[list[str], list[str]]:
    """The classes that were answered, and those that are true, none where the head does not know it."""
    columns = [*told.labels[side], ""]
    return [columns[k] for k in told.answers[side].argmax(axis=1)], [columns[k] for k in told.truths[side]]


heads = st.sets(st.sampled_from(SCENE.labels), min_size=1).map(lambda labels: tuple(sorted(labels)))
turns = st.lists(
    st.tuples(st.tuples(heads, heads), st.lists(st.sampled_from(SCENE.labels), max_size=6)), min_size=1, max_size=3
)


@given(turns, st.integers(0, 1000))
def test_of_answers_in_turns_each_stays_what_it_was(
    asked: list[tuple[tuple[tuple[str, ...], tuple[str, ...]], list[str]]], seed: int
) -> None:
    told = [turn(known, truths, 100 * n, seed + n) for n, (known, truths) in enumerate(asked)]
    together, place = _in_turn(SCENE, told), 0
    assert together.names == tuple(name for each in told for name in each.names)
    for each in told:
        here = slice(place, place + len(each.names))
        assert (together.unread_N[here] == each.unread_N).all()
        for side in (0, 1):
            said, true = (found[here] for found in words(together, side))
            assert (said, true) == words(each, side), "what was answered, and what could have been right"
            assert np.allclose(together.answers[side][here].sum(axis=1), 1.0)
        place = here.stop
