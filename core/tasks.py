"""The tasks of a scene: what they may be called, how many there may be, which one is meant, and what it is called in
the graph.

Promises that a task's name can stand in the name of a tensor, of a metric and of a file. Knows nothing of heads.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from core.errors import InvalidInput
from core.types import Scene, Task

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,31}")
MOST = 16  # tasks of a scene; each has a Gram matrix of its own, 34 MB at 2,048 features, and a solve a revision

ANSWERS: dict[str, Task] = {"probabilities": "classification", "value": "regression"}  # output of the first task


def check_tasks(names: Sequence[str]) -> tuple[str, ...]:
    """The names themselves, where they can name the tasks of one scene.

    Raises:
        InvalidInput: a name that is none, the same one twice (however it is written), or too many.

    >>> check_tasks(["organ", "severity"])
    ('organ', 'severity')
    """
    if len(names) > MOST:
        raise InvalidInput(f"{len(names)} tasks were named, of {MOST} at most", "make a second scene of some of them")
    seen: set[str] = set()
    for name in names:
        if NAME.fullmatch(name) is None:
            raise InvalidInput(
                f"{name[:80]!r} cannot name a task",
                "call the column by 1 to 32 letters, digits and '_', beginning with a letter",
            )
        if name.lower() in seen:
            raise InvalidInput(f"two tasks are called {name!r}", "name every label column once")
        seen.add(name.lower())
    return tuple(names)


def task_of(scene: Scene, name: str | None) -> Scene:
    """The task of this name as a scene that has no other; the first where none is named.

    Raises:
        InvalidInput: the scene has no task of this name.
    """
    first, *others = scene.tasks
    if name is None:
        return first
    if not others:
        raise InvalidInput(f"scene {scene.name!r} has one task, and it has no name", "leave task out")
    found = next((task for task in scene.tasks if task.task_name == name), None)
    if found is None:
        names = ", ".join(task.task_name for task in scene.tasks)
        raise InvalidInput(f"scene {scene.name!r} has no task {name[:80]!r}", f"choose one of: {names}")
    return found


def head_names(task: str = "") -> tuple[str, str]:
    """What the weight and the bias of a task's head are called in the graph; the first task's have no name in them.

    >>> head_names(), head_names("severity")
    (('head.weight', 'head.bias'), ('head.severity.weight', 'head.severity.bias'))
    """
    stem = f"head.{task}" if task else "head"
    return f"{stem}.weight", f"{stem}.bias"


def task_in(name: str) -> str:
    """The task that an output of the graph is of; empty for the first.

    >>> task_in("probabilities"), task_in("value.severity")
    ('', 'severity')
    """
    return name.partition(".")[2]
