"""The head is a function of the rows that stand: any history gives the very bits of a fit from scratch.

Legend: N rows, D features, K classes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.calibrate import temperature
from core.head import CALIBRATED_FROM, HeadState, Row, fit_head
from core.sample import SAMPLE
from core.statistics import VALUE
from core.types import Head, Task
from tests.homes import told

LAMS = [None, 1e-10, 1e-6, 1e-3, 0.1, 10.0]
CLASSES = ("cat", "dog", "emu", "fox")
KEY = b"key"


def drawn_row(chance: Random, name: str, width: int, task: Task) -> Row:
    features = np.array([chance.choice([chance.randint(-9000, 9000), 0, 32767]) for _ in range(width)], np.int16)
    weight, learned = chance.choice([1, 4]), chance.random() < 0.3
    if task == "regression":
        return Row(name, features, VALUE, chance.randint(-32767, 32767), weight, learned=learned)
    if chance.random() < 0.2:
        return Row(name, features, chance.choice(CLASSES[:3]), None, 8, named=True)
    return Row(name, features, chance.choice(CLASSES[:3]), None, weight, learned=learned)


def relabelled(chance: Random, row: Row) -> Row:
    if row.target is not None:
        return replace(row, target=chance.randint(-32767, 32767))
    return replace(row, column=chance.choice(CLASSES), weight=chance.choice([1, 4, 16]))


def empty(width: int, task: Task) -> HeadState:
    return HeadState(width, task=task, declared=("dog", "cat") if task == "classification" else (), key=KEY)


def wander(chance: Random, state: HeadState, steps: int) -> None:
    """Add, take away, give another label or a new class, empty a class; solve now and then on the way."""
    width, task = state.width, state.task
    for step in range(steps):
        held = list(state.rows.values())
        deed = chance.choice(["add", "add", "add", "remove", "replace", "empty", "solve"])
        if deed == "add" or not held:
            state.add([drawn_row(chance, f"{step}.{n}", width, task) for n in range(chance.randint(1, 5))])
        elif deed == "remove":
            state.remove([row.example for row in chance.sample(held, min(2, len(held)))] + ["nobody"])
        elif deed == "replace":
            row = chance.choice(held)
            state.remove([row.example])
            state.add([relabelled(chance, row)])
        elif deed == "empty" and task == "classification":
            state.remove([row.example for row in held if row.column == held[0].column])
        else:
            state.solve()


def from_scratch(state: HeadState, chance: Random) -> HeadState:
    fresh = empty(state.statistics.width, state.task)
    rows = list(state.rows.values())
    fresh.add(chance.sample(rows, len(rows)))
    return fresh


def same_bits(one: HeadState, other: HeadState, lam: float | None) -> bool:
    return told(one.solve(lam=lam)) == told(other.solve(lam=lam))


@settings(max_examples=60)
@given(
    st.randoms(use_true_random=False),
    st.sampled_from([1, 3, 40]),
    st.sampled_from(["classification", "regression"]),
    st.sampled_from(LAMS),
)
def test_any_history_gives_the_head_of_a_fit_from_scratch(
    chance: Random, width: int, task: Task, lam: float | None
) -> None:
    state = empty(width, task)
    wander(chance, state, steps=chance.randint(1, 30))
    assert same_bits(state, from_scratch(state, chance), lam)


@given(st.randoms(use_true_random=False), st.integers(0, 140), st.sampled_from([60, SAMPLE + 90]))
def test_how_sure_a_head_is_is_told_by_rows_that_no_weight_was_tuned_on(chance: Random, apart: int, tuned: int) -> None:
    """Learned rows are all alike right, the others often wrong; with too few of these, all tell. Where most rows are
    learned, those that are not tell all the same, in the sample or not."""
    rows = []
    for number in range(tuned + apart):
        truth, learned = chance.randrange(3), number < tuned
        features = np.array([chance.randint(-2000, 2000) + 12000 * (k == truth) for k in range(6)], np.int16)
        said = truth if learned or chance.random() < 0.6 else chance.randrange(3)
        rows.append(Row(f"{number}", features, CLASSES[said], None, 1, learned=learned))
    state, plain = empty(6, "classification"), empty(6, "classification")
    state.add(rows)
    plain.add([replace(row, learned=False) for row in rows])
    head, alike = state.solve(), plain.solve()
    assert head is not None and alike is not None
    assert np.allclose(head.weight * head.temperature, alike.weight * alike.temperature, atol=1e-5)
    if apart < CALIBRATED_FROM:
        assert told(head) == told(alike)
        return
    told_apart = [row for row in rows if not row.learned]
    (held_NK,) = state.held_out([row.example for row in told_apart], head.labels)
    classes_N = np.array([head.labels.index(row.column) for row in told_apart], np.intp)
    assert head.temperature == pytest.approx(temperature(held_NK, classes_N, np.ones(apart)), rel=1e-3)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_sample_turns_over_beyond_its_size_and_the_bits_stay(task: Task) -> None:
    chance = Random(7)
    state = empty(8, task)
    state.add([drawn_row(chance, f"first {n}", 8, task) for n in range(SAMPLE + 90)])
    before = state.solve()
    assert before is not None
    in_sample = state.sample.examples()
    state.remove(in_sample[::2])
    for n in range(150):
        state.add([drawn_row(chance, f"later {n}", 8, task)])
    after = state.solve()
    assert after is not None
    assert after.sample_digest != before.sample_digest
    for lam in LAMS:
        assert same_bits(state, from_scratch(state, chance), lam)


def test_a_penalty_chosen_for_other_weights_is_not_kept() -> None:
    noise = np.random.default_rng(8)
    rows = [
        Row(str(n), noise.integers(-9000, 9001, 30).astype(np.int16), "cat" if n % 2 else "dog", None, 1)
        for n in range(40)
    ]
    for row in rows[:8]:
        row.features[0] = 30000 if row.column == "cat" else -30000
    state = empty(30, "classification")
    state.add(rows)
    before = state.solve()
    state.remove([row.example for row in rows[:8]])
    state.add([replace(row, weight=1000) for row in rows[:8]])
    after = state.solve()
    assert before is not None and after is not None and before.lam != after.lam
    assert same_bits(state, from_scratch(state, Random(0)), None)


def test_a_removed_row_was_never_there() -> None:
    chance = Random(3)
    rows = [drawn_row(chance, str(n), 5, "classification") for n in range(20)]
    visited, never = empty(5, "classification"), empty(5, "classification")
    visited.add(rows)
    visited.solve()
    visited.remove([row.example for row in rows[12:]])
    never.add(rows[:12])
    assert same_bits(visited, never, None)


def test_names_of_examples_do_not_reach_the_head() -> None:
    chance = Random(4)
    rows = [drawn_row(chance, str(n), 5, "classification") for n in range(20)]
    one, other = empty(5, "classification"), empty(5, "classification")
    one.add(rows)
    other.add([replace(row, example=f"other {97 - n}") for n, row in enumerate(rows)])
    assert same_bits(one, other, None)


def test_a_class_is_served_from_two_examples_on_and_declared_classes_come_first() -> None:
    state = empty(2, "classification")
    for n, column in enumerate(["zebra", "ant", "cat", "dog", "zebra", "ant", "cat"]):
        state.add([Row(str(n), np.array([n * 1000, 7], np.int16), column, None, 1)])
    assert state.served() == ("cat", "ant", "zebra")
    state.add([Row("7", np.array([5, 5], np.int16), "dog", None, 1)])
    assert state.served() == ("dog", "cat", "ant", "zebra")
    state.remove(["0"])
    assert state.served() == ("dog", "cat", "ant")


def test_where_no_class_has_two_examples_there_is_no_head() -> None:
    state = empty(2, "classification")
    state.add([Row(c, np.array([1, 2], np.int16), c, None, 4) for c in CLASSES])
    assert state.solve() is None
    with pytest.raises(ValueError, match="no class has 2 examples among 1"):
        fit_head(np.zeros((1, 3), np.int16), ["cat"])


def test_identical_rows_with_different_labels_still_give_a_head() -> None:
    head = fit_head(np.zeros((6, 3), np.int16), ["cat", "cat", "dog", "dog", "emu", "emu"])
    assert np.isfinite(head.weight).all() and np.isfinite(head.bias).all()


def test_a_penalty_of_nothing_is_refused() -> None:
    state = empty(2, "classification")
    state.add([Row(str(n), np.array([1, 2], np.int16), "cat", None, 1) for n in range(3)])
    with pytest.raises(AssertionError, match="above zero"):
        state.solve(lam=0.0)


def big_head() -> Head:
    """A fit whose matrices are large enough for BLAS to share among threads, if it were allowed to."""
    noise = np.random.default_rng(5)
    rows_ND = noise.integers(-3000, 3001, (700, 520)).astype(np.int16)
    labels = [CLASSES[n % 4] for n in range(700)]
    rows_ND[:, 0] += np.array([9000 * (n % 4) for n in range(700)], np.int16)
    return fit_head(rows_ND, labels, weights=[1 + 3 * (n % 2) for n in range(700)])


PRINT_BIG_HEAD = """
import hashlib, sys
sys.path.insert(0, {root!r})
from tests.laws.test_head_laws import big_head
from tests.homes import told
print(hashlib.sha256(repr(told(big_head())).encode()).hexdigest())
"""


def test_other_processes_and_thread_counts_give_the_same_bits() -> None:
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    seen = set()
    for threads in ("1", "2"):
        environment = os.environ | {"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
        answer = subprocess.run(
            [sys.executable, "-c", PRINT_BIG_HEAD.format(root=root)], env=environment, capture_output=True, check=True
        )
        seen.add(answer.stdout)
    assert len(seen) == 1


def test_heads_solved_at_the_same_time_have_the_same_bits() -> None:
    with ThreadPoolExecutor(3) as pool:
        heads = [told(head) for head in pool.map(lambda _: big_head(), range(6))]
    assert heads.count(heads[0]) == len(heads)
