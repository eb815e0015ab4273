"""A scene of three tasks, two of classes and one of values, whose answers are put into the log and labelled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from core.fall import Bound, bounds
from core.home import Home
from core.types import Head, Reply, Scene
from tests.homes import (
    LABELS,
    SCENE,
    WIDTH,
    evidence_of,
    example_of,
    feedback_of,
    head_of,
    manifest_of,
    prediction_of,
)

PET = Scene(name=SCENE, task="classification", modality="image", labels=LABELS, hash_key=b"key", task_name="pet")
AGE = replace(PET, task_name="age", task="regression", labels=(), scale=32.0)
MOOD = replace(PET, task_name="mood", labels=("calm", "wild"))
WARD = replace(PET, further=(AGE, MOOD))
FIRST, SECOND = "a" * 64, "b" * 64


def head() -> Head:
    age = Head(weight=np.zeros((WIDTH, 1), np.float32), bias=np.zeros(1, np.float32), labels=("value",))
    return replace(head_of(0.0), further={"age": age, "mood": replace(head_of(0.0), labels=MOOD.labels)})


class Ward:
    """A scene of three tasks with two versions, whose answers are put into the log and labelled."""

    def __init__(self, home: Home) -> None:
        self.home, self.count, self.now = home, 0, 1000.0
        home.ledger._clock = home.registry._clock = self.clock
        home.registry.declare(WARD)
        for version in (FIRST, SECOND):
            home.registry.register(SCENE, version, manifest_of(), head())
        self.version = FIRST

    def clock(self) -> float:
        self.now += 1.0
        return self.now

    def promote(self) -> None:
        self.home.registry.promote(SCENE, SECOND, expected_generation=1, head=head)
        self.version = SECOND

    def answer(self, count: int, **told: float) -> list[str]:
        """So many answers; by task what is told of them: of a class the share that is right, of a value its miss times
        1, 2, 3 and so on up to 8, over 4."""
        names, rows = list[str](), []
        for n in range(count):
            self.count += 1
            miss = told.get("age", 0.0) * (1 + self.count % 8) / 4
            right = {task: int((n + 1) * share) > int(n * share) for task, share in told.items() if task != "age"}
            further = {
                "age": Reply(label=None, value=5.0 + miss, confidence=1.0, margin=1.0),
                "mood": Reply(label="calm" if right.get("mood") else "wild", value=None, confidence=1.0, margin=1.0),
            }
            names.append(f"input {self.count}")
            row = prediction_of(names[-1], f"{SCENE}:{self.count:032x}", at=self.clock())
            row = replace(row, version=self.version, label="cat" if right.get("pet") else "dog", further=further)
            rows.append(row)
        self.home.predictions.append(rows)
        for name in names:
            for task in told:
                self.say(name, task)
        return [example_of(name) for name in names]

    def say(self, name: str, task: str) -> None:
        label, value = {"pet": ("cat", None), "age": (None, 5.0), "mood": ("calm", None)}[task]
        self.home.ledger.add(replace(feedback_of(name, ""), label=label, value=value, task=task), evidence_of(name))

    def bounds(self) -> Mapping[str, Bound]:
        """By task, how near its live accuracy is to what it may fall to."""
        return {bound.task: bound for bound in bounds(self.home, SCENE)}
