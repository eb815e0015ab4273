"""A scene whose two versions have answered, and whose labels say which of them was right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from core.challenges import Challenge, Mode
from core.home import Home
from core.promotion import challenge
from core.types import Role
from tests import pico
from tests.homes import evidence_of, feedback_of, prediction_of


class Duel:
    """A scene with two real versions, the second in a challenge unless ``mode`` is None, and answers of both put into
    the log."""

    def __init__(self, home: Home, mode: Mode | None = "shadow") -> None:
        self.home, self.count = home, 0
        made = pico.register(home)
        self.scene, self.first = made.scene.name, made.version.version
        self.second = pico.another(home, made.scene, seed=1).version
        if mode is not None:
            challenge(home, self.scene, self.second, mode=mode, share=1.0, expected_generation=0, judge="evidence")

    @property
    def champion(self) -> str:
        alias = self.home.registry.champion(self.scene)
        assert alias is not None
        return alias.version

    @property
    def running(self) -> Challenge | None:
        return self.home.challenges.of(self.scene)

    def answer(self, version: str, label: str, role: Role, name: str) -> None:
        self.count += 1
        at = self.home.ledger._clock()
        row = prediction_of(name, f"{self.scene}:{self.count:032x}", at=at)
        width = self.home.registry.version(self.scene, version).manifest["features"]
        assert isinstance(width, int)
        told = replace(row, scene=self.scene, version=version, label=label, role=role)
        self.home.predictions.append([replace(told, features=np.zeros(width, np.int16))])

    def labelled(self, count: int, challenger_right: bool, champion_right: bool, label: str = "circle") -> None:
        """Inputs that both answer, and that are then labelled so."""
        held, other = self.running, {"circle": "square", "square": "circle"}[label]
        assert held is not None
        for _ in range(count):
            name = f"input {self.count}"
            self.answer(self.champion, label if champion_right else other, "champion", name)
            self.answer(held.version, label if challenger_right else other, "shadow", name)
            self.home.ledger.add(replace(feedback_of(name, label), scene=self.scene), evidence_of(name))

    def alone(self, count: int, right: float) -> None:
        """Inputs that the champion alone answers, a share of them rightly, and that are then labelled as circles."""
        for number in range(count):
            name = f"input {self.count}"
            said = "circle" if int((number + 1) * right) > int(number * right) else "square"
            self.answer(self.champion, said, "champion", name)
            self.home.ledger.add(replace(feedback_of(name, "circle"), scene=self.scene), evidence_of(name))
