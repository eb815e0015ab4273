"""Scenes as rows: a scene in, the same scene out, and what a second declaration makes of it.

Promises that a scene keeps its tasks, their order and that of their labels. Knows nothing of versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from core.errors import InvalidInput
from core.types import Scene


def row_of(scene: Scene) -> dict[str, object]:
    """The columns of a scene, without the time when it was made."""
    return {
        "name": scene.name,
        "modality": scene.modality,
        "new_labels": scene.new_labels,
        "hash_key": scene.hash_key,
        "task_name": scene.task_name,
        "further": [{"task_name": other.task_name, **_asked(other)} for other in scene.further] or sa.null(),
    } | _asked(scene)


def scene_of(row: Mapping[Any, Any]) -> Scene:
    """The scene of a row."""
    first = Scene(
        name=row["name"],
        modality=row["modality"],
        new_labels=row["new_labels"],
        hash_key=row["hash_key"],
        task_name=row["task_name"],
        **_read(row),
    )
    others = (replace(first, task_name=told["task_name"], **_read(told)) for told in row["further"] or ())
    return replace(first, further=tuple(others))


def merged(held: Scene, wanted: Scene) -> Scene:
    """The scene that is there with what ``wanted`` brings: more labels, behind those it has, and its policy.

    Raises:
        InvalidInput: it is of another modality, or has other tasks.
    """
    if _kind(held) != _kind(wanted):
        raise InvalidInput(
            f"scene {held.name!r} is a {_kind(held)}, not a {_kind(wanted)}", "choose another scene name"
        )
    first, *others = (
        replace(
            old, new_labels=wanted.new_labels, labels=(*old.labels, *(x for x in new.labels if x not in old.labels))
        )
        for old, new in zip(held.tasks, wanted.tasks, strict=True)
    )
    return replace(first, further=tuple(others))


def _kind(scene: Scene) -> str:
    asked = ", ".join(f"{task.task} {task.task_name}".strip() for task in scene.tasks)
    return f"{asked} of {scene.modality}"


def _asked(task: Scene) -> dict[str, object]:
    return {
        "task": task.task,
        "labels": list(task.labels),
        "target_offset": task.offset,
        "target_scale": task.scale,
    }


def _read(told: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        "task": told["task"],
        "labels": tuple(told["labels"]),
        "offset": told["target_offset"],
        "scale": told["target_scale"],
    }
