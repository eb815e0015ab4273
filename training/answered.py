"""What the head that is registered answers to labelled rows that it has not seen, of every task of the scene.

Promises that a test row counts only where no head has learned it, that every other row is answered without its own
share in the head, and that where weights were tuned no row counts on which they were. Knows nothing of pages.

Legend: N rows, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from core.bundle import Metric
from core.types import Doubles, Example, Scene
from training import measure, story
from training.adapt.closed_form import Learned
from training.data import Dataset
from training.ready import Ready
from training.story import Answers
from training.tasks import by_task


@dataclass(frozen=True, kw_only=True)
class Answered:
    """Answers of one task to rows of one kind.

    Attributes:
        left_out: whether these are training rows, each answered by a head without it; otherwise the test side.
        answers_NK: probabilities, or (N, 1) values. labels: the K classes.
    """

    task: Scene
    left_out: bool
    answers_NK: Doubles = field(repr=False)
    examples: tuple[Example, ...] = field(repr=False)
    labels: tuple[str, ...]


def answered(scene: Scene, learned: Learned, dataset: Dataset, ready: Ready) -> tuple[Answered, ...]:
    """Rows left out one by one, then the test side, where there are any."""
    apart = {example.digest for example in ready.validation or dataset.examples}
    found: list[Answered] = []
    for task, mine in by_task(scene, dataset.examples):
        told, head = learned.of(task.task_name), learned.head.of(task.task_name)
        labels = tuple(head.labels)
        standing = tuple(e for e in mine if e.split != "test" and e.digest in apart and e.digest in told.rows)
        held_NK = told.held_NK[[told.rows[example.digest] for example in standing]]
        found.append(Answered(task=task, left_out=True, answers_NK=held_NK, examples=standing, labels=labels))
        tested = tuple(example for example in mine if example.split == "test" and example.digest not in told.seen)
        if tested:
            told_NK = measure.answers(task, head, ready.stack(tested))
            found.append(Answered(task=task, left_out=False, answers_NK=told_NK, examples=tested, labels=labels))
    return tuple(found)


def metrics(told: Sequence[Answered], seed: int) -> dict[str, dict[str, Metric]]:
    """Metrics of every task, by its name; those of rows left out by names of their own."""
    found: dict[str, dict[str, Metric]] = {}
    for each in told:
        mine = measure.of_examples(each.task, each.answers_NK, each.examples, each.labels, seed)
        before = "leave_one_out_" if each.left_out else ""
        found.setdefault(each.task.task_name, {}).update({before + name: metric for name, metric in mine.items()})
    return found


def answers(told: Sequence[Answered], seed: int) -> tuple[Answers, ...]:
    """What a report shows: of every task the test side, or the rows left out where there is none."""
    tested = {each.task.task_name for each in told if not each.left_out}
    wanted = [each for each in told if not each.left_out or each.task.task_name not in tested]
    return tuple(_answers(each, seed) for each in wanted if each.examples)


def _answers(told: Answered, seed: int) -> Answers:
    name = f"{told.task.task_name}, " if told.task.task_name else ""
    rows = f"{name}{len(told.examples)} {'training rows, each left out in its turn' if told.left_out else 'test rows'}"
    if told.task.task == "regression":
        return story.of_values(rows, told.answers_NK[:, 0], told.examples)
    return story.of_classes(rows, told.answers_NK, told.examples, told.labels, seed)
