"""The guard asks without a trace, of classes and of values: whatever the order of the labels, it says the same, and
looking for the cause leaves the sums and the head as they were, to the bit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import count
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.config import Settings
from core.events import Feedback
from core.evidence import Evidence
from core.follow import Follower, blank
from core.home import Home, open_home
from core.statistics import from_grid
from core.types import GridRows, Head, Scene, Task
from learner.guard import Doubt, Guard

WIDTH, VERSION, HONEST, LIES = 6, "v" * 64, 50, 40
LABELS = ("a", "b")
Told = tuple[int, str, float]  # which example, by whom, how far off

NUMBERS = count()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    made = open_home(Settings(home=tmp_path_factory.mktemp("home")))
    yield made
    made.close()


def features(number: int) -> GridRows:
    return np.random.default_rng(number).integers(-9000, 9000, WIDTH).astype(np.int16)


def followed(home: Home, task: Task) -> Follower:
    """A new scene, which is another one by its name alone."""
    labels = LABELS if task == "classification" else ()
    scene = Scene(name=f"s{next(NUMBERS)}", task=task, modality="image", labels=labels, hash_key=b"key", scale=4.0)
    home.registry.declare(scene)
    manifest: dict[str, object] = {"extractor": "x", "features": WIDTH, "lineage": {"sequence": 0}}
    version = home.registry.register(scene.name, VERSION, manifest, blank(scene, WIDTH))
    return home.follower(scene, version)


def say(home: Home, follower: Follower, told: Sequence[Told]) -> None:
    for number, who, off in told:
        value = 2.0 * float(from_grid(features(number))[:2].sum()) + off
        label = LABELS[int(value > 0)]
        said = (label, None) if follower.scene.task == "classification" else (None, value)
        evidence = Evidence(example=f"e{number}", features={"x": features(number)})
        feedback = Feedback(
            scene=follower.scene.name, example=evidence.example, annotator=who, label=said[0], value=said[1]
        )
        home.ledger.add(feedback, evidence)
    follower.catch_up()


def headed(follower: Follower) -> Head:
    head = follower.head()
    assert head is not None
    return head


def state(follower: Follower) -> dict[str, bytes]:
    sums = {name: array.tobytes() for name, array in follower.state.statistics.arrays().items()}
    head = headed(follower)
    return sums | {"weight": head.weight.tobytes(), "bias": head.bias.tobytes()}


def questioned(home: Home, task: Task, good: Sequence[Told], more: Sequence[Told]) -> Doubt | None:
    """What a guard that trusts the head of the first labels says of that with more; asked twice, it says it again."""
    follower = followed(home, task)
    guard = Guard(home, follower.scene, "x")
    say(home, follower, good)
    guard.trust(follower, headed(follower))
    say(home, follower, more)
    before = state(follower)
    doubt = guard.question(follower, headed(follower))
    assert state(follower) == before
    assert plain(guard.question(follower, headed(follower), "mallory")) == plain(doubt)
    assert state(follower) == before
    return doubt


def plain(doubt: Doubt | None) -> tuple[str | None, str] | None:
    return None if doubt is None else (doubt.annotator, re.sub(r"event \d+", "event", doubt.words))


@pytest.mark.parametrize("task", ["classification", "regression"])
@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 20), off=st.sampled_from([0.0, -1.0, 1.5]))
def test_a_doubt_leaves_no_trace_and_depends_on_no_order(home: Home, task: Task, seed: int, off: float) -> None:
    chance = Random(seed)
    numbers = iter(chance.sample(range(10**6), HONEST + LIES + 5))
    good = [(next(numbers), chance.choice(["ann", "bob"]), chance.gauss(0, 0.05)) for _ in range(HONEST)]
    lies = [(next(numbers), "mallory", off) for _ in range(LIES)]
    more = [*lies, *((number, "cy", chance.gauss(0, 0.05)) for number in numbers)]
    told = questioned(home, task, good, more)
    others = chance.sample(good, len(good)), chance.sample(more, len(more))
    assert plain(told) == plain(questioned(home, task, *others))
    if off == 0.0:
        assert told is None
    elif task == "regression":
        assert told is not None and told.annotator == "mallory"
