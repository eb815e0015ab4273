"""What the champion knows of replayed examples, as targets beside their labels: distillation as a mixture of targets.

Promises that a teacher answers each example without its own share in the head, and has never seen one that judges.
Cross-entropy with a mixture of label and answer is the sum of the two cross-entropies, so nothing but targets changes.
Knows nothing of networks.

Reference: Li and Hoiem, "Learning without forgetting", arXiv 1606.09282.

Legend: N examples, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import softmax

from core.head import HeadState
from core.types import Doubles, Example, Scene


def soft(
    task: Scene,
    state: HeadState,
    judging: frozenset[str],
    examples: Sequence[Example],
    labels: Sequence[str],
    share: float,
) -> dict[str, Doubles]:
    """Targets of the examples, of which the champion has ``share``: (K,) shares of ``labels``, or a (1,) value.

    Args:
        state: of the champion. judging: examples that its teacher may not have seen.
        labels: classes of the student; those of others, and what the teacher does not know, keep their labels.
    """
    taught = without(state, task, judging)
    asked = [example for example in examples if example.digest in taught.rows]
    teacher = taught.solve() if asked else None
    if teacher is None:
        return {}
    answers_NK = taught.answered([example.digest for example in asked], teacher)
    if task.task == "regression":
        values_N = answers_NK[:, 0] * task.scale + task.offset
        return {
            example.digest: np.array([(1 - share) * (example.value or 0.0) + share * value])
            for example, value in zip(asked, values_N, strict=True)
        }
    column = {label: place for place, label in enumerate(teacher.labels)}
    found: dict[str, Doubles] = {}
    for example, shares_K in zip(asked, softmax(answers_NK, axis=1), strict=True):
        if example.label in column and example.label in labels:
            told_K = np.array([shares_K[column[label]] if label in column else 0.0 for label in labels])
            own_K = np.array([float(label == example.label) for label in labels])
            found[example.digest] = (1 - share) * own_K + share * told_K / told_K.sum()
    return found


def without(state: HeadState, task: Scene, left_out: frozenset[str]) -> HeadState:
    """What a task's head is solved from, but for some examples."""
    made = HeadState(
        state.width,
        task=state.task,
        declared=task.labels,
        key=task.hash_key,
        blocks=state.blocks,
        foreign=state.foreign,
    )
    made.add(row for name, row in sorted(state.rows.items()) if name not in left_out)
    return made
