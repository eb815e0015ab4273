"""What a scene can learn: which labels it knows, and which values lie in its range."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core.errors import InvalidInput
from core.statistics import from_grid, to_grid
from core.types import Scene

LONGEST_LABEL = 1000


def check_label(scene: Scene, label: str | None, value: float | None) -> None:
    """Whether a scene can learn this label or value; of several tasks, the first.

    Raises:
        InvalidInput: the wrong one of the two, an unknown label, or a value out of the scene's range.
    """
    if scene.task == "regression":
        if value is None or label is not None:
            raise InvalidInput(f"{_told(scene)} is a regression", "send a number as value, and no label")
        if not abs(value - scene.offset) < scene.scale:
            low, high = scene.offset - scene.scale, scene.offset + scene.scale
            raise InvalidInput(f"value {value!r} is out of range", f"send a value between {low:g} and {high:g}")
        return
    if label is None or value is not None:
        raise InvalidInput(f"{_told(scene)} is a classification", "send a text as label, and no value")
    if not label or len(label) > LONGEST_LABEL or any(sign == "\0" or "\ud800" <= sign <= "\udfff" for sign in label):
        raise InvalidInput(f"label {label[:40]!r} cannot be used", f"send 1 to {LONGEST_LABEL} characters")
    if scene.new_labels == "reject" and label not in scene.labels:
        raise InvalidInput(
            f"{_told(scene)} does not know the label {label[:80]!r}; it knows {_some(scene.labels)}",
            "send one of these, or let the scene accept new labels (adapt with --new-labels accept)",
        )


def _told(scene: Scene) -> str:
    return f"task {scene.task_name!r} of scene {scene.name!r}" if scene.task_name else f"scene {scene.name!r}"


def _some(labels: Sequence[str]) -> str:
    shown = ", ".join(repr(label[:40]) for label in labels[:20])
    return shown if len(labels) <= 20 else f"{shown} and {len(labels) - 20} more"


def target_of(scene: Scene, value: float) -> int:
    """A regression value on the scene's 16-bit grid."""
    return int(to_grid(np.array([(value - scene.offset) / scene.scale]))[0])


def value_of(scene: Scene, target: int) -> float:
    """The value of a target on the grid."""
    return float(from_grid(np.array([target], np.int16))[0]) * scene.scale + scene.offset
