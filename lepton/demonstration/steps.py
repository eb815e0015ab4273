"""An act played step by step over HTTP: labels go back, and accuracy is measured on what is never labelled.

Promises that what is measured on is never sent as a label. Knows nothing of where examples come from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from lepton.client import Client
from lepton.output import notes


@dataclass(frozen=True)
class Item:
    """One instance, as a client sends it, and its label."""

    instance: dict[str, Any] = field(repr=False)
    truth: str


@dataclass(frozen=True, kw_only=True)
class Step:
    """Accuracy on the fixed part after some labels.

    Attributes:
        classes: how many classes are served. share: of the examples of each class that were answered right.
        waited: seconds from the last label to the first answer that includes it.
    """

    title: str
    labels: int
    right: int
    rows: int
    share: dict[str, float]
    classes: int
    revision: int
    waited: float


class Play:
    """One scene, as its labels come in.

    Attributes:
        steps: what was measured so far. answers: the labels answered at the last measurement, in order.
    """

    def __init__(self, client: Client, scene: str, tested: Sequence[Item]) -> None:
        self.steps: list[Step] = []
        self.answers: list[str] = []
        self._client, self._scene, self._tested = client, scene, tested

    def measure(self, title: str, labels: int, waited: float = 0.0) -> None:
        """Ask about the fixed part."""
        notes.print(f"… {self._scene}, {title}: predicting {len(self._tested)} examples that are never labelled")
        told = self._client.predict(self._scene, [item.instance for item in self._tested])
        self.answers = [str(answer["label"]) for answer in told]
        right = [answer == item.truth for answer, item in zip(self.answers, self._tested, strict=True)]
        of_class: dict[str, list[bool]] = {}
        for ok, item in zip(right, self._tested, strict=True):
            of_class.setdefault(item.truth, []).append(ok)
        self.steps.append(
            Step(
                title=title,
                labels=labels,
                right=sum(right),
                rows=len(right),
                share={name: sum(each) / len(each) for name, each in of_class.items()},
                classes=len(told[0]["probabilities"]),
                revision=told[0]["revision"],
                waited=waited,
            )
        )

    def label(self, items: Sequence[Item], annotator: str = "demo") -> list[dict[str, Any]]:
        """Predict these, send their labels back, and return the receipts."""
        return [
            self._client.label(answer["prediction_id"], item.truth, annotator=annotator)
            for item, answer in self._predicted(items)
        ]

    def withdraw(self, receipts: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Take these labels back, and return the receipts of that."""
        return [self._client.withdraw(receipt["event_id"]) for receipt in receipts]

    def learned(self, receipts: Sequence[dict[str, Any]]) -> float:
        """Wait until an answer includes the last of these; the seconds that it took.

        What the guard holds is accepted, so that the steps show what such labels do.
        """
        last, first = receipts[-1]["sequence"], self._tested[0].instance
        return self._client.wait_learned(self._scene, first, last, held=self._accept)

    def _accept(self, words: str) -> None:
        notes.print(f"… {self._scene}: the guard holds the head: {words}. Accepted, to show what these labels do")

    def grow(self, pool: Sequence[Item], goals: Sequence[int]) -> None:
        """Label the pool in steps, and measure after each."""
        sent = 0
        for goal in goals:
            waited = self.learned(self.label(pool[sent:goal]))
            sent = goal
            self.measure(f"{goal} labels", goal, waited)

    def _predicted(self, items: Sequence[Item]) -> Iterator[tuple[Item, dict[str, Any]]]:
        return zip(items, self._client.predict(self._scene, [item.instance for item in items]), strict=True)
