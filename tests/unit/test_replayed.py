"""Distillation on replayed examples: what the champion answers, mixed into the targets, and taken up by the loop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.head import HeadState, Row
from core.labels import target_of
from core.preprocess import Limits
from core.statistics import VALUE
from core.types import Example, Scene
from tests.homes import features_of
from tests.tuning import SCENE, backbone, noisy, rows
from training.replayed import soft, without
from training.tune.plan import Plan
from training.tune.prepare import feeds

TASK = Scene(name="ward", task="classification", modality="image", labels=("cat", "dog"), hash_key=b"key")
LEVELS = replace(TASK, task="regression", labels=(), offset=1.0, scale=4.0)
EVERYBODY = tuple(f"{label} {number}" for label in TASK.labels for number in range(8))


def champion(task: Scene) -> HeadState:
    state = HeadState(6, task=task.task, declared=task.labels, key=task.hash_key)
    for name in EVERYBODY:
        label = name.split()[0]
        value = float(name.split()[1]) / 4
        column, target = (label, None) if task.task == "classification" else (VALUE, target_of(task, value))
        state.add([Row(name, features_of(name), column, target, 1)])
    return state


def example(name: str) -> Example:
    return Example(digest=name, path="", split="train", label=name.split(maxsplit=1)[0])


def test_targets_are_shares_of_labels_and_of_answers_that_were_given_without_the_example() -> None:
    state, judging = champion(TASK), frozenset({"cat 0", "dog 0"})
    asked = [example(name) for name in ("cat 0", "cat 1", "dog 2", "cow 3")]
    found = soft(TASK, state, judging, asked, ("cat", "dog", "hen"), 0.25)
    assert set(found) == {"cat 1", "dog 2"}, "who judges is asked nothing, and what is not known keeps its label"
    for name, target_K in found.items():
        own = ("cat", "dog").index(name.split()[0])
        assert target_K.sum() == pytest.approx(1.0) and target_K[own] >= 0.75 and target_K[2] == 0.0
    taught = without(state, TASK, judging)
    assert set(taught.rows) == set(EVERYBODY) - judging and set(state.rows) == set(EVERYBODY)
    head = taught.solve()
    assert head is not None
    scores_K = taught.answered(["cat 1"], head)[0]
    said_K = np.exp(scores_K) / np.exp(scores_K).sum()
    assert found["cat 1"][:2] == pytest.approx(0.25 * said_K + 0.75 * np.array([1.0, 0.0]))


def test_a_value_is_moved_towards_the_answer() -> None:
    state = champion(LEVELS)
    asked = [Example(digest="cat 7", path="", split="train", value=1.75)]
    half, none = (soft(LEVELS, state, frozenset(), asked, (VALUE,), share)["cat 7"].item() for share in (0.5, 0.0))
    whole = soft(LEVELS, state, frozenset(), asked, (VALUE,), 1.0)["cat 7"].item()
    assert none == 1.75 and half == pytest.approx((1.75 + whole) / 2) and whole != 1.75


def test_the_loop_learns_soft_targets_of_training_rows_and_measures_by_labels() -> None:
    base, held = backbone(), rows(4, 2)
    first = held.train[0]
    soft_K = np.array([0.4, 0.3, 0.2, 0.1])
    context = replace(noisy(base, held), soft={"": {first.digest: soft_K}})
    train, judged = feeds(base, held, Plan(), replace(context, limits=Limits()), None)
    assert train.targets_NK[0].tolist() == pytest.approx(soft_K.tolist())
    assert train.targets_NK[1:].sum(dim=1).tolist() == [1.0] * (len(held.train) - 1)
    assert SCENE.labels == context.head.labels
    assert set(judged.targets_NK.flatten().tolist()) == {0.0, 1.0}, "validation rows are measured by their labels"
